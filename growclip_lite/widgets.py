"""Widgets: a plain function that draws, a static default view, and sliders where a live kernel is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

from growclip_lite.course.display import bundle, png_of


def control(name: str, choices: Sequence | str) -> ipywidgets.Widget:
    """A text field for a string; for a sequence a slider, or a list to choose from where it holds words."""
    label = name.replace("_", " ")
    style = {"description_width": "initial"}
    if isinstance(choices, str):
        wide = ipywidgets.Layout(width="32em")
        return ipywidgets.Text(choices, description=label, continuous_update=False, style=style, layout=wide)
    kind = ipywidgets.Dropdown if isinstance(choices[0], str) else ipywidgets.SelectionSlider
    return kind(options=list(choices), description=label, style=style)


def controlled(
    draw: Callable[..., Figure], start: dict, choices: dict[str, Sequence | str]
) -> tuple[dict[str, ipywidgets.Widget], ipywidgets.Image]:
    """A control for every choice, and the view that follows them. Every picture is drawn once."""

    @functools.cache
    def picture(*values: object) -> bytes:
        return png_of(draw(**dict(zip(choices, values, strict=True))))

    controls = {name: control(name, values) for name, values in choices.items()}
    for name, value in start.items():
        controls[name].value = value
    view = ipywidgets.Image(format="png", value=picture(*(c.value for c in controls.values())))

    def update(change: dict) -> None:
        view.value = picture(*(c.value for c in controls.values()))

    for each in controls.values():
        each.observe(update, "value")
    return controls, view


def explore(draw: Callable[..., Figure], alt: str, start: dict | None = None, **choices: Sequence | str) -> None:
    """Shows `draw(**values)` with a control for every choice.

    `choices` maps names to the values to choose from, or to a text to edit; `start` gives other first
    values than the first ones. One output holds the widget and, for readers without a live kernel, the
    picture of the start with `alt`.
    """
    controls, view = controlled(draw, start or {}, choices)
    data, metadata = bundle(view.value, alt)
    box = ipywidgets.VBox([*controls.values(), view])
    display(box._repr_mimebundle_() | data, metadata=metadata, raw=True)
