"""The figures of a study. Each function takes frames and returns a matplotlib Figure made without pyplot.

Curves, all groups side by side, E_R and removal share stretched to 0 .. 1 (Figure 6(a) of the paper), trade-off,
training.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from slackoff.analysis.axes import (
    TITLES,
    Entry,
    axis_values,
    bars,
    draw_measure,
    house_style,
    label_ends,
    label_points,
    legend_name,
    lines,
    move_apart,
    new_figure,
    ordered_colours,
    positions,
)
from slackoff.analysis.groups import TEST_SET, in_order, is_number, ranked
from slackoff.analysis.tables import DO_NOTHING, MEASURES, label_columns, measures_of
from slackoff.analysis.text import short_name
from slackoff.metrics.columns import COLUMNS, OWN

_MOST_NAMES = 6
"""Up to this many groups are named where their lines end, more in a legend below."""

_LONGEST_NAME = 14
"""Characters of a name that find room beside a small figure."""

_TRAINING = {
    "train/loss": "Training loss",
    **{f"test/{measure}": TITLES[measure] for measure in MEASURES},
}


def curves(table: pd.DataFrame, axis: str, points: pd.DataFrame | None = None) -> Figure:
    """E_R with its oracle, removal share, E_B, PSNR, SSIM and own measures against the main axis, with 95 % intervals.

    `table` is a `study_table` of one test set; `points`, a `cell_means`, adds an open circle for each cell
    where several share a value. Values without results keep their place on the axis and are marked there.
    """
    groups = lines(table, axis)
    named = 1 < len(groups) <= _MOST_NAMES
    with house_style():
        measures = measures_of(table)
        further = len(measures) - len(MEASURES)
        rows = 2 + -(-further // 2)
        figure = new_figure(10, 3.4 * rows)
        grid = figure.add_gridspec(rows, 2)
        halves = grid[1, 1].subgridspec(2, 1)
        places = [grid[0, 0], grid[0, 1], grid[1, 0], halves[0], halves[1]]
        places += [grid[2 + number // 2, number % 2] for number in range(further)]
        for measure, place in zip(measures, places, strict=True):
            draw_measure(figure.add_subplot(place), table, axis, measure, points=points, room=0.22 if named else 0.0)
        figure.axes[3].set_xlabel("")
        figure.axes[3].tick_params(labelbottom=False)
        if len(groups) > 1 and not named:
            _legend(figure, figure.axes[0])
        figure.draw_without_rendering()
        for ax in figure.axes:
            move_apart(ax)
        place_of = positions(values := axis_values(table, axis))
        aside = 0.0 if all(map(is_number, values)) else 0.5  # else over the marks of groups beside each other
        for ax, measure in zip(figure.axes[:3], measures, strict=False) if named else []:
            drawn = [(line, line.rows.dropna(subset=[measure])) for line in groups]
            ends = [
                (place_of[rows[axis].iloc[-1]] + aside, float(rows[measure].iloc[-1]), line.name, line.colour)
                for line, rows in drawn
                if len(rows)
            ]
            label_ends(ax, ends)
    return figure


def training(steps: pd.DataFrame, cells: pd.DataFrame, axis: str) -> Figure:
    """Loss and test measures against the training step, one line per cell, coloured by its axis value.

    Few values with short names are named where their lines end, others in a legend below.
    """
    titles = _TRAINING | {f"test/{name}": column.label for name, column in OWN.items()}
    logged = [name for name in titles if name in steps and steps[name].notna().any()]
    names = [short_name(axis, value) for value in in_order(cells[axis])]
    direct = len(names) <= _MOST_NAMES and max(map(len, names), default=0) <= _LONGEST_NAME
    columns = min(3, max(1, len(logged)))
    rows = max(1, -(-len(logged) // columns))
    with house_style():
        figure = new_figure(11, 2.9 * rows + 0.3)
        ends = []
        for number, name in enumerate(logged):
            ax = figure.add_subplot(rows, columns, number + 1)
            ends.append(_draw_steps(ax, steps, cells, axis, name, room=0.3 if direct else 0.03))
        if figure.axes and not direct:
            _legend(figure, figure.axes[0])
        figure.draw_without_rendering()
        for ax, entries in zip(figure.axes, ends if direct else [], strict=False):
            label_ends(ax, entries)
    return figure


def tradeoff(table: pd.DataFrame, axis: str) -> Figure:
    """Removal share against E_B: what each network removes, and what that costs the background."""
    groups = lines(table, axis)
    with house_style():
        figure = new_figure(7, 4.8)
        ax = figure.add_subplot()
        labels: list[Entry] = []
        for line in groups:
            rows = line.rows.dropna(subset=["e_b", "removal_share"])
            x, y = rows["e_b"], rows["removal_share"]
            if all(map(is_number, rows[axis])):
                ax.plot(x, y, color=line.colour, linewidth=1, alpha=0.4, linestyle=line.style)
            spread = {"xerr": bars(rows, "e_b"), "yerr": bars(rows, "removal_share")}
            ax.errorbar(
                x, y, **spread, fmt=line.marker, color=line.colour, elinewidth=1.1, label=legend_name(line.name)
            )
            named = rows if len(groups) == 1 else rows.iloc[[0, -1]] if len(rows) else rows
            labels += [
                (row["e_b"], row["removal_share"], short_name(axis, row[axis]), line.colour)
                for _, row in named.iterrows()
            ]
        ax.margins(0.14)
        ax.grid(True, axis="both")
        ax.set_xlabel("$E_B$: error outside the rain (grey levels), further left is better")
        ax.set_ylabel("removal share, higher is better")
        ax.set_title("What is removed, and what it costs the background")
        if len(groups) > 1:
            _legend(figure, ax)
        figure.draw_without_rendering()
        networks = table[table["output"] != DO_NOTHING]
        covered: list[tuple[float, float]] = []
        for x, y in (("", ""), ("_low", ""), ("_high", ""), ("", "_low"), ("", "_high")):
            found = networks[[f"e_b{x}", f"removal_share{y}"]].dropna()
            covered += list(found.itertuples(index=False, name=None))
        label_points(ax, labels, covered)
    return figure


def split(table: pd.DataFrame, axis: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Parts of a study table that make one readable figure each, and the labels that all rows of a part
    share.

    Test sets are kept apart; a table of very many groups is split along its labels, the first one first.
    """
    labels = label_columns(table, axis)
    label = TEST_SET if TEST_SET in labels else labels[0] if len(labels) > 1 else None
    if label is None or (label != TEST_SET and len(lines(table, axis)) <= _MOST_NAMES):
        return [({}, table)]
    parts = [(value, _about(table, label, value)) for value in table[label].dropna().unique()]
    return [({label: value} | inner, rows) for value, part in parts for inner, rows in split(part, axis)]


