"""One figure per study, drawn from its rows. Lines and points are means over seeds, bars 95 % bootstrap intervals
(of five seeds at least)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps

from growclip_lite.architecture import HEAD_SIZE
from growclip_lite.plots import GREY, PALETTE, subplots
from growclip_lite.studies.choice import last_step, search_against_training, with_leads
from growclip_lite.studies.claims import SHARED_CAPTIONS
from growclip_lite.studies.drawing import centre, forest, line, tidy, write
from growclip_lite.studies.growers import GROWERS, grown_beside
from growclip_lite.studies.measures import read_plan
from growclip_lite.studies.settings import place
from growclip_lite.studies.statistics import paired
from growclip_lite.table import SETTING, TIMETABLE, first_setting, measured_at, steps_of
from growclip_lite.train import RECORD_EVERY

# Study 1: what its views hold equal, and the lines of a view. A method has the same colour in all panels.
EQUAL = {"flops": "equal FLOPs", "steps": "equal iterations", "last step": "the last step's FLOPs"}
FIXED = ("fixed small", "fixed medium", "fixed large")
GROWTH_LINES = {
    "flops": [*((method, "flops") for method in (*FIXED, "from scratch")), ("from scratch", "last step")],
    "steps": [(method, "steps") for method in (*FIXED, "from scratch")],
}
SCORES = {"zero_shot_mean": "mean zero-shot accuracy", "i2t_r1": "image-to-text R@1"}


def draw_growth(left, right, rows: pd.DataFrame, column: str, equal: str = "flops") -> None:
    """Into two axes: a column of the growth steps over the steps, and over the FLOPs spent by then, for GrowCLIP and
    what was compared with it in this view. From scratch has one point, the end."""
    growth_steps = steps_of(rows[rows["method"] == "growclip"], column).shape[1]
    for number, (method, view) in enumerate([("growclip", "all"), *GROWTH_LINES[equal]]):
        part = rows[(rows["method"] == method) & (rows["view"] == view)]
        label = "GrowCLIP" if method == "growclip" else f"{method}, {EQUAL[view]}"
        if part.empty:
            continue
        scores, flops = steps_of(part, column), steps_of(part, "steps_flops").cumsum(1) / 1e12
        means, *bars = np.array([centre(scores[:, step]) for step in range(scores.shape[1])]).T
        width = 3 if method == "growclip" else 1.8
        style = {"color": PALETTE[number], "lw": width, "marker": "o", "capsize": 3, "label": label}
        steps = np.arange(growth_steps - len(means), growth_steps) + 1
        left.errorbar(steps + 0.05 * (number - 2), means, bars, **style)  # so that bars do not hide each other
        right.errorbar(flops.mean(0), means, bars, **style)
    tidy(left, xlabel="growth step", xticks=range(1, 1 + growth_steps))
    tidy(right, xlabel="training so far, TFLOPs (search included)")


def title_setting(axes, rows: pd.DataFrame, more: str = "") -> None:
    """Over a row of panels: what was measured where, and on how many seeds."""
    about = f"{place(measured_at(rows))}{more}; seeds: {rows['seed'].nunique()}"
    axes.set_title(about, loc="left", fontsize=11, parse_math=False)


def growth_figure(rows: pd.DataFrame, path: Path) -> None:
    """Accuracy over growth steps and over FLOPs, a row of panels for every setting at equal FLOPs, and where it was
    measured one at equal iterations."""
    parts = [
        (part, equal)
        for _, part in rows.groupby(SETTING, sort=False)
        for equal in GROWTH_LINES
        if equal == "flops" or equal in set(part["view"])
    ]
    size, grid = (12, 0.8 + 3.6 * len(parts)), {"wspace": 0.06, "hspace": 0.4}
    figure, panels = subplots(len(parts), 2, size, sharey="row", squeeze=False, gridspec_kw=grid)
    told = set()
    for (left, right), (part, equal) in zip(panels, parts, strict=True):
        draw_growth(left, right, part, "steps_mean", equal)
        left.set(ylabel=SCORES["zero_shot_mean"])
        title_setting(left, part, f"; {EQUAL[equal]}")
        if equal not in told:
            right.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1))
        told.add(equal)
    write(figure, path)


def growers_figure(rows: pd.DataFrame, path: Path) -> None:
    """GrowCLIP against every other grower, paired by seed, a row of panels for every setting."""
    parts = [part for _, part in rows.groupby(SETTING, sort=False)]
    counts = [len(set(part["method"]) & set(GROWERS)) for part in parts]
    size, grid = (12, 1.3 * len(counts) + 0.4 * sum(counts)), {"height_ratios": counts, "wspace": 0.06, "hspace": 0.5}
    figure, panels = subplots(len(counts), 2, size, sharey="row", squeeze=False, gridspec_kw=grid)
    for (left, right), part in zip(panels, parts, strict=True):
        grown = grown_beside(path.parent, part)
        for axes, (column, label) in zip((left, right), SCORES.items(), strict=True):
            others = {name: part[part["method"] == name] for name in GROWERS}
            differences = {name: paired(grown, its, column) for name, its in others.items() if len(its)}
            forest(axes, differences, f"GrowCLIP minus this grower, points of {label}")
        title_setting(left, part)
        if part["data"].iloc[0] in SHARED_CAPTIONS:
            right.remove()  # image-to-text R@1 means nothing there
    write(figure, path)


def draw_momenta(panels, rows: pd.DataFrame, columns: dict[str, str]) -> None:
    """Into axes (2, columns): `columns` (with their labels) over the momentum, reading A above reading B, whose decays
    stand side by side: most of them are close to 1."""
    for row, (reading, name) in enumerate((("A", "momentum m (reading A)"), ("B", "decay of the average (reading B)"))):
        mine = rows[rows["reading"] == reading]
        values = sorted(mine["momentum"].unique())
        places = {value: value if reading == "A" else number for number, value in enumerate(values)}
        by_training = mine.assign(place=mine["momentum"].map(places)).groupby("before", sort=False)
        for axes, (column, label) in zip(panels[row], columns.items(), strict=True):
            for colour, (before, part) in zip(PALETTE, by_training, strict=False):
                line(axes, part, "place", column, color=colour, label=f"{before} training before")
            axes.set_xticks(list(places.values()), [f"{value:g}" for value in values])
            tidy(axes, xlabel=name, ylabel=label)
    panels[0, 0].legend(frameon=False, fontsize=9)


def momentum_figure(rows: pd.DataFrame, path: Path) -> None:
    """Loss right after growing, recovery after long training, final accuracy and forgetting, both readings."""
    rows = first_setting(rows)
    columns = {
        "loss_grown": "held-out loss right after growing", "zero_shot_mean": "final mean zero-shot accuracy",
        "forgetting": "accuracy lost on earlier concepts",
    }  # fmt: skip
    figure, panels = subplots(2, 4, (18, 7.6), gridspec_kw={"wspace": 0.3, "hspace": 0.3})
    draw_momenta(panels[:, :3], rows, columns)
    for axes, (reading, part) in zip(panels[:, 3], rows[rows["before"] == "long"].groupby("reading"), strict=False):
        momenta = sorted(part["momentum"].unique())
        palette = colormaps["viridis"](np.linspace(0, 0.92, len(momenta)))
        for colour, momentum in zip(palette, momenta, strict=True):
            losses = steps_of(part[part["momentum"] == momentum], "curve").mean(0)
            axes.plot(RECORD_EVERY * np.arange(1, 1 + len(losses)), losses, color=colour, label=f"{momentum:g}")
        label = "training loss, long training before"
        tidy(axes, xlabel=f"iterations after growing (reading {reading})", ylabel=label)
        axes.legend(frameon=False, fontsize=9)
    figure.suptitle(f"How much to inherit, {rows['seed'].nunique()} seeds", y=0.94)
    write(figure, path)


def draw_map(axes, rows: pd.DataFrame):
    """Mean zero-shot accuracy ± deviation over seeds, by depth and width of the image encoder. Returns what a colour
    bar wants."""
    cells = rows[(rows["equal"] == "map") | (rows["growth"] == "none")]
    sizes = [read_plan(plan)[-1] for plan in cells["plan"]]
    cells = cells.assign(depth=[a.image_depth for a in sizes], width=[HEAD_SIZE * a.image_width for a in sizes])
    table = cells.groupby(["depth", "width"])["zero_shot_mean"].agg(["mean", "std"]).unstack()
    means, deviations = table["mean"], table["std"].to_numpy()
    picture = axes.imshow(means, origin="lower", cmap="viridis", aspect="auto")
    axes.grid(False)
    for (i, j), value in np.ndenumerate(means.to_numpy()):
        if not np.isnan(value):
            colour = "black" if value > np.mean(picture.get_clim()) else "white"
            spread = "" if np.isnan(deviations[i, j]) else f"\n± {deviations[i, j]:.3f}"
            axes.text(j, i, f"{value:.3f}{spread}", ha="center", va="center", color=colour)
    axes.set_xticks(range(means.shape[1]), means.columns)
    axes.set_yticks(range(len(means)), means.index)
    axes.set(xlabel="image width (channels)", ylabel="image depth (blocks)", title="mean zero-shot accuracy")
    return picture


def dimensions_figure(rows: pd.DataFrame, path: Path) -> None:
    """Gain by grown dimension at equal added FLOPs and parameters, and the map of image depth and width."""
    rows = first_setting(rows)
    base = rows[rows["growth"] == "none"]
    figure, panels = subplots(1, 3, (16, 4.8), gridspec_kw={"wspace": 0.42})
    for axes, equal in zip(panels, ("flops", "parameters"), strict=False):
        same = rows[rows["equal"] == equal].groupby("growth")
        gains = {name.replace("_", " "): paired(mine, base, "zero_shot_mean") for name, mine in same}
        forest(axes, gains, f"points of mean zero-shot over no growth,\nequal added {equal.replace('flops', 'FLOPs')}")
    picture = draw_map(panels[2], rows)
    figure.colorbar(picture, ax=panels[2])
    write(figure, path)


def sharing_figure(rows: pd.DataFrame, path: Path) -> None:
    """Accuracy, retrieval and modality gap over the shared depth."""
    rows = first_setting(rows)
    columns = SCORES | {"modality_gap": "modality gap (distance of the means)"}
    figure, panels = subplots(1, 3, (15, 4.4), gridspec_kw={"wspace": 0.26})
    for axes, (column, label) in zip(panels, columns.items(), strict=True):
        for colour, equal in zip(PALETTE, ("flops", "parameters"), strict=False):
            part = rows[(rows["equal"] == equal) | (rows["shared_depth"] == 0)]
            line(axes, part, "shared_depth", column, color=colour, label=f"equal {equal.replace('flops', 'FLOPs')}")
        tidy(axes, xlabel="shared depth, blocks", ylabel=label, xticks=sorted(rows["shared_depth"].unique()))
    panels[0].legend(frameon=False)
    write(figure, path)


def draw_search_against_training(axes, members: pd.DataFrame) -> None:
    """Losses after training over those in the search (`choice.search_against_training`), a colour per seed."""
    for number, (seed, part) in enumerate(members.groupby("seed")):
        colour, marker = PALETTE[number % len(PALETTE)], "osD^v"[number % 5]
        centred = part[["search_loss", "loss_after"]] - part[["search_loss", "loss_after"]].mean()
        axes.scatter(*centred.to_numpy().T, color=colour, marker=marker, label=f"seed {seed}")
    tidy(
        axes,
        xlabel="loss in the search, above its mean over members",
        ylabel="loss at the end of the step, above its mean",
    )


def draw_text_leads(axes, searches: pd.DataFrame) -> None:
    """How far the text side is ahead in what the search likes best, and in what it chooses, stream by stream."""
    streams = sorted(searches["data"].unique())
    columns = {"lowest": "lowest loss", "text_lead": "choice (ties: even, cheap)"}
    for number, (column, label) in enumerate(columns.items()):
        for position, data in enumerate(streams):
            leads = searches.loc[searches["data"] == data, column].sort_values()
            x = position + 0.36 * (number - 0.5) + np.linspace(-0.1, 0.1, len(leads))
            axes.plot(x, leads, "o", color=PALETTE[number], alpha=0.75, label=label if position == 0 else None)
    axes.axhline(0, color="#222222", lw=1)
    axes.set_xticks(range(len(streams)), [f"{data} stream" for data in streams])
    tidy(axes, ylabel="growth: text side's share - image side's", title="does the growth follow the data?")


def choice_figure(rows: pd.DataFrame, path: Path) -> None:
    """The choice among all members trained, how the search ranks them, and where two hard streams make the architecture
    grow."""
    rows = first_setting(rows, TIMETABLE)  # its hard streams are part of the study
    figure, (left, middle, right) = subplots(1, 3, (18, 4.6), gridspec_kw={"wspace": 0.25})
    here = last_step(rows)
    members = here[here["part"] == "regret"]
    styles = {"search": ("D", PALETTE[4], 90), "balanced": ("s", PALETTE[0], 60), "widest": ("^", PALETTE[2], 70)}
    for rule, part in members.groupby(members["rule"].where(~members["rule"].str.startswith("random"), "random")):
        marker, colour, size = styles.get(rule, ("o", "#bbbbbb", 28))
        left.scatter(
            part["seed"],
            part["loss_after"],
            marker=marker,
            color=colour,
            s=size,
            label=rule,
            zorder=2 + (rule != "random"),
        )
    tidy(
        left,
        xlabel="seed",
        ylabel="held-out loss at the end of the step",
        title="members of the growth space, trained alone",
    )
    left.set_xticks(sorted(members["seed"].unique()))
    draw_search_against_training(middle, search_against_training(here))
    middle.set_title("does the search rank them?")
    draw_text_leads(right, with_leads(rows[rows["part"] == "choice"]))
    for axes in (left, middle, right):
        axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=5)
    write(figure, path)


# Where the names of methods lie beside their points: to the upper right unless others are there.
NAME_AT = {"LwF": (-6, 5), "ZSCL": (-6, 5), "repeated cosine": (-6, 5)}


def draw_forgetting(axes, rows: pd.DataFrame) -> None:
    """Accuracy on new concepts over what was lost of earlier ones, a colour per method; an arrow leads from its fixed
    architecture (open) to growing (filled)."""
    for number, (method, part) in enumerate(rows.groupby("method", sort=False)):
        colour, ends = PALETTE[number % len(PALETTE)], []  # more methods than colours, hence the names
        for growing, its in part.groupby("growing"):
            (x, *across), (y, *up) = centre(its["forgetting"]), centre(its["plasticity"])
            bars = [[up[0]], [up[1]]], [[across[0]], [across[1]]]
            style = {"color": colour, "elinewidth": 0.8, "mfc": colour if growing else "none"}
            axes.errorbar(x, y, *bars, fmt="o", **style)
            ends.append((x, y))
        if len(ends) == 2:
            axes.annotate("", ends[1], ends[0], arrowprops={"arrowstyle": "->", "color": colour, "shrinkA": 4})
        at = NAME_AT.get(method, (6, 5))
        side = "left" if at[0] > 0 else "right"
        axes.annotate(method, ends[-1], at, textcoords="offset points", ha=side, fontsize=9)
    for colour, label in (("none", "fixed architecture"), ("#222222", "growing")):
        axes.plot([], [], "o", color="#222222", mfc=colour, label=label)
    axes.margins(x=0.2)
    tidy(axes, xlabel="forgetting: accuracy lost on earlier concepts", ylabel="accuracy on each step's new concepts")


def continual_figure(rows: pd.DataFrame, path: Path) -> None:
    """Plasticity against forgetting, and the final mean, per method, fixed and growing."""
    rows = first_setting(rows)
    figure, (left, right) = subplots(1, 2, (14, 5), gridspec_kw={"wspace": 0.42})
    draw_forgetting(left, rows)
    left.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    methods = list(dict.fromkeys(rows["method"]))
    for offset, (growing, part) in zip((0.12, -0.12), rows.groupby("growing"), strict=False):
        points = [centre(part.loc[part["method"] == method, "zero_shot_mean"]) for method in methods]
        mean, low, high = np.array(points).T
        y = -np.arange(len(methods)) + offset
        style = {"fmt": "D", "color": PALETTE[4]} if growing else {"fmt": "o", "color": PALETTE[0]}
        name = "growing" if growing else "fixed architecture"
        right.errorbar(mean, y, xerr=[low, high], capsize=3, label=name, **style)
    right.set_yticks(-np.arange(len(methods)), methods)
    tidy(right, xlabel="final mean zero-shot accuracy")
    right.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    seeds = rows.groupby("method")["seed"].nunique()
    about = f"{rows['data'].iloc[0]}, {'up to ' if seeds.nunique() > 1 else ''}{seeds.max()} seeds"
    figure.suptitle(f"New pairs only (but replay, and ZSCL's reference), {about}", y=0.98, parse_math=False)
    write(figure, path)


def capacity_figure(rows: pd.DataFrame, path: Path) -> None:
    """Mean zero-shot accuracy over training FLOPs, a line per fixed size, on the first and the last step's data.
    Lines are means over seeds, with the range between seeds shaded."""
    figure, panels = subplots(1, 2, (12, 5), sharey=True, gridspec_kw={"wspace": 0.06})
    sizes = rows.groupby("architecture")["parameters"].max().sort_values()
    palette = colormaps["viridis"]([0.92 - 0.92 * i / max(len(sizes) - 1, 1) for i in range(len(sizes))])
    for axes, step in zip(panels, ("first", "last"), strict=True):
        for colour, name in zip(palette, sizes.index, strict=True):
            part = rows[(rows["step"] == step) & (rows["architecture"] == name)]
            points = part.groupby("iterations").agg({"train_flops": "mean", "zero_shot_mean": ["mean", "min", "max"]})
            x, y = points["train_flops"]["mean"] / 1e12, points["zero_shot_mean"]
            axes.plot(x, y["mean"], "o-", color=colour, lw=2.5, label=f"{sizes[name] / 1e6:.2f} M ({name})")
            axes.fill_between(x, y["min"], y["max"], color=colour, alpha=0.2, lw=0)
        budgets = sorted({2.0 ** round(math.log2(flops / 1e12)) for flops in rows[rows["step"] == step]["train_flops"]})
        chance = rows.loc[rows["step"] == step, "chance"].mean()
        axes.axhline(chance, color=GREY, ls=":", lw=1.5, label="chance")
        title = f"{step} growth step's data and concepts"
        tidy(axes, xscale="log", xlabel="training, TFLOPs", title=title, ylim=(0, 1))
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.minorticks_off()
    panels[0].set_ylabel("mean zero-shot accuracy")
    panels[1].legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1))
    write(figure, path)
