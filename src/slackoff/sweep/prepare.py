"""Before cells are trained: their configs are checked, their cost compared, their folders made."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from omegaconf import OmegaConf

from slackoff.config import schema
from slackoff.config.validate import check_keys, check_part
from slackoff.errors import SlackoffError
from slackoff.record.files import create_text, write_json, write_text
from slackoff.record.ledger import ClaimedError, Watch, claim, end_attempt, latest
from slackoff.record.status import DamagedStatusError, Status, read_status
from slackoff.sweep.aside import Aside
from slackoff.sweep.expand import Config
from slackoff.sweep.identity import FILE as IDENTITY_FILE
from slackoff.sweep.identity import identity_of
from slackoff.sweep.plan import Cell


def check_configs(configs: Sequence[Config], places: Sequence[str | None], aside: Aside) -> None:
    """Refuse the first config with an unknown key or a value of a wrong type; parts that configs share are seen once.

    Args:
        configs: resolved.
        places: the row of a manifest that each comes from, for messages.
        aside: where the classes are looked at that the configs name.

    Raises:
        SlackoffError: naming the key.
    """
    parts: dict[tuple[str, str], tuple[str, str | None, Any]] = {}
    for config, place in zip(configs, places, strict=True):
        with _place_first(place):
            check_keys("", config, schema.Config)
        for key in (key for key in schema.Config.__annotations__ if key in config):
            text = json.dumps(config[key], sort_keys=True, default=str)
            parts.setdefault((key, text), (key, place, config[key]))
    aside(_check_parts, list(parts.values()))


def _check_parts(parts: Sequence[tuple[str, str | None, Any]]) -> None:
    for key, place, value in parts:
        with _place_first(place):
            check_part(key, value)


@contextmanager
def _place_first(place: str | None) -> Iterator[None]:
    """Put the row of a manifest before a mistake in its config."""
    try:
        yield
    except SlackoffError as error:
        if place is None:
            raise
        raise SlackoffError(f"{place}: {error}") from error


def check_all(cells: Sequence[Cell], aside: Aside) -> dict[str, float]:
    """Check the config of each cell; parts that cells share are checked once.

    Returns:
        For each cell by id the floating-point operations of a training step, as far as they can be counted: to compare
        cells with each other.

    Raises:
        SlackoffError: naming the first mistake.
    """
    # The largest bank first: it serves the smaller ones.
    ordered = sorted(cells, key=lambda cell: -_as_int(cell.content["background"]["patch_count"]))
    places = [cell.row.place if cell.row else None for cell in ordered]
    operations = aside(_check, [cell.content for cell in ordered], places)
    return dict(zip((cell.id for cell in ordered), operations, strict=True))


def _check(contents: Sequence[Config], places: Sequence[str | None]) -> list[float]:
    from slackoff.config.checks import Checks  # imports torch

    checks, found = Checks(), []
    for content, place in zip(contents, places, strict=True):
        with _place_first(place):
            found.append(checks.check(OmegaConf.create(content)))
    return found


def prepare(cell: Cell, watch: Watch) -> Status:
    """Write the cell's folder as its process expects it.

    Returns:
        The cell's status; what failed or was interrupted before is to be tried again.

    Raises:
        SlackoffError: the folder cannot be written.
    """
    with _written(cell):
        cell.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(cell.folder, os.W_OK):
            raise PermissionError(13, "no permission to write")
        write_text(cell.folder / "config.yaml", OmegaConf.to_yaml(cell.config))
        if cell.data is not None:
            write_json(cell.folder / IDENTITY_FILE, identity_of(cell.content, cell.data))
        _create_status(cell)
    status = cell.status(watch)
    return replace(status, state="pending") if status.state in ("failed", "interrupted") else status


def repair(cell: Cell, watch: Watch) -> str | None:
    """Make a damaged status anew, in an attempt of its own, so that nobody trains the cell meanwhile.

    Returns:
        What was damaged, in one sentence; None if nothing was, or if another process holds the cell, which writes it.

    Raises:
        SlackoffError: it cannot be written.
    """
    try:
        read_status(cell.folder)
    except DamagedStatusError as error:
        newest = latest(cell.folder)
        if newest is not None and watch.holds(newest):
            return None
        with _written(cell), suppress(ClaimedError):
            attempt = claim(cell.folder, "repair", newest.number if newest else 0)
            cell.first_status().write(cell.folder)
            end_attempt(attempt, "interrupted", str(error))
            path = cell.folder / "status.json"
            return f"{path} was damaged and is made anew; training goes on from the last checkpoint"
    return None


@contextmanager
def _written(cell: Cell) -> Iterator[None]:
    """Say in one sentence that a cell's folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise SlackoffError(
            f"The record folder {cell.folder} cannot be written ({error.strerror}): "
            "make it writable, free space, or choose another place with runs=..."
        ) from error


def _create_status(cell: Cell) -> None:
    """Write the first status; from then on only the process that holds the cell writes it."""
    path = cell.folder / "status.json"
    if path.exists():
        return
    try:
        create_text(path, json.dumps(asdict(cell.first_status()), indent=2) + "\n")
    except FileExistsError:
        return  # another driver was quicker


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0
