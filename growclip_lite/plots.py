"""Figures. Nothing in the method imports this module."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from growclip_lite.architecture import HEAD_SIZE

# Okabe and Ito's palette, safe for colour-blind readers.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#222222"]
GREY = "#8a8a8a"
COLOURS = dict(zip(("image", "text", "shared", "retrieval"), PALETTE, strict=False)) | {"mean": "#222222"}
ENCODERS = {"image": "image encoder", "text": "text encoder", "shared": "shared encoder"}


def subplots(rows: int, columns: int, size: tuple[float, float], **options: object):
    """Figure (inches) and axes, without pyplot, which would choose a backend for whoever calls this."""
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, **options)


def levels(architecture: dict[str, int]) -> int:
    """Blocks on top of each other in a drawing of the architecture."""
    return max(architecture["image_depth"], architecture["text_depth"]) + architecture["shared_depth"]


def name_encoders(axes) -> None:
    """A legend of the three encoders' colours."""
    for name, label in ENCODERS.items():
        axes.plot([], [], "s", ms=9, color=COLOURS[name], label=label)
    axes.legend(loc="upper left", frameon=False, fontsize=10)


def draw_architecture(axes, architecture: dict[str, int], centre: float, scale: float) -> None:
    """Draws one architecture as stacked blocks: image and text side by side, shared above them."""
    height, gap = 0.8, 0.2
    lower = max(architecture["image_depth"], architecture["text_depth"])
    for name, side in (("image", -1), ("text", 1)):
        width = architecture[f"{name}_width"] * scale
        for level in range(architecture[f"{name}_depth"]):
            y = level + lower - architecture[f"{name}_depth"]
            left = centre + (0.02 if side > 0 else -0.02 - width)
            axes.add_patch(Rectangle((left, y), width, height, color=COLOURS[name], lw=0))
    width = architecture["shared_width"] * scale
    for level in range(architecture["shared_depth"]):
        axes.add_patch(
            Rectangle((centre - width / 2, lower + gap + level), width, height, color=COLOURS["shared"], lw=0)
        )


def spread(values: dict[str, float], gap: float) -> dict[str, float]:
    """Heights for labels at `values` that lie at least `gap` apart, from the top down."""
    heights: dict[str, float] = {}
    above = float("inf")
    for name, value in sorted(values.items(), key=lambda item: -item[1]):
        above = heights[name] = min(value, above - gap)
    return heights


def draw_growth(top, bottom, report: dict) -> None:
    """Into two axes: the architecture above, accuracy on test data below, over the growth steps."""
    steps = report["steps"]
    x, architectures = [entry["step"] for entry in steps], [entry["architecture"] for entry in steps]
    widest = max(a[f"{name}_width"] for a in architectures for name in ENCODERS)
    for entry, architecture in zip(steps, architectures, strict=True):
        draw_architecture(top, architecture, entry["step"], 0.4 / widest)
        top.annotate(
            f"{entry['parameters'] / 1e6:.2f} M parameters\n{entry['samples_total']:,} pairs",
            (entry["step"], levels(architecture) + 0.35), ha="center", va="bottom",
            fontsize=10 if len(steps) < 5 else 8, color="#333333",
        )  # fmt: skip
    name_encoders(top)
    highest = max(map(levels, architectures))
    top.set(ylim=(-0.2, highest + 2.3), yticks=[], ylabel=f"blocks (width: heads of {HEAD_SIZE})")
    top.grid(False)
    if all(entry["zero_shot"] for entry in steps):
        last = steps[-1]["zero_shot"]
        for task, height in spread(last, gap=0.055).items():
            bottom.plot(x, [entry["zero_shot"][task] for entry in steps], color=GREY, lw=1, alpha=0.6)
            style = {"fontsize": 9, "color": "#666666", "va": "center"}
            leader = {"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 0, "shrinkB": 0}  # labels are spread out
            bottom.annotate(task, (x[-1], last[task]), xytext=(x[-1] + 0.16, height), arrowprops=leader, **style)
        means = [entry["zero_shot_mean"] for entry in steps]
        bottom.plot(x, means, "o-", lw=3, ms=8, color=COLOURS["mean"], label="zero-shot, mean of tasks")
    recall = [entry["retrieval"]["i2t_r1"] for entry in steps]
    bottom.plot(x, recall, "D--", lw=2, ms=6, color=COLOURS["retrieval"], label="image-to-text R@1")
    bottom.legend(loc="best", frameon=False, fontsize=10)
    bottom.set(ylim=(0, 1.03), xlim=(min(x) - 0.55, max(x) + 0.8), xticks=x, xlabel="growth step")
    bottom.set_ylabel("accuracy on test data")


def plot_growth(report: dict, path: Path) -> None:
    """`draw_growth`, written to `path` as PNG."""
    layout = {"sharex": True, "height_ratios": (1.15, 1), "gridspec_kw": {"hspace": 0.08}}
    figure, (top, bottom) = subplots(2, 1, (9, 7.6), **layout)
    draw_growth(top, bottom, report)
    top.set_title(f"GrowCLIP on {report['data']}: the architecture grows with the data", parse_math=False)
    bottom.grid(axis="y", color="#e6e6e6")
    bottom.set_axisbelow(True)
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    top.spines["left"].set_visible(False)
    figure.savefig(path, dpi=160, bbox_inches="tight", facecolor="white")
