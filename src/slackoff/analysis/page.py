"""The one page of a report: gathers what it shows (configs, machines, pictures) and fills the template.

Nothing in it is loaded from elsewhere, and everything is escaped.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, nan
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from slackoff.analysis.balance import Balance, describe_balance
from slackoff.analysis.claims import REMOVAL_OR_DAMAGE, Claim
from slackoff.analysis.claims.check import SUMMARY, claim_tables
from slackoff.analysis.claims.published import published_beside
from slackoff.analysis.cost import cost
from slackoff.analysis.distributions import Distributions, readable_distributions
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, describe, groups, in_order
from slackoff.analysis.quality_cost import NETWORK, quality_cost_answers, quality_cost_table, readable_quality_cost
from slackoff.analysis.tables import DO_NOTHING, label_columns, measures_of, readable, readable_teachers, teacher_table
from slackoff.analysis.text import WARNING, at, is_smoke, number
from slackoff.metrics.columns import (
    HEADLINE_FIDELITY,
    HEADLINE_THRESHOLD,
    THRESHOLDS,
    Channel,
    headline_channel,
    measure_columns,
)
from slackoff.record.results import Named, kept_pictures, picture_folder

_ABSENT = "(not set)"


def read_configs(frames: Frames) -> dict[str, dict[str, str]]:
    """Cell id -> its config as {dotted key: value as text}, for the cells that have a readable config.yaml."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    configs = {}
    for identity in frames.cells["id"]:
        path = frames.study.runs / "cells" / identity / "config.yaml"
        try:
            content = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, YAMLError, OmegaConfBaseException):
            continue
        configs[identity] = flat(content)
    return configs


def shared(configs: dict[str, dict[str, str]]) -> dict[str, str]:
    """The keys that have the same value in all configs."""
    every = _values(configs)
    return {key: values[0] for key, values in every.items() if len(set(values)) == 1}


def different(configs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The keys that differ between configs, with their distinct values: numbers sorted, texts in the order of cells."""
    every = _values(configs)
    return {key: _sorted(values) for key, values in every.items() if len(set(values)) > 1}


def environments(frames: Frames) -> list[tuple[dict[str, str], int]]:
    """The distinct environments that the cells ran in, with the number of cells of each; the commonest first."""
    counts: dict[str, int] = {}
    for identity in frames.cells["id"]:
        path = frames.study.runs / "cells" / identity / "environment.json"
        try:
            text = json.dumps(flat(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue
        counts[text] = counts.get(text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [(json.loads(text), count) for text, count in ordered]


def _values(configs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    keys = sorted({key for config in configs.values() for key in config})
    return {key: [config.get(key, _ABSENT) for config in configs.values()] for key in keys}


def _sorted(values: list[str]) -> list[str]:
    distinct = list(dict.fromkeys(values))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct


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
    found = []
    for group, cells in chosen:
        for image, named in list(_common_images(frames, group, list(cells.values())).items())[:count]:
            found.append(_strip(group, cells, image, named))
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


def _common_images(frames: Frames, group: Group, cells: list[Path]) -> dict[str, Named]:
    """The group's test images of which every cell has kept all three pictures, with their names in the record."""
    if not cells:
        return {}
    kept = set.intersection(*(set(kept_pictures(cell)) for cell in cells))
    names = {image: frames.study.recorded(group.test_set, image) for image in group.image_names}
    return {image: named for image, named in names.items() if named in kept}


def _strip(group: Group, cells: dict[str, Path], image: str, named: Named) -> Strip:
    folder = picture_folder(next(iter(cells.values())), named)
    with Image.open(folder / "rainy.png") as rainy:
        width, height = rainy.size
    rows = group.images[group.images["image"].astype(str) == image].set_index("cell")
    first = rows.iloc[0]
    outputs = [
        Output(name, photo_uri(picture_folder(cell, named) / "output.png"), _numbers(rows.loc[cell.name]))
        for name, cell in cells.items()
    ]
    untouched = number(first.get(f"{_psnr(first)}_input", nan), 1)
    oracle = number(first.get("e_r_oracle", nan), 1)
    references = f"E_R oracle {oracle}, PSNR of input {untouched} dB"
    pictures = photo_uri(folder / "rainy.png"), photo_uri(folder / "background.png")
    rest = describe({key: value for key, value in group.labels.items() if key != TEST_SET})
    return Strip(image, group.test_set, rest, *pictures, width, height, references, outputs)


def _numbers(row: pd.Series) -> str:
    return (
        f"E_R {number(row.get('e_r', nan), 1)}, removal share {number(row['removal_share'], 2)}, "
        f"PSNR {number(row.get(_psnr(row), nan), 1)} dB"
    )


def _psnr(row: pd.Series) -> str:
    """The one of the headline channel, as in the tables."""
    return HEADLINE_FIDELITY[headline_channel(row.dropna().index)][0]


_SYMBOL = re.compile(r"\b(?:E_[RB]|C_k)\b")
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
    return Markup(_SYMBOL.sub(_subscript, str(escape(text))))


def _subscript(symbol: re.Match[str]) -> str:
    letter, _, index = symbol.group().partition("_")
    return f"<i>{letter}<sub>{index}</sub></i>"


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
        answers=[claim for claim in claims if claim.id == REMOVAL_OR_DAMAGE],
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
    return [(figure, describe_balance(balance)) for figure, balance in zip(figures, balanced, strict=True)]


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
