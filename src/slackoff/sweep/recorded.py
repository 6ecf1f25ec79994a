"""Cells as the record has them, without the command that made them: for trying again and for removing."""

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from slackoff.errors import SlackoffError
from slackoff.record.ledger import ClaimedError, HeartbeatMonitor, claim
from slackoff.record.observed import observed_status
from slackoff.record.status import DamagedStatusError, State, Status
from slackoff.sweep.plan import Cell
from slackoff.sweep.yaml_loader import Loader


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


def recorded_cells(runs: Path, states: Collection[State], watch: HeartbeatMonitor | None = None) -> list[Recorded]:
    """The cells under a folder of records that are in one of these states.

    One whose status is damaged is passed over: the command of its study makes that anew.
    """
    watch = watch or HeartbeatMonitor()
    found = []
    for path in sorted((runs / "cells").glob("*/status.json")):
        with suppress(DamagedStatusError):
            status = observed_status(path.parent, watch)
            if status is not None and status.state in states:
                found.append(Recorded(path.parent, status))
    return found


def named_cells(runs: Path, names: Sequence[str]) -> list[Recorded]:
    """Cells by their ids, in whatever state.

    Raises:
        SlackoffError: there is no such cell, or its status is damaged.
    """
    watch = HeartbeatMonitor()
    found = []
    for name in dict.fromkeys(names):
        folder = runs / "cells" / name
        status = observed_status(folder, watch)
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
