"""The report of a user study from its CSV alone: numbers with intervals, tables, a figure, one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slackoff.analysis.axes import INK, MARKERS, QUIET, bars, colours, house_style, new_figure, save
from slackoff.analysis.page import data_uri, environment
from slackoff.analysis.statistics import MIN_UNITS, Interval, difference_interval, mean_interval
from slackoff.analysis.text import first_of, listing, number, quantity
from slackoff.errors import SlackoffError
from slackoff.measurements.study import Entry
from slackoff.user_study.votes import SCORE_COLUMNS, in_top, read_header, read_scores, read_votes


@dataclass(frozen=True)
class Summary:
    """What the report says.

    Attributes:
        values: images (sorted) x methods, votes or scores, for the images that count.
        shares: the same images x methods, share of the image's votes, 0..1; None for scores.
        left_out: names of images without votes, or without a score of every method.
        raters, votes, replaced: how many raters and votes count, and earlier votes that do not; 0 for scores.
    """

    values: pd.DataFrame
    shares: pd.DataFrame | None
    left_out: tuple[str, ...]
    raters: int = 0
    votes: int = 0
    replaced: int = 0

    @cached_property
    def methods(self) -> list[str]:
        """The best first: by selection, or without votes by rank-1, rank-2, ... scores; ties by name."""
        names = sorted(self.values.columns)
        if self.shares is not None:
            return sorted(names, key=lambda name: -self.selection(name).mean)
        return sorted(names, key=lambda name: [-self.rank(name, n).mean for n in self.places])

    @property
    def places(self) -> range:
        """The n of the rank-n scores: 1 .. methods."""
        return range(1, self.values.shape[1] + 1)

    def selection(self, method: str) -> Interval:
        """Averaged selection percentage, 0..100, with its 95 % bootstrap interval over images; of votes only."""
        assert self.shares is not None
        return mean_interval(100 * self.shares[method].to_numpy())

    def lead(self, first: str, second: str) -> Interval:
        """How many percentage points `first` is selected more than `second`, paired over images; of votes only."""
        assert self.shares is not None
        return difference_interval(100 * self.shares[first].to_numpy(), 100 * self.shares[second].to_numpy())

    def rank(self, method: str, n: int) -> Interval:
        """Rank-n score in percent, 0..100, with its 95 % bootstrap interval over images."""
        return mean_interval(100.0 * in_top(self.values, n)[:, self.values.columns.get_loc(method)])

    def tied(self, n: int) -> int:
        """Images on which a tie puts more than n methods among the n best."""
        return int((in_top(self.values, n).sum(axis=1) > n).sum())


def summarise(path: Path, methods: Sequence[str] = (), images: Sequence[str] = ()) -> Summary:
    """The summary of a CSV of votes, or of scores where it has a column 'score' and none 'rater'.

    Args:
        path: the file.
        methods: as for `read_votes`; not for scores, whose file names them all.
        images: names of the images of the study, to tell those without votes.

    Raises:
        SlackoffError: as for `read_votes` and `read_scores`.
    """
    header = read_header(path)
    if "score" in header and "rater" not in header:
        if methods:
            raise SlackoffError(f"{path} holds scores ({', '.join(SCORE_COLUMNS)}): leave --method out.")
        table, left_out = read_scores(path)
        return Summary(table, None, left_out)
    votes = read_votes(path, methods)
    counts = pd.crosstab(votes.rows["image"], votes.rows["method"]).reindex(columns=list(votes.methods), fill_value=0)
    counts = counts.rename_axis(index="image", columns=None)
    shares = counts.div(counts.sum(axis=1), axis=0)
    left_out = tuple(sorted({*images} - {*counts.index}))
    return Summary(counts, shares, left_out, votes.rows["rater"].nunique(), len(votes.rows), votes.replaced)


def write_tables(summary: Summary, folder: Path) -> None:
    """Write the tables of a study as CSV files.

    - `rank_n`: per method and n the rank-n score in percent with its interval, and the images with a tie at n.
    - `scores`, or for votes `votes`: per image and method its score, or the number of votes.
    - `selection`, for votes: per method the averaged selection percentage with its interval, and all its votes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranks = [
        {"method": name, "n": n, **_columns("rank_percent", summary.rank(name, n)), "tied_images": summary.tied(n)}
        for name in summary.methods
        for n in summary.places
    ]
    pd.DataFrame(ranks).to_csv(folder / "rank_n.csv", index=False)
    summary.values.to_csv(folder / ("scores.csv" if summary.shares is None else "votes.csv"))
    if summary.shares is not None:
        votes = summary.values.sum()
        selected = [
            {"method": name, **_columns("selection_percent", summary.selection(name)), "votes": int(votes[name])}
            for name in summary.methods
        ]
        pd.DataFrame(selected).to_csv(folder / "selection.csv", index=False)


