"""The report of a user study from its CSV alone: numbers with intervals, tables, a figure, one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import csr_array

from slackoff.analysis.axes import (
    INK,
    MARKERS,
    QUIET,
    bars,
    colours,
    house_style,
    legend_name,
    letters_without_font,
    new_figure,
    save,
)
from slackoff.analysis.page import data_uri, environment
from slackoff.analysis.statistics import MIN_UNITS, Array, Interval, Joint, draw_counts, joint_means
from slackoff.analysis.text import first_of, listing, number, quantity
from slackoff.errors import SlackoffError
from slackoff.measurements.study import Entry
from slackoff.user_study.votes import SCORE_COLUMNS, in_top, read_header, read_scores, read_votes

_AT_ONCE = 100
"""Resamples that are counted at once."""


@dataclass(frozen=True)
class Summary:
    """What the report says.

    Attributes:
        values: images (sorted) x methods, votes or scores, for the images that count.
        shares: the same images x methods, share of the image's votes, 0..1; None for scores.
        left_out: names of images without votes, or without a score of every method.
        rows: the votes that count, with the columns rater, image and method; None for scores.
        replaced: how many earlier votes do not count.
    """

    values: pd.DataFrame
    shares: pd.DataFrame | None
    left_out: tuple[str, ...]
    rows: pd.DataFrame | None = None
    replaced: int = 0

    @property
    def raters(self) -> int:
        """How many people voted; 0 for scores."""
        return 0 if self.rows is None else int(self.rows["rater"].nunique())

    @property
    def votes(self) -> int:
        """How many votes count; 0 for scores."""
        return 0 if self.rows is None else len(self.rows)

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
        """Averaged selection percentage, 0..100, with its 95 % bootstrap interval over images and raters; of votes."""
        place = self._place(method, 0)
        return self._means.interval(lambda means: means[..., place])

    def lead(self, first: str, second: str) -> Interval:
        """How many percentage points `first` is selected more than `second`, paired over images and raters."""
        ahead, behind = self._place(first, 0), self._place(second, 0)
        return self._means.interval(lambda means: means[..., ahead] - means[..., behind])

    def rank(self, method: str, n: int) -> Interval:
        """Rank-n score in percent, 0..100, with its 95 % bootstrap interval over images, and raters where they voted.

        Other raters can only break up what is nearly a tie, so the score may lie beyond what nearly all resamples have:
        the interval then ends at the score.
        """
        place = self._place(method, n)
        found = self._means.interval(lambda means: means[..., place])
        low, high = float(np.minimum(found.low, found.mean)), float(np.maximum(found.high, found.mean))
        return replace(found, low=low, high=high)

    def _place(self, method: str, n: int) -> int:
        """Where `_means` has a rank-n score, or for n = 0 the selection."""
        return n * len(self.values.columns) + int(self.values.columns.get_loc(method))

    @cached_property
    def _means(self) -> Joint:
        """Percentages over the images: method by method the selection (0 for scores), then each rank-n score.

        A rater can be of an own taste on all images and an image hard for all raters, so the two are crossed and both
        are drawn anew, as images and seeds are in `slackoff.analysis.statistics`. Images on which nobody of those drawn
        has voted are left out of that resample.
        """
        values = self.values.to_numpy(dtype=np.float64)
        images, methods = values.shape
        if self.rows is None:
            tables = [np.zeros((methods, images)), *np.moveaxis(100.0 * in_top(values), -1, 1)]
            return joint_means([table for of_n in tables for table in of_n])
        raters, image, method = (
            pd.Categorical(self.rows[column], known).codes.astype(np.int64)
            for column, known in (
                ("rater", self.rows["rater"].unique()),
                ("image", self.values.index),
                ("method", self.values.columns),
            )
        )
        votes = csr_array((np.ones(len(raters)), (raters, image * methods + method)), (self.raters, values.size))
        per_image, per_rater = draw_counts(images, 0), draw_counts(self.raters, 1)
        draws = [
            _percentages((per_rater[some] @ votes).reshape(-1, images, methods), per_image[some])
            for some in np.array_split(np.arange(len(per_image)), len(per_image) // _AT_ONCE)
        ]
        means = _percentages(values[None], np.ones((1, images)))[0]
        return Joint(means, np.concatenate(draws), images, 0, min(images, self.raters), 0)

    def tied(self, n: int) -> int:
        """Images on which a tie puts more than n methods among the n best."""
        return int((in_top(self.values)[n - 1].sum(axis=1) > n).sum())


def _percentages(votes: Array, per_image: Array) -> Array:
    """(R, places), as `Summary._means` has them, of (R, images, methods) votes and how often images are drawn."""
    totals = votes.sum(axis=-1, keepdims=True)
    shares = votes / np.where(totals > 0, totals, 1)
    weights = per_image * (totals[..., 0] > 0)
    weights = weights / np.where(weights.any(axis=-1, keepdims=True), weights.sum(axis=-1, keepdims=True), np.nan)
    measures = np.concatenate([shares[None], in_top(votes)])
    return 100.0 * np.einsum("ri,nrim->rnm", weights, measures).reshape(len(votes), -1)


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
    return Summary(counts, shares, left_out, votes.rows, votes.replaced)


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
            label=legend_name(name),
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
    units = {"images": len(summary.values)} | ({"raters": summary.raters} if summary.rows is not None else {})
    if few := [f"{what} to decide anything; there are {count}" for what, count in units.items() if count < MIN_UNITS]:
        return False, f"{names[0]} is {words}, with {share} {unit}. It takes {MIN_UNITS} {few[0]}."
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
    found = list(filter(None, [letters_without_font("".join(summary.methods))]))
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
