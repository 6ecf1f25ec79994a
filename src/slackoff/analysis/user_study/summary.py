"""The numbers of a user study with their intervals: selection percentages and rank-n scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from slackoff.analysis.statistics import Interval, difference_interval, mean_interval
from slackoff.analysis.user_study.rank import in_top, tied_images
from slackoff.analysis.user_study.scores import Scores
from slackoff.analysis.user_study.votes import Votes, selection_shares, vote_counts


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
