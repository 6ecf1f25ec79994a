"""The folders of cells: made before training, made whole again, found by what the record says, removed."""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from slackoff.errors import SlackoffError
from slackoff.record.files import create_text, write_json, write_text
from slackoff.record.ledger import ClaimedError, HeartbeatMonitor, claim, end_attempt, latest
from slackoff.record.status import DamagedStatusError, State, Status, observed_status, read_status
from slackoff.sweep.identity import FILE as IDENTITY_FILE
from slackoff.sweep.identity import identity_of
from slackoff.sweep.manifest import Loader
from slackoff.sweep.plan import Cell


def prepare(cell: Cell, monitor: HeartbeatMonitor) -> Status:
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
        with suppress(FileExistsError):  # from then on only the process that holds the cell writes it
            create_text(cell.folder / "status.json", json.dumps(asdict(cell.first_status()), indent=2) + "\n")
    status = cell.status(monitor)
    return replace(status, state="pending") if status.state in ("failed", "interrupted") else status


def repair(cell: Cell, monitor: HeartbeatMonitor) -> str | None:
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
        if newest is not None and monitor.holds(newest):
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


@dataclass(frozen=True)
class Recorded:
    """A cell's folder and its true status."""

    folder: Path
    status: Status

    def as_cell(self) -> Cell:
        """The cell as a plan has it.

        Raises:
            SlackoffError: its config is missing or damaged.
        """
        path = self.folder / "config.yaml"
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SlackoffError(
                f"{path} cannot be read ({error}): run the command of its study again, which writes it anew"
            ) from error
        if not isinstance(content, dict):
            raise SlackoffError(f"{path} is damaged: run the command of its study again, which writes it anew")
        content["runs"] = str(self.folder.parents[1])  # as it is called from here
        return Cell(self.status.id, content, self.folder, self.status.label, self.status.label)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def recorded_cells(runs: Path, states: Collection[State]) -> list[Recorded]:
    """The cells under a folder of records that are in one of these states.

    One whose status is damaged is passed over: the command of its study makes that anew.
    """
    monitor = HeartbeatMonitor()
    found = []
    for path in sorted((runs / "cells").glob("*/status.json")):
        with suppress(DamagedStatusError):
            status = observed_status(path.parent, monitor)
            if status is not None and status.state in states:
                found.append(Recorded(path.parent, status))
    return found


def named_cells(runs: Path, names: Sequence[str]) -> list[Recorded]:
    """Cells by their ids, in whatever state.

    Raises:
        SlackoffError: there is no such cell, or its status is damaged.
    """
    monitor = HeartbeatMonitor()
    found = []
    for name in dict.fromkeys(names):
        folder = runs / "cells" / name
        status = observed_status(folder, monitor)
        if status is None:
            raise SlackoffError(f"There is no cell {name} under {runs}: slackoff status --runs {runs} lists them")
        found.append(Recorded(folder, status))
    return found


def remove(cells: Sequence[Recorded]) -> list[Path]:
    """Delete cells with all that they hold; each is claimed before, so that nobody trains what is being deleted.

    Returns:
        The folders that were left because another process had taken the cell.
    """
    left = []
    for cell in cells:
        try:
            claim(cell.folder, "clean")
        except ClaimedError:
            left.append(cell.folder)
            continue
        doomed = cell.folder.with_name(f".{cell.folder.name}.removed")
        cell.folder.rename(doomed)
        shutil.rmtree(doomed)
    return left