def _columns(name: str, level: Interval) -> dict[str, float | int]:
    return {name: level.mean, f"{name}_low": level.low, f"{name}_high": level.high, "images": level.images}


_SPREAD = 0.24
"""Width over which the methods stand side by side at one n, so that their intervals do not hide each other."""


def user_study_figure(summary: Summary) -> Figure:
    """Averaged selection percentage (where there are votes) and rank-n scores, each with 95 % intervals."""
    voted = summary.shares is not None
    names = summary.methods
    palette = dict(zip(names, colours(len(names)), strict=True))
    with house_style():
        figure = new_figure(10.4 if voted else 6.2, max(3.2, 0.42 * len(names) + 1.2))
        widths = [1.0, 1.25] if voted else [1.0]
        axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        if voted:
            _selection(axes[0], summary, palette)
        _ranks(axes[-1], summary, palette)
    return figure


def _selection(ax: Axes, summary: Summary, palette: dict[str, Any]) -> None:
    names = summary.methods
    levels = [summary.selection(name) for name in names]
    means, rows = [level.mean for level in levels], range(len(names))
    ax.barh(rows, means, height=0.62, color=list(palette.values()), zorder=2)
    ax.errorbar(means, rows, xerr=_bars(levels), fmt="none", ecolor=INK, elinewidth=1, capsize=3, zorder=3)
    ends = [level.high if np.isfinite(level.high) else level.mean for level in levels]
    chance = 100 / len(names)
    right = 1.16 * max(*ends, chance)
    for row, level, end in zip(rows, levels, ends, strict=True):
        ax.text(end + 0.02 * right, row, number(level.mean, 1), va="center", fontsize=8.5, color=INK)
    ax.axvline(chance, color=QUIET, linestyle="--", linewidth=1, zorder=1)
    ax.set_xlim(0, right)
    ax.set_yticks(rows, names)
    ax.invert_yaxis()
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.set_title("Averaged selection percentage")
    ax.set_xlabel(f"% of an image's votes; dashed: by chance ({number(chance, 0)} %)")


def _ranks(ax: Axes, summary: Summary, palette: dict[str, Any]) -> None:
    places = np.array(summary.places)
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(palette))
    for position, (name, colour) in enumerate(palette.items()):
        levels = [summary.rank(name, n) for n in places]
        ax.errorbar(
            places + offsets[position],
            [level.mean for level in levels],
            yerr=_bars(levels),
            color=colour,
            marker=MARKERS[position % len(MARKERS)],
            elinewidth=1.1,
            capsize=2.5,
            label=name,
            clip_on=False,
        )
    ax.set_ylim(0, 102)
    ax.set_xticks(places)
    ax.set_title("Rank-n score: among the n best of an image")
    ax.set_xlabel("n")
    ax.set_ylabel("% of images")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _bars(levels: list[Interval]) -> Any:
    """(2, n) lengths of the error bars."""
    return bars(pd.DataFrame([_columns("percent", level) for level in levels]), "percent")


