"""Cells against the training step: loss terms with weights and gradient norms; teacher and student."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator

from slackoff.analysis.axes import (
    LINE_STYLES,
    QUIET,
    TITLES,
    Entry,
    colours,
    fix_layout,
    house_style,
    label_ends,
    new_figure,
)
from slackoff.analysis.compare import cell_names
from slackoff.analysis.frames import Frames
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS

KINDS = {
    "loss": "Loss of each term",
    "weight": "Weight of each term",
    "gradient_norm": "Gradient norm, shared layer",
    "share": "Share: weight \N{MULTIPLICATION SIGN} loss",
}
"""What a panel can show; all but the share are logged as train/KIND/TERM."""


def term_steps(frames: Frames) -> pd.DataFrame:
    """The terms of multi-task cells against the step, one row per cell, step and term.

    Columns: `cell`, `step`, `term`, `loss`, `weight`, `gradient_norm` (NaN where not logged) and `share`, weight times
    loss divided by that product's sum over the terms (NaN where a product is negative or nothing is left to share).

    Raises:
        SlackoffError: no cell of the study was trained with several loss terms.
    """
    terms = [str(name).removeprefix("train/weight/") for name in frames.steps if str(name).startswith("train/weight/")]
    if not terms:
        raise SlackoffError(
            f"The study '{frames.study.name}' has no cell of several loss terms: choose one with task=multitask, such "
            "as menet_slacking"
        )
    parts = []
    for term in terms:
        part = frames.steps[["cell", "step"]].assign(term=term)
        for kind in ("loss", "weight", "gradient_norm"):
            name = f"train/{kind}/{term}"
            part[kind] = frames.steps[name].astype(float) if name in frames.steps else float("nan")
        parts.append(part.dropna(subset=["loss", "weight"]))
    found = pd.concat(parts, ignore_index=True).astype({"cell": str})
    product = (found["loss"] * found["weight"]).where(lambda values: values >= 0)
    total = product.groupby([found["cell"], found["step"]]).transform("sum", min_count=1)
    found["share"] = product / total.where(total > 0)
    return found.sort_values(["cell", "step"], kind="stable", ignore_index=True)


def term_curves(frames: Frames, cells: list[str] | None = None) -> Figure:
    """A row of panels per cell: losses (log scale), weights, gradient norms (log scale) and shares against the step.

    Panels of a column have one scale. Gradient norms are left out where no cell has logged them.

    Args:
        frames: of the study.
        cells: ids; None: all of several terms.

    Raises:
        SlackoffError: none of them was trained with several loss terms.
    """
    table = term_steps(frames)
    if cells is not None:
        table = table[table["cell"].isin(cells)]
        if table.empty:
            raise SlackoffError(f"None of the cells {', '.join(cells)} was trained with several loss terms")
    kinds = [kind for kind in KINDS if table[kind].notna().any()]
    terms, names = list(dict.fromkeys(table["term"])), cell_names(frames)
    order = [cell for cell in frames.cells["id"].astype(str) if cell in set(table["cell"])]
    with house_style():
        looks = [
            Line2D([], [], color=colour, label=term, linestyle=LINE_STYLES[place % len(LINE_STYLES)])
            for place, (term, colour) in enumerate(zip(terms, colours(len(terms)), strict=True))
        ]
        figure = new_figure(2.9 * len(kinds) + 0.6, 1.75 * len(order) + 0.9, 0.06, 0.04)
        axes = figure.subplots(len(order), len(kinds), squeeze=False, sharex=True, sharey="col")
        for line, cell in zip(axes, order, strict=True):
            rows = table[table["cell"] == cell]
            for ax, kind in zip(line, kinds, strict=True):
                _draw(ax, rows, kind, looks)
            line[0].set_ylabel(names.get(cell, cell).replace(", ", "\n"))
        for ax, kind in zip(axes[0], kinds, strict=True):
            ax.set_title(KINDS[kind])
        for ax in axes[-1]:
            ax.set_xlabel("training step")
        figure.legend(handles=looks, loc="outside lower center", ncols=len(terms), frameon=False)
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, kind: str, looks: list[Line2D]) -> None:
    for look in looks:
        term = str(look.get_label())
        own = rows[(rows["term"] == term)].dropna(subset=[kind])
        ax.plot(own["step"], own[kind], color=look.get_color(), linestyle=look.get_linestyle(), gid=term)
    if rows[kind].isna().all():
        ax.text(0.5, 0.5, "not logged", transform=ax.transAxes, ha="center", va="center", fontsize=8.5, color=QUIET)
    if kind in ("loss", "gradient_norm") and (rows[kind].dropna() > 0).all():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(LogFormatter())
        ax.yaxis.set_minor_formatter(LogFormatter())
    if kind == "share":
        ax.set_ylim(-0.03, 1.03)


MEASURES = ("psnr_rgb", "removal_share", "e_b")
_LOSSES = {"train/labelled": "labelled", "train/unlabelled": "unlabelled", "train/total_variation": "total variation"}


def taught_cells(frames: Frames) -> list[str]:
    """Ids of the cells that a teacher taught, in the order of the study.

    Raises:
        SlackoffError: there is none.
    """
    column = "train/unlabelled"
    steps = frames.steps[frames.steps[column].notna()] if column in frames.steps else frames.steps[:0]
    taught = set(steps["cell"].astype(str))
    if not taught:
        raise SlackoffError(
            f"The study '{frames.study.name}' has no cell with a teacher: choose one with task=semi_supervised, such "
            "as semi_generalisation"
        )
    return [cell for cell in frames.cells["id"].astype(str) if cell in taught]


def switch_step(frames: Frames, cell: str) -> int:
    """The first logged step of the second stage, in which the teacher teaches; see `taught_cells`."""
    rows = frames.steps[(frames.steps["cell"] == cell) & frames.steps["train/unlabelled"].notna()]
    return int(rows["step"].min())


def teacher_curves(frames: Frames, cells: list[str] | None = None, measures: tuple[str, ...] = MEASURES) -> Figure:
    """A row per taught cell: measures of student and teacher on the watched test set, then losses, against the step.

    The shaded part is the first, supervised stage, up to the first logged step of the second. The losses have a log
    scale.

    Args:
        frames: of the study.
        cells: ids of taught cells; None: all.
        measures: columns of the record.

    Raises:
        SlackoffError: no cell has a teacher.
    """
    taught, names = taught_cells(frames), cell_names(frames)
    chosen = [cell for cell in taught if cells is None or cell in cells]
    if not chosen:
        raise SlackoffError(f"None of the cells {', '.join(cells or [])} has a teacher: choose of {', '.join(taught)}")
    measures = tuple(measure for measure in measures if f"test/{measure}" in frames.steps)
    with house_style():
        figure = new_figure(3.3 * (len(measures) + 1) + 0.4, 2.4 * len(chosen) + 0.6, 0.08, 0.05)
        axes = figure.subplots(len(chosen), len(measures) + 1, squeeze=False)
        ends: list[tuple[Axes, list[Entry]]] = []
        for line, cell in zip(axes, chosen, strict=True):
            steps, switch = frames.steps[frames.steps["cell"] == cell], switch_step(frames, cell)
            last = float(steps["step"].max())
            for ax, measure in zip(line, measures, strict=False):
                student, teacher = colours(2)
                looks = [
                    (f"test/{measure}", "student", {"color": student, "linestyle": "-", "marker": "o"}),
                    (f"teacher/{measure}", "teacher", {"color": teacher, "linestyle": "--", "marker": "s"}),
                ]
                ends.append((ax, _draw_lines(ax, steps, looks)))
                ax.set_ylabel(COLUMNS[measure].unit)
            looks = [
                (column, name, {"color": colour, "linestyle": style})
                for (column, name), colour, style in zip(
                    _LOSSES.items(), colours(len(_LOSSES)), LINE_STYLES, strict=False
                )
            ]
            ends.append((line[-1], _draw_lines(line[-1], steps, looks)))
            line[-1].set_yscale("log")
            line[-1].yaxis.set_major_formatter(LogFormatter())
            line[-1].yaxis.set_minor_formatter(LogFormatter())
            for ax in line:
                ax.axvspan(0, switch, color=QUIET, alpha=0.08, linewidth=0, zorder=0)
                ax.set_xlim(0, last * (1.55 if ax is line[-1] else 1.34))  # room for the names of the lines
                ax.set_xticks([tick for tick in MaxNLocator(4).tick_values(0, last) if tick <= last])
            mark: dict[str, Any] = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 8, "color": QUIET}
            line[-1].annotate("supervised", (0, 0), xycoords="axes fraction", **mark)
            unit = COLUMNS[measures[0]].unit if measures else ""
            line[0].set_ylabel(f"{names.get(cell, cell)}\n{unit}".rstrip())
        for ax, title in zip(axes[0], [*(TITLES.get(m, COLUMNS[m].label) for m in measures), "Losses"], strict=True):
            ax.set_title(title)
        for ax in axes[-1]:
            ax.set_xlabel("training step")
        figure.draw_without_rendering()
        for ax, entries in ends:
            label_ends(ax, entries)
        fix_layout(figure)
    return figure


def _draw_lines(ax: Axes, steps: pd.DataFrame, looks: list[tuple[str, str, dict[str, Any]]]) -> list[Entry]:
    """Draws logged columns, each with its name and looks; the entries that name those logged at their ends."""
    ends: list[Entry] = []
    for column, name, look in looks:
        rows = steps.dropna(subset=[column]) if column in steps else steps[:0]
        if len(rows):
            ax.plot(rows["step"], rows[column].astype(float), markersize=4, gid=name, **look)
            ends.append((float(rows["step"].iloc[-1]), float(rows[column].iloc[-1]), name, look["color"]))
    return ends
