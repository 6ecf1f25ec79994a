"""The one page of a report: gathers what it shows (configs, machines, pictures) and fills the template.

Nothing in it is loaded from elsewhere, and everything is escaped.
"""

import base64
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from slackoff.analysis.axes import letters_without_font
from slackoff.analysis.balance import COUNT, Balance, balances, describe_balance
from slackoff.analysis.claims import REMOVAL_OR_DAMAGE, Claim, check
from slackoff.analysis.claims.check import SUMMARY, claim_tables
from slackoff.analysis.claims.published import Beside, published_beside
from slackoff.analysis.common_level import Together, curves_together, describe_common, readable_common
from slackoff.analysis.compare import kept_images
from slackoff.analysis.cost import NETWORK, cost, quality_cost_answers, quality_cost_table, readable_quality_cost
from slackoff.analysis.distributions import Distributions, distributions, readable_distributions
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, describe, groups, in_order
from slackoff.analysis.tables import (
    DO_NOTHING,
    label_columns,
    measures_of,
    readable,
    readable_teachers,
    study_table,
    teacher_table,
)
from slackoff.analysis.text import BELOW, WARNING, at, is_smoke, number
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import (
    HEADLINE_FIDELITY,
    HEADLINE_THRESHOLD,
    OWN,
    THRESHOLDS,
    Channel,
    headline_channel,
    measure_columns,
)
from slackoff.record.config import read_config
from slackoff.record.files import Patience, read_json
from slackoff.record.results import Named, picture_folder

_log = logging.getLogger(__name__)
_ABSENT = "(not set)"


def cell_files(frames: Frames, read: Callable[[Path], Any]) -> dict[str, dict[str, str]]:
    """Cell id -> what `read` gives of its folder as {dotted key: value as text}, where that can be read."""
    found, patience = {}, Patience()
    for identity in frames.cells["id"]:
        with suppress(SlackoffError, OSError, ValueError):
            found[identity] = flat(patience(partial(read, frames.study.runs / "cells" / identity)))
    return found


def _environment_of(folder: Path) -> Any:
    return read_json(folder / "environment.json", dict[str, Any])


