"""The numbers of a user study as tables: for files and for the page."""

from pathlib import Path

import pandas as pd

from slackoff.analysis.statistics import Interval
from slackoff.analysis.user_study.summary import Summary
from slackoff.analysis.wording import number


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
    text = number(level.mean, 1)
    if pd.isna(level.low) or level.low == level.high:
        return text
    return f"{text} [{number(level.low, 1)}, {number(level.high, 1)}]"
