"""The one page of a report: gathers what it shows and fills the template. Nothing in it is loaded from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from slackoff.analysis.balance import Balance
from slackoff.analysis.balance_wording import describe
from slackoff.analysis.claim_table import claim_tables
from slackoff.analysis.claims import ANSWER, Claim
from slackoff.analysis.claims.check import SUMMARY
from slackoff.analysis.claims.published_tables import published_beside
from slackoff.analysis.configuration import different, environments, read_configs, shared
from slackoff.analysis.cost import cost
from slackoff.analysis.distributions import Distributions
from slackoff.analysis.distributions_wording import readable_distributions
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, groups
from slackoff.analysis.pictures import data_uri, strips
from slackoff.analysis.quality_cost import NETWORK, quality_cost_table
from slackoff.analysis.quality_cost_wording import answers as quality_cost_answers
from slackoff.analysis.quality_cost_wording import readable_quality_cost
from slackoff.analysis.summary import DO_NOTHING, label_columns, measures_of
from slackoff.analysis.tables import readable
from slackoff.analysis.teachers import readable_teachers, teacher_table
from slackoff.analysis.templating import environment
from slackoff.analysis.wording import at
from slackoff.metrics.columns import HEADLINE_THRESHOLD, THRESHOLDS, Channel, measure_columns

_LARGEST_SVG = 400_000
"""Figures with more bytes of SVG than this are shown as PNG."""

_CAPTIONS = {
    "curves": "Means over the test images with 95 % intervals. Dashed: what the perfect output (oracle) or the "
    "untouched input has. E_R also rises when a network damages the picture; the removal share does not. "
    "Open circles, if any: single training seeds.",
    "grid": "All groups on common scales. Means over the test images with 95 % intervals; dashed: the oracle.",
    "normalised": "Each line stretched to 0 .. 1 by its least and greatest mean over N. The paper judges by eye where "
    "removal breaks down; the rule here, the last N with a value above 0.5 (ringed), is ours. Stretching hides how far "
    "a measure moves, which is why that distance is given too.",
    "balance": "Every pair of rain range and N, with 95 % intervals; best is the upper left. On the Pareto front "
    "(black) no other pair has both more removal and a lower E_B. A point is the more filled, the more often it is on "
    "the front when the test images are drawn anew. E_R also rises with damage: what lies above its oracle cannot be "
    "rain removal alone. Also as tables/balance.csv.",
    "tradeoff": "Rain removed against the error on rain-free pixels, with 95 % intervals. Best is the upper left.",
    "training": "Loss, and measures on the part of the test images that is used during training, over the steps. "
    "One line per cell.",
}


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its kind, the part of the study that it shows, its files, and its caption.

    A kind with one caption for all its figures has it in `_CAPTIONS`.
    """

    kind: str
    part: str
    png: Path
    svg: Path
    own_caption: str = ""

    @property
    def uri(self) -> str:
        """The figure as a data URI: SVG, or PNG where the SVG is heavy."""
        return data_uri(self.svg if self.svg.stat().st_size <= _LARGEST_SVG else self.png)

    @property
    def caption(self) -> str:
        return self.own_caption or _CAPTIONS[self.kind]


def render(
    frames: Frames,
    table: pd.DataFrame,
    claims: list[Claim],
    drawn: list[Drawn],
    balanced: Sequence[Balance] = (),
    distributed: Sequence[Distributions] = (),
) -> str:
    """The HTML of the report."""
    template = environment().get_template("report.html.j2")
    configs = read_configs(frames)
    same = shared(configs)
    return template.render(
        study=frames.study,
        axis=frames.study.axis,
        unfinished=_unfinished(frames),
        total=len(frames.cells),
        precisions=sorted({config.get("trainer.precision", "") for config in configs.values()} - {""}),
        notes=_notes(frames),
        answers=[claim for claim in claims if claim.id == ANSWER],
        summaries=[claim for claim in claims if claim.family == SUMMARY],
        claim_tables=claim_tables([claim for claim in claims if claim.family != SUMMARY]),
        published=published_beside(frames),
        scopes=list(dict.fromkeys(claim.scope for claim in claims if claim.family != SUMMARY)),
        taught=_taught(frames),
        ranked=_ranked(frames),
        drawn=drawn,
        distributed=readable_distributions(distributed, frames.study.axis) if distributed else None,
        balances=_balances(balanced, drawn),
        headings=_headings(table, frames.study.axis),
        rows=_rows(table, frames.study.axis),
        strips=strips(frames, groups(frames)),
        shared=same,
        different=different(configs),
        environments=environments(frames),
        cost=cost(frames),
        measures=_measures(same),
    )


