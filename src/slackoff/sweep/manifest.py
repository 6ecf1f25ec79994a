"""Manifests: sweeps that are a list of rows and not a product of lists.

A manifest is a YAML file of one mapping: ``common`` holds config keys and their values for all rows, ``rows`` is a list
of such mappings, each one cell. A key is what one would write on the command line (``network``,
``background.patch_count``); a row wins over ``common``, the command line over both. ``serves`` (which figure or table a
row is for), ``basis`` (how sure that is) and ``skip`` (why the row is not trained) are words for people and no config
keys. A Python file that yields such rows: ``slackoff.sweep.grids``.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.types import Quote, QuotedString

from slackoff.config import shipped_folder
from slackoff.errors import SlackoffError, did_you_mean
from slackoff.record.config import Loader

REMARKS = ("serves", "basis", "skip")
MOST_VALUES = 1_000_000
_OF_THE_COMMAND_LINE = ("runs", "hydra")
_ASKS = re.compile(r"\$\{[^'\"]*:")
_WORD = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][\w-]*$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row of a manifest, ``common`` included.

    ``assignments``: config key to override. ``skip``: why it is not trained; empty for a row that is. ``may_repeat``:
    the command line has set what sets this row apart. ``line``: 0 where the rows come from a program.
    """

    manifest: str
    number: int
    line: int
    assignments: dict[str, str]
    serves: str = ""
    basis: str = ""
    skip: str = ""
    may_repeat: bool = False

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.manifest}, row {self._where}"

    @property
    def _where(self) -> str:
        return f"{self.number} (line {self.line})" if self.line else str(self.number)

    def repeats(self, earlier: "Row") -> SlackoffError:
        """The mistake of two rows that are one cell."""
        rows = f"rows {earlier._where} and {self._where}"
        return SlackoffError(f"{self.manifest}: {rows} are the same cell: remove one, or give it another seed")


class Job(NamedTuple):
    """The overrides of one cell, and the row that they come from, if any."""

    overrides: list[str]
    row: Row | None = None


def read_manifest(name: str) -> list[Row]:
    """Read a manifest.

    Args:
        name: of one that comes with slackoff, or the path of a YAML file.

    Raises:
        SlackoffError: there is no such file, it is no manifest, or a row is no row: naming file, row and line.
    """
    path = _find(name)
    try:
        document = yaml.compose(path.read_text(encoding="utf-8"), Loader=Loader)
        if _size(document, {}) > MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SlackoffError(f"study.manifest={path} cannot be read: {' '.join(str(error).split())}") from error
    parts = dict(_items(document, str(path))) if isinstance(document, yaml.MappingNode) else {}
    if unknown := [key for key in parts if key not in ("common", "rows")]:
        raise SlackoffError(f"{path}: {unknown[0]} is not known: a manifest has common and rows")
    rows = parts.get("rows")
    if not isinstance(rows, yaml.SequenceNode) or not rows.value:
        raise SlackoffError(f"{path} has no rows: give it rows, a list with one mapping of config keys for each cell")
    shown = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    common = _values(parts["common"], f"{shown}, common") if "common" in parts else {}
    return [_row(node, number, common, shown) for number, node in enumerate(rows.value, start=1)]


def jobs_of(rows: Sequence[Row], overrides: Sequence[str]) -> Iterator[Job]:
    """The jobs that rows ask for; what the command line sets wins over the rows, and so may make some of them the same.

    Args:
        rows: of one manifest.
        overrides: of the command line.
    """
    given = {override.partition("=")[0].lstrip("+~") for override in overrides}
    for row in rows:
        kept = [override for key, override in row.assignments.items() if key.lstrip("+") not in given]
        if len(kept) < len(row.assignments):
            row = replace(row, may_repeat=True)
        yield Job([*kept, *overrides], row)


def _find(name: str) -> Path:
    known = {path.stem: path for path in sorted(shipped_folder("sweeps").glob("*.yaml"))}
    path = Path(name).expanduser()
    if name in known or path.is_file():
        return known.get(name, path)
    cure = did_you_mean(name, known, f"give the path of a YAML or Python file, or one of {', '.join(known)}")
    raise SlackoffError(f"study.manifest={name} does not exist: {cure}")


def _size(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Values in a document once each alias is written out: a few lines can stand for more than memory holds."""
    if id(node) not in known:
        known[id(node)] = math.inf  # of a part that holds itself
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for pair in below for part in pair] if isinstance(node, yaml.MappingNode) else below
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _row(node: yaml.Node, number: int, common: dict[str, Any], manifest: str) -> Row:
    row = Row(manifest, number, node.start_mark.line + 1, {})
    return row_of({**common, **_values(node, row.place)}, row)


def row_of(values: dict[str, Any], row: Row) -> Row:
    """A row with the assignments and remarks that values by config key ask for.

    Raises:
        SlackoffError: a key that only the command line can set, or none that is a config key.
    """
    serves, basis, skip = (str(values.get(remark) or "") for remark in REMARKS)
    values = {key: value for key, value in values.items() if key not in REMARKS}
    for key in values:  # a manifest can come from anybody: where is written and what is run is for the command line
        if re.split(r"[./@:]", key.lstrip("+~"))[0] in _OF_THE_COMMAND_LINE:
            raise SlackoffError(f"{row.place} sets {key}, which only the command line can: leave it out there")
        if _ASKS.search(str(values[key])):  # the environment, for one, whose secrets would stand in the record
            raise SlackoffError(f"{row.place}: {key} asks this machine for its value by a resolver: write the value")
    if not values:
        raise SlackoffError(f"{row.place} sets nothing: give it config keys such as network and background.patch_count")
    assignments = {key: f"{key}={_written(value)}" for key, value in values.items()}
    return replace(row, assignments=assignments, serves=serves, basis=basis, skip=skip)


def _values(node: yaml.Node, place: str) -> dict[str, Any]:
    loader = Loader("")
    values = {}
    for key, value_node in _items(node, place):
        if value_node.tag == "tag:yaml.org,2002:null" and not value_node.value:
            raise SlackoffError(f"{place}: {key} has no value: give it one, or write null if that is meant")
        if key in values:
            raise SlackoffError(f"{place}: {key} is given twice: remove one")
        try:
            is_text = value_node.tag == "tag:yaml.org,2002:str"
            values[key] = value_node.value if is_text else loader.construct_object(value_node, deep=True)
        except yaml.YAMLError as error:
            raise SlackoffError(f"{place}: {key} cannot be read: {' '.join(str(error).split())}") from error
    return values


def _items(node: yaml.Node, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, yaml.MappingNode):
        raise SlackoffError(f"{place} is no mapping of config keys to values, such as {{network: unet, seed: 1}}")
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode) or not key_node.value or "=" in key_node.value:
            raise SlackoffError(f"{place}: a config key is missing: write key: value")
        yield key_node.value, value_node


def _written(value: Any) -> str:
    """A value as Hydra's command line has it, so that it comes back as the same."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_written(key)}:{_written(item)}' for key, item in value.items())}}}"
    if isinstance(value, str) and not _WORD.match(value):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)