def split_by_test_set(table: pd.DataFrame, axis: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """As `split`, along nothing but the test sets."""
    if TEST_SET not in label_columns(table, axis):
        return [({}, table)]
    return [({TEST_SET: value}, _about(table, TEST_SET, value)) for value in table[TEST_SET].dropna().unique()]


def _about(table: pd.DataFrame, label: str, value: Any) -> pd.DataFrame:
    """The rows with this value of a label, and those that are about all values, without the label."""
    return table[(table[label] == value) | table[label].isna()].drop(columns=label)


def _draw_steps(ax: Axes, steps: pd.DataFrame, cells: pd.DataFrame, axis: str, name: str, room: float) -> list[Entry]:
    """Draws one logged measure; returns where the lines end, one entry per axis value.

    `room`: what to keep free on the right, as a share of the steps.
    """
    values, ends = in_order(cells[axis]), []
    for value, shade in zip(values, ordered_colours(len(values)), strict=True):
        end: pd.Series | None = None
        for cell in cells.loc[cells[axis] == value, "id"]:
            rows = steps.loc[steps["cell"] == cell, ["step", name]].dropna()
            label = legend_name(short_name(axis, value)) if end is None else None
            marker = "" if len(rows) > 1 else "o"
            ax.plot(rows["step"], rows[name], color=shade, linewidth=1.5, marker=marker, label=label)
            end = rows.iloc[-1] if len(rows) else end
        if end is not None:
            ends.append((float(end["step"]), float(end[name]), short_name(axis, value), shade))
    measure = name.split("/")[1]
    ax.set_title(_TRAINING[name] if name in _TRAINING else COLUMNS[measure].label)
    ax.set_ylabel(COLUMNS[measure].unit if measure in COLUMNS else "")
    if measure == "loss":
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("training step")
    last = float(steps["step"].max())  # one scale in all panels
    ticks = [tick for tick in MaxNLocator(4, integer=True).tick_values(0, last) if 0 <= tick <= last]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    ax.set_xlim(0, last * (1 + room))
    return ends


def _legend(figure: Figure, ax: Axes, columns: int = 4) -> None:
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


ROWS = ("e_r", "removal_share", "e_b")
_MOST_COLUMNS = 5


def fits(table: pd.DataFrame, axis: str) -> bool:
    """Whether a table of one test set has the two labels, and few enough columns, that `grid` needs."""
    labels = label_columns(table, axis)
    return len(labels) > 1 and table[labels[0]].nunique() <= _MOST_COLUMNS


def grid(table: pd.DataFrame, axis: str, points: pd.DataFrame | None = None) -> Figure:
    """E_R, removal share and E_B, one row each on one scale, against the main axis with 95 % intervals.

    `table` is a `study_table` of one test set for which `fits` holds; `points` as for `figures.curves`.
    """
    label = label_columns(table, axis)[0]
    values = table.loc[table["output"] != DO_NOTHING, label].dropna()
    columns = ranked(values) or in_order(values)
    whole = table.drop(columns=label)
    with house_style():
        figure = new_figure(2.9 * len(columns) + 1.3, 7.6, 0.06, 0.06)
        axes = figure.subplots(len(ROWS), len(columns), squeeze=False)
        for row, measure in enumerate(ROWS):
            for column, value in enumerate(columns):
                ax = axes[row, column]
                seeds = points[points[label] == value] if points is not None and len(points) else None
                draw_measure(ax, _about(table, label, value), axis, measure, points=seeds, whole=whole)
                _trim(ax, measure, last_row=row == len(ROWS) - 1, first=column == 0, last=column == len(columns) - 1)
                ax.set_title(short_name(label, value) if row == 0 else "")
            limits = [ax.get_ylim() for ax in axes[row]]
            for ax in axes[row]:
                ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        _legend(figure, axes[0, 0], columns=min(len(axes[0, 0].containers), 6))
        figure.draw_without_rendering()
        for ax in axes[:, -1]:
            move_apart(ax)
    return figure


def _trim(ax: Axes, measure: str, last_row: bool, first: bool, last: bool) -> None:
    """Keeps what is said once only at the edges of the grid: names of scales left, of references right."""
    ax.set_title("", loc="right")
    unit = f"\n({COLUMNS[measure].unit})" if COLUMNS[measure].unit else ""
    ax.set_ylabel(f"{TITLES[measure]}{unit}" if first else "")
    ax.tick_params(labelleft=first, labelbottom=last_row)
    if not last_row:
        ax.set_xlabel("")
    for text in [] if last else list(ax.texts):
        text.remove()