def _balances(balanced: Sequence[Balance], drawn: list[Drawn]) -> list[tuple[Drawn, list[str]]]:
    """The figure of each balance with what is said about it."""
    figures = [figure for figure in drawn if figure.kind == "balance"]
    return [(figure, describe(balance)) for figure, balance in zip(figures, balanced, strict=True)]


def _taught(frames: Frames) -> pd.DataFrame | None:
    """The table of teachers and students as text; None where no cell has a teacher."""
    table = teacher_table(frames)
    return readable_teachers(table, frames.study.axis) if len(table) else None


def _ranked(frames: Frames) -> dict[str, Any] | None:
    """What is said of quality against cost, and its table; None for a study that kept no costs."""
    table = quality_cost_table(frames)
    if not len(table):
        return None
    text = readable_quality_cost(table)
    named = [TEST_SET] if TEST_SET in text else []
    columns = [*named, NETWORK, "parameters", "gflops", "seconds", *measures_of(table)]
    rows = _sortable(table, text, columns, table[NETWORK] == DO_NOTHING)
    return {"answers": quality_cost_answers(table), "headings": list(text.columns), "rows": rows}


def _unfinished(frames: Frames) -> list[dict[str, str]]:
    """The cells without results: which, in what state, and what went wrong."""
    found = []
    for _, row in frames.unfinished.sort_values(frames.study.axis, kind="stable").iterrows():
        axes = ", ".join(at(axis, row[axis]) for axis in frames.study.axes)
        error = "" if pd.isna(row["last_error"]) else str(row["last_error"])
        found.append({"axes": axes, "state": row["state"], "error": error, "id": row["id"]})
    return found


def _notes(frames: Frames) -> list[str]:
    """What the cells noted about themselves, each with the cell that it is about."""
    noted = frames.cells[frames.cells["notes"].map(lambda notes: isinstance(notes, list) and len(notes) > 0)]
    axis = frames.study.axis
    return [f"{at(axis, row[axis])} ({row['id']}): {note}" for _, row in noted.iterrows() for note in row["notes"]]


def _headings(table: pd.DataFrame, axis: str) -> list[str]:
    return list(readable(table.head(0), axis).columns)


def _rows(table: pd.DataFrame, axis: str) -> list[dict[str, Any]]:
    """Rows of the study table: per cell its first line, a second one with the interval, and a value to sort by."""
    text = readable(table, axis, "{mean}\n{low} to {high}")
    columns = [axis, *label_columns(table, axis), *measures_of(table)]
    return _sortable(table, text, columns, table["output"] == DO_NOTHING)


def _sortable(
    table: pd.DataFrame, text: pd.DataFrame, columns: Sequence[str], references: "pd.Series[bool]"
) -> list[dict[str, Any]]:
    """Rows of a table as text, with the values of its `columns` to sort by; `references` are set apart."""
    rows = []
    for (_, values), (_, words), reference in zip(table.iterrows(), text.iterrows(), references, strict=True):
        cells = []
        for column, entry in zip(columns, words, strict=True):
            main, _, interval = str(entry).partition("\n")
            value = values[column]
            cells.append({"main": main, "interval": interval, "sort": "" if pd.isna(value) else value})
        rows.append({"cells": cells, "reference": reference})
    return rows


def _measures(config: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """(column, label, unit, explanation) of the measures without the other thresholds' copies."""
    headline = float(config.get("evaluation.protocol.headline", HEADLINE_THRESHOLD))
    channel: Channel = "y" if config.get("evaluation.protocol.channel") == "y" else "rgb"
    columns = measure_columns(THRESHOLDS, headline, channel)
    return [(name, *column[:2], column.explanation) for name, column in columns.items() if "_t" not in name]