def compare_configs(configs: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The keys with one value in all configs, and those that differ, with their distinct values.

    Numbers are sorted, texts in the order of the cells.
    """
    same, different = {}, {}
    for key in sorted({key for config in configs.values() for key in config}):
        values = list(dict.fromkeys(config.get(key, _ABSENT) for config in configs.values()))
        if len(values) == 1:
            same[key] = values[0]
            continue
        with suppress(ValueError):
            values.sort(key=float)
        different[key] = values
    return same, different


def environments(frames: Frames) -> list[tuple[dict[str, str], int]]:
    """The distinct environments that the cells ran in, with the number of cells of each; the commonest first."""
    counts = Counter(tuple(found.items()) for found in cell_files(frames, _environment_of).values())
    return [(dict(items), count) for items, count in counts.most_common()]


def flat(content: Any, prefix: str = "") -> dict[str, str]:
    """{'a': {'b': 1}} as {'a.b': '1'}; lists stay one value."""
    if not isinstance(content, dict):
        return {prefix: content if isinstance(content, str) else json.dumps(content, default=str)}
    found: dict[str, str] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


MOST_OUTPUTS = 96
"""Outputs shown in one report; with more cells fewer test images are shown, so that the page stays light."""

_MOST_IMAGES = 4
_MOST_COLUMNS = 5
_LOSSLESS_BYTES = 60_000
_LONGEST_SIDE = 640


@dataclass(frozen=True)
class Output:
    """What one network made of a test image: its name, the picture and its numbers on that image."""

    name: str
    picture: str
    numbers: str


@dataclass(frozen=True)
class Strip:
    """One test image: rainy, true background, and the outputs along the main axis of a group.

    `group` says what tells the group from the others of its test set.
    """

    image: str
    test_set: str
    group: str
    rainy: str
    background: str
    width: int
    height: int
    numbers: str
    outputs: list[Output] = field(default_factory=list)

    @property
    def columns(self) -> int:
        """Pictures in a row, so that outputs and truth fill their rows evenly."""
        tiles = len(self.outputs) + 1
        return ceil(tiles / ceil(tiles / _MOST_COLUMNS))


def strips(frames: Frames, groups: Iterable[Group]) -> list[Strip]:
    """The pictures of a study: for each group and test image the outputs side by side, one cell per axis value."""
    chosen = [(group, _one_cell_each(frames, group)) for group in groups]
    outputs = sum(len(cells) for _, cells in chosen)
    count = max(1, min(_MOST_IMAGES, MOST_OUTPUTS // max(1, outputs)))
    found, patience = [], Patience()
    for group, cells in chosen:
        kept = kept_images(frames, [cell.name for cell in cells.values()])
        common = [named for named in kept if named[0] == group.test_set]
        for named in common[:count]:
            try:
                found.append(patience(partial(_strip, group, cells, named[1], frames.recorded(named))))
            except OSError as error:
                _log.warning("The pictures of %s are not shown: one cannot be read (%s)", named[1], error)
    return found


def data_uri(path: Path) -> str:
    """A PNG or SVG file as it is."""
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def photo_uri(path: Path) -> str:
    """A picture for the page: as it is where it is small, else at most 640 pixels wide or high and in WebP."""
    if path.stat().st_size <= _LOSSLESS_BYTES:
        return data_uri(path)
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        small.save(buffer, "WEBP", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _one_cell_each(frames: Frames, group: Group) -> dict[str, Path]:
    """'N = 8' -> folder of the first cell with that value and results in the group; other seeds are not shown.

    A variant can have a cell of its own for each test set.
    """
    done = group.cells[(group.cells["state"] == "done") & group.cells["id"].isin(group.images["cell"])]
    folders = {}
    for value in in_order(done[group.axis]):
        identity = done.loc[done[group.axis] == value, "id"].iloc[0]
        folders[at(group.axis, value)] = frames.study.runs / "cells" / identity
    return folders


def _strip(group: Group, cells: dict[str, Path], image: str, named: Named) -> Strip:
    """The pictures of an image, `named` in the record, of which every cell has kept all three."""
    folder = picture_folder(next(iter(cells.values())), named)
    with Image.open(folder / "rainy.png") as rainy:
        width, height = rainy.size
    rows = group.images[group.images["image"].astype(str) == image].set_index("cell")
    first = rows.iloc[0]
    psnr_input = f"{HEADLINE_FIDELITY[_channel(first)][0]}_input"
    outputs = [
        Output(name, photo_uri(picture_folder(cell, named) / "output.png"), _numbers(rows.loc[cell.name]))
        for name, cell in cells.items()
    ]
    references = f"E_R oracle {number(first['e_r_oracle'], 1)}, PSNR of input {number(first[psnr_input], 1)} dB"
    pictures = photo_uri(folder / "rainy.png"), photo_uri(folder / "background.png")
    return Strip(image, group.test_set, describe(group.own_labels), *pictures, width, height, references, outputs)


def _numbers(row: pd.Series) -> str:
    return (
        f"E_R {number(row['e_r'], 1)}, removal share {number(row['removal_share'], 2)}, "
        f"PSNR {number(row[HEADLINE_FIDELITY[_channel(row)][0]], 1)} dB"
    )


def _channel(row: pd.Series) -> Channel:
    """The headline channel of the results of one image, as in the tables."""
    return headline_channel(row.dropna().index)


_SYMBOL = re.compile(r"\b(E(?=_[RB])|C(?=_k))_(\w)\b")
_TEMPLATES = Path(__file__).parent / "templates"


def environment() -> jinja2.Environment:
    """Jinja with the filter ``terms``, which sets the symbols of the field in a text."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["terms"] = terms
    made.globals |= {"is_smoke": is_smoke, "smoke_warning": WARNING}
    return made


def terms(text: str) -> Markup:
    """Sets E_R, E_B and C_k with their subscripts; everything else is escaped."""
    return Markup(_SYMBOL.sub(r"<i>\1<sub>\2</sub></i>", str(escape(text))))


_LARGEST_SVG = 400_000
"""Figures with more bytes of SVG than this are shown as PNG."""


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its kind, the part of the study that it shows, its files, and a caption of its own.

    What all figures of a kind have as caption stands in the template.
    """

    kind: str
    part: str
    png: Path
    svg: Path
    caption: str = ""

    @property
    def uri(self) -> str:
        """The figure as a data URI: SVG, or PNG where the SVG is heavy."""
        return data_uri(self.svg if self.svg.stat().st_size <= _LARGEST_SVG else self.png)


@dataclass(frozen=True)
class Findings:
    """What a report says of a study; frames without rows for what the study has nothing of."""

    frames: Frames
    table: pd.DataFrame
    claims: list[Claim]
    balances: list[Balance]
    distributions: list[Distributions]
    teachers: pd.DataFrame
    averages: pd.DataFrame
    best: pd.DataFrame
    quality_cost: pd.DataFrame
    published: Beside | None
    together: list[Together]

    @classmethod
    def of(cls, frames: Frames) -> "Findings":
        """All of it, each reckoned once."""
        axis, any_results = frames.study.axis, len(frames.images) > 0
        table = study_table(frames)
        teachers, averages, best = (
            teacher_table(frames, images) for images in (frames.teachers, frames.averages, frames.best)
        )
        made = table, check(frames), balances(frames), distributions(frames)
        together = curves_together(table, axis, groups(frames)) if axis == COUNT and any_results else []
        beside = teachers, averages, best
        return cls(frames, *made, *beside, quality_cost_table(frames), published_beside(frames), together)


def render(found: Findings, drawn: list[Drawn]) -> str:
    """The HTML of the report."""
    frames, table, axis = found.frames, found.table, found.frames.study.axis
    configs, text = cell_files(frames, read_config), readable(table, axis, BELOW)
    same, different = compare_configs(configs)
    balance_figures = [figure for figure in drawn if figure.kind == "balance"]
    main_claims = [claim for claim in found.claims if claim.family != SUMMARY]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            study=frames.study,
            axis=axis,
            unfinished=_unfinished(frames),
            total=len(frames.cells),
            precisions=sorted({config.get("trainer.precision", "") for config in configs.values()} - {""}),
            notes=_notes(frames),
            answers=[claim for claim in found.claims if claim.id == REMOVAL_OR_DAMAGE],
            summaries=[claim for claim in found.claims if claim.family == SUMMARY],
            claim_tables=claim_tables(main_claims),
            published=found.published,
            scopes=list(dict.fromkeys(claim.scope for claim in main_claims)),
            taught=readable_teachers(found.teachers, axis) if len(found.teachers) else None,
            others=[
                (name, readable_teachers(made, axis))
                for name, made in (("ema", found.averages), ("best", found.best))
                if len(made)
            ],
            ranked=_ranked(found.quality_cost),
            drawn=drawn,
            letters=letters_without_font("".join([text.to_csv(), *(figure.part for figure in drawn)])),
            common_levels=[
                (describe_common(one), readable_common(one)) for part in found.together for one in part.found.values()
            ],
            distributed=readable_distributions(found.distributions, axis) if found.distributions else None,
            balances=list(zip(balance_figures, map(describe_balance, found.balances), strict=True)),
            headings=list(text.columns),
            rows=_sortable(
                table, text, [axis, *label_columns(table, axis), *measures_of(table)], table["output"] == DO_NOTHING
            ),
            strips=strips(frames, groups(frames)),
            shared=same,
            different=different,
            environments=environments(frames),
            cost=cost(frames),
            measures=_measures(same),
        )
    )


def _ranked(table: pd.DataFrame) -> dict[str, Any] | None:
    """What is said of quality against cost, and its table; None for a study that kept no costs."""
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
    axis = frames.study.axis
    rows = frames.cells.iterrows()
    return [f"{at(axis, row[axis])} ({row['id']}): {note}" for _, row in rows for note in row["notes"]]


def _sortable(
    table: pd.DataFrame, text: pd.DataFrame, columns: Sequence[str], references: "pd.Series[bool]"
) -> list[dict[str, Any]]:
    """Rows of a table as text: per cell its first line, a second one with the interval, and the value of its one of
    `columns` to sort by; `references` are set apart."""
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
    headline = HEADLINE_THRESHOLD
    with suppress(ValueError):  # what a config of somebody else holds may be anything
        headline = float(config.get("evaluation.protocol.headline", headline))
    channel: Channel = "y" if config.get("evaluation.protocol.channel") == "y" else "rgb"
    own = {name: column for name, column in OWN.items() if f"evaluation.measures.{name}.of._target_" in config}
    columns = measure_columns(THRESHOLDS, headline, channel) | own
    return [(name, *column[:2], column.explanation) for name, column in columns.items() if "_t" not in name]
