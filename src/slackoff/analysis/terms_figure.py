"""Multi-task cells against the training step: the losses of their terms, the weights and the gradient norms."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from slackoff.analysis.compare import cell_names
from slackoff.analysis.frames import Frames
from slackoff.analysis.style import LINE_STYLES, QUIET, colours, house_style
from slackoff.errors import SlackoffError

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
        figure = Figure(
            figsize=(2.9 * len(kinds) + 0.6, 1.75 * len(order) + 0.9),
            layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04),
        )
        axes = figure.subplots(len(order), len(kinds), squeeze=False, sharex=True, sharey="col")
        for line, cell in zip(axes, order, strict=True):
            rows = table[table["cell"] == cell]
            for ax, kind in zip(line, kinds, strict=True):
                _draw(ax, rows, kind, terms)
            line[0].set_ylabel(names.get(cell, cell).replace(", ", "\n"))
        for ax, kind in zip(axes[0], kinds, strict=True):
            ax.set_title(KINDS[kind])
        for ax in axes[-1]:
            ax.set_xlabel("training step")
        figure.legend(handles=_legend(terms), loc="outside lower center", ncols=max(1, len(terms)), frameon=False)
    return figure


def _draw(ax: Axes, rows: pd.DataFrame, kind: str, terms: list[str]) -> None:
    for term, look in zip(terms, _legend(terms), strict=True):
        own = rows[(rows["term"] == term)].dropna(subset=[kind])
        ax.plot(own["step"], own[kind], color=look.get_color(), linestyle=look.get_linestyle(), gid=term)
    if rows[kind].isna().all():
        ax.text(0.5, 0.5, "not logged", transform=ax.transAxes, ha="center", va="center", fontsize=8.5, color=QUIET)
    if kind in ("loss", "gradient_norm") and (rows[kind].dropna() > 0).all():
        ax.set_yscale("log")
    if kind == "share":
        ax.set_ylim(-0.03, 1.03)


def _legend(terms: list[str]) -> list[Line2D]:
    looks = zip(terms, colours(max(len(terms), 1)), strict=True)
    return [Line2D([], [], color=colour, label=term, **_dash(place)) for place, (term, colour) in enumerate(looks)]


def _dash(place: int) -> dict[str, Any]:
    return {"linestyle": LINE_STYLES[place % len(LINE_STYLES)]}
