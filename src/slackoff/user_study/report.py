"""The report of a user study from its CSV alone: numbers with intervals, tables, a figure, one self-contained page."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from slackoff.analysis.axes import INK, MARKERS, QUIET, colours, house_style, save
from slackoff.analysis.page import data_uri, environment
from slackoff.analysis.statistics import MIN_UNITS, Interval, difference_interval, mean_interval
from slackoff.analysis.text import BESIDE, entry, first_of, listing, number, quantity
from slackoff.errors import SlackoffError
from slackoff.user_study.votes import (
    SCORE_COLUMNS,
    Scores,
    Votes,
    in_top,
    read_header,
    read_scores,
    read_votes,
    selection_shares,
    tied_images,
    vote_counts,
)


@dataclass(frozen=True)
class Summary:
    """What the report says.

    Attributes:
        values: images x methods, votes or scores, for the images that count.
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

    @property
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
        """Averaged selection percentage, 0..100, with its 95 % bootstrap interval over images."""
        return mean_interval(100 * self._shares[method].to_numpy())

    def lead(self, first: str, second: str) -> Interval:
        """How many percentage points `first` is selected more than `second`, paired over images."""
        shares = self._shares
        return difference_interval(100 * shares[first].to_numpy(), 100 * shares[second].to_numpy())

    def rank(self, method: str, n: int) -> Interval:
        """Rank-n score in percent, 0..100, with its 95 % bootstrap interval over images."""
        column = list(self.values.columns).index(method)
        return mean_interval(100.0 * in_top(self.values, n)[:, column])

    def tied(self, n: int) -> int:
        """Images on which a tie puts more than n methods among the n best."""
        return tied_images(self.values, n)

    @property
    def _shares(self) -> pd.DataFrame:
        if self.shares is None:
            raise ValueError("scores have no selection percentage")
        return self.shares


def summarise_votes(votes: Votes, images: Sequence[str] = ()) -> Summary:
    """The summary of votes; `images` are those of the study, of which some may have no vote and are left out."""
    counts = vote_counts(votes, images)
    shares = selection_shares(counts)
    left_out = tuple(name for name in counts.index if name not in shares.index)
    return Summary(counts.loc[shares.index], shares, left_out, votes.raters, len(votes.rows), votes.replaced)


def summarise_scores(scores: Scores) -> Summary:
    """The summary of a table of scores."""
    return Summary(scores.table, None, scores.skipped)


def selection_table(summary: Summary) -> pd.DataFrame:
    """One row a method: averaged selection percentage with its interval, and its votes over all images."""
    votes = summary.values.sum()
    rows = [
        {"method": name, **_columns("selection_percent", summary.selection(name)), "votes": int(votes[name])}
        for name in summary.methods
    ]
    return pd.DataFrame(rows)


def rank_table(summary: Summary) -> pd.DataFrame:
    """One row per method and n: rank-n score in percent with its interval, and the images with a tie at n."""
    rows = [
        {"method": name, "n": n, **_columns("rank_percent", summary.rank(name, n)), "tied_images": summary.tied(n)}
        for name in summary.methods
        for n in summary.places
    ]
    return pd.DataFrame(rows)


def write_tables(summary: Summary, folder: Path) -> None:
    """rank_n.csv; for votes also selection.csv and votes.csv (votes per image and method), for scores scores.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rank_table(summary).to_csv(folder / "rank_n.csv", index=False)
    if summary.shares is None:
        summary.values.to_csv(folder / "scores.csv")
        return
    selection_table(summary).to_csv(folder / "selection.csv", index=False)
    summary.values.to_csv(folder / "votes.csv")


def readable(summary: Summary) -> pd.DataFrame:
    """A row a method, best first, as text '77.1 [64.6, 87.5]': selection where there are votes, then each rank n."""
    rows = []
    for name in summary.methods:
        row = {"Method": name}
        if summary.shares is not None:
            row["Selected, %"] = _entry(summary.selection(name))
        rows.append(row | {f"Rank-{n}, %": _entry(summary.rank(name, n)) for n in summary.places})
    return pd.DataFrame(rows)


def _columns(name: str, level: Interval) -> dict[str, float | int]:
    return {name: level.mean, f"{name}_low": level.low, f"{name}_high": level.high, "images": level.images}


def _entry(level: Interval) -> str:
    return entry(level.mean, level.low, level.high, 1, BESIDE)


_SPREAD = 0.24
"""Width over which the methods stand side by side at one n, so that their intervals do not hide each other."""


def user_study_figure(summary: Summary) -> Figure:
    """Averaged selection percentage (where there are votes) and rank-n scores, each with 95 % intervals."""
    voted = summary.shares is not None
    names = summary.methods
    palette = dict(zip(names, colours(len(names)), strict=True))
    with house_style():
        height = max(3.2, 0.42 * len(names) + 1.2)
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=(10.4 if voted else 6.2, height), layout=layout)
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
    """(2, n) lengths of the error bars; 0 where there is no interval."""
    lengths = [[level.mean - level.low for level in levels], [level.high - level.mean for level in levels]]
    return np.clip(np.nan_to_num(np.array(lengths)), 0, None)


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
    text = f"{names[0]} is {words}, with {_text(level(names[0]), unit, '95 % interval ')}."
    if summary.shares is None:
        return False, text
    lead = summary.lead(*names[:2])
    ahead = f"ahead of {names[1]}, the next: by {_text(lead, 'percentage points')}"
    return lead.sign > 0, f"{text} It is {'' if lead.sign > 0 else 'not '}clearly {ahead}."


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


def _text(level: Interval, unit: str, words: str = "") -> str:
    return quantity(level.mean, level.low, level.high, unit, 1, words)


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
        return summarise_scores(read_scores(path))
    return summarise_votes(read_votes(path, methods), images)


def build(summary: Summary, folder: Path, title: str) -> Path:
    """Write tables/*.csv, figures/user_study.png and .svg, and index.html into `folder`; returns the page's path.

    The same votes give the same files.

    Raises:
        OSError: the folder cannot be written.
    """
    write_tables(summary, folder / "tables")
    figure = data_uri(save(user_study_figure(summary), folder / "figures", "user_study")[1])
    clear, sentence = answer(summary)
    text = readable(summary)
    page = folder / "index.html"
    html = environment().get_template("user_study.html.j2")
    page.write_text(
        html.render(
            title=title,
            voted=summary.shares is not None,
            counted=counted(summary),
            clear=clear,
            answer=sentence,
            notes=notes(summary),
            figure=figure,
            headings=list(text.columns),
            rows=[[_cell(str(entry)) for entry in row] for row in text.itertuples(index=False)],
            images=_images(summary),
            methods=summary.methods,
        ),
        encoding="utf-8",
    )
    return page


def _cell(entry: str) -> dict[str, str]:
    """An entry of the table: its number, its interval, and what to sort by."""
    main, _, interval = entry.partition(" [")
    return {"main": main, "interval": interval.rstrip("]").replace(", ", " to "), "sort": main}


def _images(summary: Summary) -> list[tuple[str, list[dict[str, Any]]]]:
    """(image, per method its votes or score and whether it is the best there)."""
    values = summary.values[summary.methods]
    found = []
    for image, row in values.iterrows():
        top = row.max()
        text = [f"{value:.0f}" if summary.shares is not None else f"{value:.4g}" for value in row]
        cells = [{"text": shown, "best": value == top} for shown, value in zip(text, row, strict=True)]
        found.append((str(image), cells))
    return found
