"""What a search found: the history of its trials, and which keys matter, from ``search.json``."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slackoff.analysis.axes import QUIET, colours, house_style, legend_name, new_figure
from slackoff.metrics.columns import COLUMNS
from slackoff.record.search import Aim, SearchRecord


def search_table(record: SearchRecord) -> pd.DataFrame:
    """One row a trial: ``trial``, ``state``, ``cell``, the keys of the space, the measures (NaN without a value)."""
    names = [aim.measure for aim in record.aims]
    rows = [
        {"trial": each.number, "state": each.state, "cell": each.cell}
        | {key: each.params.get(key) for key in record.keys}
        | dict(zip(names, each.values or [np.nan] * len(names), strict=False))
        for each in record.trials
    ]
    return pd.DataFrame(rows, columns=["trial", "state", "cell", *record.keys, *names])


def search_figure(record: SearchRecord) -> Figure:
    """The values of the trials in the order in which they were asked for, the best so far; importance of the keys."""
    table = search_table(record)
    panels = len(record.aims) + bool(record.importance)
    with house_style():
        figure = new_figure(4.6 * panels, 3.4)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for ax, aim in zip(axes, record.aims, strict=False):
            _draw_history(ax, table, aim)
        if record.importance:
            _draw_importance(axes[-1], record)
    return figure


def search_caption(record: SearchRecord) -> str:
    """What the figure shows, and the best trial of each aim."""
    table = search_table(record)
    counts = table["state"].value_counts()
    found = [f"{counts.get('complete', 0)} trials are done, {counts.get('pruned', 0)} were pruned"]
    if failed := counts.get("fail", 0):
        found.append(f"{failed} failed")
    sentences = [f"{', '.join(found)}. Line: the best so far; hollow: pruned, at its last evaluation."]
    done = table[table["state"] == "complete"]
    for aim in record.aims if len(done) else ():
        place = done[aim.measure].idxmax() if aim.direction == "maximize" else done[aim.measure].idxmin()
        best = done.loc[place]
        params = ", ".join(f"{key} {best[key]}" for key in record.keys)
        sentences.append(f"Best {_label(aim.measure)}: {best[aim.measure]:.4g} of trial {best['trial']} ({params}).")
    if record.importance:
        sentences.append("Importance: share of each key in the variation among good trials (PED-ANOVA).")
    return " ".join(sentences)


def _draw_history(ax: Axes, table: pd.DataFrame, aim: Aim) -> None:
    colour, line = colours(2)
    done, pruned = (table[table["state"] == state] for state in ("complete", "pruned"))
    best = done[aim.measure].cummax() if aim.direction == "maximize" else done[aim.measure].cummin()
    ax.plot(done["trial"], best, color=line, linewidth=1.2, drawstyle="steps-post")
    ax.scatter(pruned["trial"], pruned[aim.measure], s=22, facecolor="white", edgecolor=QUIET, linewidth=0.9)
    ax.scatter(done["trial"], done[aim.measure], s=22, color=colour, zorder=3)
    unit = COLUMNS[aim.measure].unit if aim.measure in COLUMNS else ""
    ax.set_title(f"{_label(aim.measure)}, to {aim.direction}")
    ax.set_xlabel("trial")
    ax.set_ylabel(unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_importance(ax: Axes, record: SearchRecord) -> None:
    ranked = sorted(record.importance.items(), key=lambda item: item[1])
    ax.barh([legend_name(key) for key, _ in ranked], [share for _, share in ranked], color=colours(1)[0], height=0.6)
    ax.set_xlim(0, 1)
    ax.set_title(f"Importance for {_label(record.aims[0].measure)}")


def _label(measure: str) -> str:
    return COLUMNS[measure].label if measure in COLUMNS else legend_name(measure)
