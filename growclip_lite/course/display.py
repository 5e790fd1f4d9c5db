"""Figures as the notebooks show them: one style, a text alternative with every picture."""

from __future__ import annotations

import base64
import io

import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from growclip_lite.plots import PALETTE

STYLE = {
    "figure.facecolor": "white", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#ececec", "axes.axisbelow": True, "axes.prop_cycle": cycler(color=PALETTE), "lines.linewidth": 2,
    "legend.frameon": False, "font.size": 11, "axes.titlesize": 12,
}  # fmt: skip


def subplots(*arguments: object, **named: object):
    """`plt.subplots` in the style of the course, which stays: legends and labels are added later."""
    plt.rcParams.update(STYLE)
    return plt.subplots(*arguments, **{"layout": "constrained"} | named)


def show_picture(axes, pixels: np.ndarray) -> None:
    """A picture (3, S, S) uint8, without axes."""
    axes.imshow(np.asarray(pixels).transpose(1, 2, 0), interpolation="nearest")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])


def png_of(figure: Figure) -> bytes:
    """The figure as PNG; it is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def bundle(png: bytes, alt: str) -> tuple[dict, dict]:
    """A picture and its text alternative as Jupyter's data and metadata."""
    return {"image/png": base64.b64encode(png).decode(), "text/plain": alt}, {"image/png": {"alt": alt}}


def show(figure: Figure, alt: str) -> None:
    """Shows a figure. `alt` says in one sentence what it shows, for readers who do not see it."""
    data, metadata = bundle(png_of(figure), alt)
    display(data, metadata=metadata, raw=True)