def answer(summary: Summary) -> tuple[bool, str]:
    """Whether one method is clearly preferred, and the sentences that say so or not."""
    level = summary.selection if summary.shares is not None else lambda name: summary.rank(name, 1)
    words = "selected most" if summary.shares is not None else "best most often"
    unit = "% of an image's votes" if summary.shares is not None else f"% of {len(summary.values)} images"
    names = summary.methods
    leaders = [name for name in names if isclose(level(name).mean, level(names[0]).mean)]
    share = number(level(names[0]).mean, 1)
    if len(leaders) > 1:
        return False, f"{listing(leaders)} are equally {words}, each with {share} {unit}."
    if len(summary.values) < MIN_UNITS:
        few = f"It takes {MIN_UNITS} images to decide anything; there are {len(summary.values)}."
        return False, f"{names[0]} is {words}, with {share} {unit}. {few}"
    text = f"{names[0]} is {words}, with {_quantity(level(names[0]), unit, '95 % interval ')}."
    if summary.shares is None:
        return False, text
    lead = summary.lead(*names[:2])
    ahead = f"ahead of {names[1]}, the next: by {_quantity(lead, 'percentage points')}"
    return lead.sign > 0, f"{text} It is {'' if lead.sign > 0 else 'not '}clearly {ahead}."


def _quantity(level: Interval, unit: str, words: str = "") -> str:
    return quantity(level.mean, level.low, level.high, unit, 1, words)


def notes(summary: Summary) -> list[str]:
    """What a reader must know of the data: images left out, replaced votes, ties."""
    found = []
    if summary.left_out:
        missing = "votes" if summary.shares is not None else "a score of every method"
        found.append(f"Images without {missing} are left out: {first_of(list(summary.left_out))}.")
    if summary.replaced:
        found.append(
            f"Votes of a rater on an image on which the rater voted again later do not count: {summary.replaced}."
        )
    if ties := [f"{summary.tied(n)} at n = {n}" for n in summary.places if summary.tied(n)]:
        found.append(
            f"Of {len(summary.values)} images, methods tie at the n-th place on {listing(ties)}: all of them count as "
            "among the n best there, which raises rank-n scores."
        )
    return found


def counted(summary: Summary) -> str:
    """'404 raters, 4040 votes, 48 images, 5 methods'."""
    parts = [f"{len(summary.values)} images", f"{len(summary.methods)} methods"]
    if summary.shares is not None:
        least, most = int(summary.values.sum(axis=1).min()), int(summary.values.sum(axis=1).max())
        span = number(least, 0) if least == most else f"{least} to {most}"
        parts = [f"{summary.raters} raters", f"{summary.votes} votes ({span} an image)", *parts]
    return ", ".join(parts)


def build(summary: Summary, folder: Path, title: str) -> Path:
    """Write tables/*.csv, figures/user_study.png and .svg, and index.html into `folder`; returns the page's path.

    The same votes give the same files.

    Raises:
        OSError: the folder cannot be written.
    """
    write_tables(summary, folder / "tables")
    figure = data_uri(save(user_study_figure(summary), folder / "figures", "user_study")[1])
    clear, sentence = answer(summary)
    voted = summary.shares is not None
    headings = ["Method", *(["Selected, %"] if voted else []), *(f"Rank-{n}, %" for n in summary.places)]
    rows = []
    for name in summary.methods:
        levels = [summary.selection(name)] if voted else []
        levels += [summary.rank(name, n) for n in summary.places]
        cells = [Entry.of(level.mean, level.low, level.high, lambda value: number(value, 1)) for level in levels]
        rows.append([Entry(name), *cells])
    images = [
        (image, [{"text": f"{value:.0f}" if voted else f"{value:.4g}", "best": value == row.max()} for value in row])
        for image, row in summary.values[summary.methods].iterrows()
    ]
    page = folder / "index.html"
    html = environment().get_template("user_study.html.j2")
    page.write_text(
        html.render(
            title=title,
            voted=voted,
            counted=counted(summary),
            clear=clear,
            answer=sentence,
            notes=notes(summary),
            figure=figure,
            headings=headings,
            rows=rows,
            images=images,
            methods=summary.methods,
        ),
        encoding="utf-8",
    )
    return page
