"""The trade-off of all rain ranges and counts: what is gained against E_B, with the front and the recommended pair."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from slackoff.analysis.balance import COST, GAINS, Balance
from slackoff.analysis.groups import ranked
from slackoff.analysis.labels import FONT_POINTS, Entry, label_points
from slackoff.analysis.panels import TITLES
from slackoff.analysis.style import INK, QUIET, colours, house_style, ordered_colours
from slackoff.analysis.wording import number
from slackoff.metrics.columns import COLUMNS

FRONT_ID = "front"
"""gid of the step line of the front."""

RING_ID = "recommended"
"""gid of the ring around what the rule recommends."""


def balance_figure(balance: Balance) -> Figure:
    """E_R and the removal share against E_B, one point per rain range and count, with 95 % intervals.

    The colour is the rain range, the text N. A point is the more filled, the more often it is on the front when the
    test images are drawn anew; the step line is the front of the means, and the ring marks what the rule recommends
    by the removal share.
    """
    with house_style():
        figure = Figure(figsize=(11.5, 5.4), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08))
        axes = figure.subplots(1, len(GAINS))
        for ax, gain in zip(axes, GAINS, strict=True):
            _draw(ax, balance, gain)
        figure.legend(handles=_legend(balance), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
        figure.draw_without_rendering()
        for ax, gain in zip(axes, GAINS, strict=True):
            label_points(ax, _names(balance, gain), _covered(balance, gain), distances=(7, 10))
    return figure


def _palette(balance: Balance) -> dict[Any, Any]:
    rains = list(dict.fromkeys(point.rain for point in balance.points))
    return dict(zip(rains, ordered_colours(len(rains)) if ranked(rains) else colours(len(rains)), strict=True))


def _draw(ax: Axes, balance: Balance, gain: str) -> None:
    palette, front = _palette(balance), balance.fronts[gain]
    for point, share in zip(balance.points, front.member_shares, strict=True):
        x, y, colour = point.levels[COST], point.levels[gain], palette[point.rain]
        ax.errorbar(
            x.mean,
            y.mean,
            xerr=[[x.mean - x.low], [x.high - x.mean]],
            yerr=[[y.mean - y.low], [y.high - y.mean]],
            color=colour,
            alpha=0.45,
            elinewidth=1,
            zorder=2,
        )
        face = _blend(colour, share)
        ax.plot(x.mean, y.mean, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
    for rain, colour in palette.items():
        levels = [point.levels for point in balance.points if point.rain == rain]
        ax.plot([level[COST].mean for level in levels], [level[gain].mean for level in levels], **_thread(colour))
    on = sorted((point.levels[COST].mean, point.levels[gain].mean) for point in balance.on_front(gain))
    ax.step(*zip(*on, strict=True), where="post", color=INK, linewidth=1.1, zorder=1.5, gid=FRONT_ID)
    best = balance.recommended.levels
    ring: dict[str, Any] = {"markersize": 15, "fillstyle": "none", "color": INK, "markeredgewidth": 1.4}
    ax.plot(best[COST].mean, best[gain].mean, "o", zorder=4, gid=RING_ID, **ring)
    ax.margins(0.1)
    ax.grid(True, axis="both")
    _draw_oracle(ax, balance, gain)
    ax.set_title(f"{TITLES[gain]}, against its price")
    ax.set_xlabel("$E_B$: error outside the rain (grey levels), further left is better")
    ax.set_ylabel(COLUMNS[gain].unit or "removal share, higher is better")


def _thread(colour: Any) -> dict[str, Any]:
    """Looks of the line that joins the counts of a rain range."""
    return {"color": colour, "linewidth": 1, "alpha": 0.35, "zorder": 1.2}


def _draw_oracle(ax: Axes, balance: Balance, gain: str) -> None:
    """The E_R of the perfect output: what lies above is not rain alone."""
    oracle = balance.recommended.e_r_oracle
    low, high = ax.get_ylim()
    if gain != "e_r" or not low <= oracle <= high + 0.3 * (high - low):
        return
    ax.axhline(oracle, color=QUIET, linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
    place: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "xytext": (4, 0), "textcoords": "offset points"}
    text = f"oracle\n{number(oracle, 1)}"
    ax.annotate(text, (1, oracle), va="center", fontsize=FONT_POINTS, color=QUIET, annotation_clip=False, **place)


def _names(balance: Balance, gain: str) -> list[Entry]:
    """N beside each point; those on the front and the recommended first, since texts without room are left out."""
    palette, front = _palette(balance), balance.fronts[gain]
    order = sorted(
        range(len(balance.points)),
        key=lambda place: (balance.points[place] is not balance.recommended, not front.members[place]),
    )
    points = [balance.points[place] for place in order]
    return [(p.levels[COST].mean, p.levels[gain].mean, str(p.patch_count), palette[p.rain]) for p in points]


def _covered(balance: Balance, gain: str) -> list[tuple[float, float]]:
    """Ends of the intervals, which no text may cover."""
    found = []
    for point in balance.points:
        x, y = point.levels[COST], point.levels[gain]
        found += [(x.low, y.mean), (x.high, y.mean), (x.mean, y.low), (x.mean, y.high)]
    return [(x, y) for x, y in found if x == x and y == y]


def _blend(colour: Any, share: float) -> tuple[float, ...]:
    """From white (never on the front) to the colour (always); half of it where nothing could be resampled."""
    share = 0.5 if share != share else share
    return tuple(1 - share * (1 - part) for part in to_rgb(colour))


def _legend(balance: Balance) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", markersize=7, label=str(rain))
        for rain, colour in _palette(balance).items()
        if rain is not None
    ]
    empty: dict[str, Any] = {"linestyle": "", "color": INK, "fillstyle": "none"}
    return [
        *handles,
        Line2D([], [], color=INK, linewidth=1.1, label="Pareto front"),
        Line2D([], [], marker="o", markersize=7, label="fill: share of resamples on the front", **empty),
        Line2D([], [], marker="o", markersize=13, label=f"recommended: {balance.recommended.name}", **empty),
    ]
