"""The folders of cells: made before training, made whole again, found by what the record says, removed."""

import errno
import json
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from slackoff.errors import SlackoffError, explain_unusable
from slackoff.record.config import read_config
from slackoff.record.files import DamagedFileError, Patience, create_text, read_json, write_json, write_text
from slackoff.record.ledger import ClaimedError, HeartbeatMonitor, claim, end_attempt, latest
from slackoff.record.status import DamagedStatusError, State, Status, observed_status, read_status
from slackoff.sweep.identity import FILE as IDENTITY_FILE
from slackoff.sweep.identity import identity_of, leaves
from slackoff.sweep.plan import Cell, check_configs
from slackoff.sweep.planner_process import PlannerProcess

_REMOVED = ".removed"
"""The end of the name of a folder that is being removed: .ID.removed."""


def prepare(cell: Cell, monitor: HeartbeatMonitor) -> Status:
    """Write the cell's folder as its process expects it.

    Returns:
        The cell's status; what ended before is to be tried again.

    Raises:
        OSError: the folder cannot be written.
    """
    cell.folder.mkdir(parents=True, exist_ok=True)
    if not os.access(cell.folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(cell.folder))
    write_text(cell.folder / "config.yaml", OmegaConf.to_yaml(cell.config))
    if cell.data is not None:
        write_json(cell.folder / IDENTITY_FILE, identity_of(cell.content, cell.data))
    with suppress(FileExistsError):  # from then on only the process that holds the cell writes it
        create_text(cell.folder / "status.json", json.dumps(asdict(cell.first_status()), indent=2) + "\n")
    status = cell.status(monitor)
    ended = ("failed", "interrupted", "pruned", "lost")
    return replace(status, state="pending") if status.state in ended else status


def repair(cell: Cell, monitor: HeartbeatMonitor) -> str | None:
    """Make a damaged status anew, in an attempt of its own, so that nobody trains the cell meanwhile.

    Returns:
        What was damaged, in one sentence; None if nothing was, or if another process holds the cell, which writes it.

    Raises:
        OSError: it cannot be read or written.
    """
    try:
        read_status(cell.folder)
    except DamagedStatusError as error:
        newest = latest(cell.folder)
        if newest is not None and monitor.holds(newest):
            return None
        with suppress(ClaimedError):
            attempt = claim(cell.folder, "repair", newest.number if newest else 0)
            cell.first_status().write(cell.folder)
            end_attempt(attempt, "interrupted", str(error))
            path = cell.folder / "status.json"
            return f"{path} was damaged and is made anew; training goes on from the last checkpoint"
    return None


@dataclass(frozen=True)
class Recorded:
    """A cell's folder and its true status."""

    folder: Path
    status: Status

    def as_cell(self, planner: PlannerProcess) -> Cell:
        """The cell as a plan has it; its whole config is held against the schema.

        Raises:
            SlackoffError: its config is missing or damaged.
            OSError: it cannot be read now.
        """
        content = read_config(self.folder)
        try:
            check_configs([content], [None], planner)
        except SlackoffError as error:
            raise SlackoffError(
                f"{self.folder / 'config.yaml'} is damaged ({error}): run the command of its study again, which writes "
                "it anew"
            ) from error
        content["runs"] = str(self.folder.parents[1])  # as it is called from here
        return Cell(self.status.id, content, self.folder, self.status.label, self.status.label)

    def size(self) -> int:
        """Bytes on disk, as far as they can be told."""
        found = 0
        for place, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    found += (Path(place) / name).lstat().st_size
        return found


def told_apart(runs: Path, statuses: Sequence[Status]) -> list[Status]:
    """The statuses; cells of several studies with one label get every key in which their configs differ into it."""
    alike: dict[str, list[str]] = {}
    for status in statuses:
        alike.setdefault(str(status.label), []).append(status.id)
    more: dict[str, dict[str, Any]] = {}
    for ids in alike.values():
        configs = {}
        for name in ids if len(ids) > 1 else ():
            with suppress(OSError, DamagedFileError):
                identity = read_json(runs / "cells" / name / IDENTITY_FILE, dict[str, Any])
                configs[name] = dict(leaves(identity.get("config", {})))
        for key in dict.fromkeys(key for config in configs.values() for key in config):
            if len({str(config.get(key)) for config in configs.values()}) > 1:
                for name, config in configs.items():
                    more.setdefault(name, {})[key] = config.get(key, "")
    return [replace(status, label={**status.label, **more.get(status.id, {})}) for status in statuses]


class CellFolders:
    """All cells under a folder of records, looked at once or again and again.

    Args:
        runs: the folder of the records.
        patience: how long to ask again for what cannot be read at a look.

    ``troubles`` holds a sentence for each cell that could not be read at the last look.
    """

    def __init__(self, runs: Path, patience: Patience) -> None:
        self.runs, self.patience = runs, patience
        self.monitor = HeartbeatMonitor()
        self.known: dict[str, Recorded] = {}
        self.troubles: list[str] = []

    def look(self, states: Collection[State] = ()) -> list[Recorded]:
        """The cells that are in one of these states (none: all); of one that cannot be read now what was known before.

        Raises:
            OSError: the folder of the cells cannot be read.
        """
        self.troubles = []
        # What begins with a dot is no cell, but being removed or of the file system itself.
        names = [name for name in self.patience(self._listed) if not name.startswith(".")]
        self.known = {name: self.known[name] for name in names if name in self.known}
        for name in names:
            self._see(name)
        return [cell for cell in self.known.values() if not states or cell.status.state in states]

    def named(self, names: Sequence[str]) -> list[Recorded]:
        """Cells by their ids, in whatever state.

        Raises:
            SlackoffError: there is no such cell, or it cannot be read.
        """
        for name in dict.fromkeys(names):
            self.troubles = []
            self._see(name)
            if name not in self.known:
                unknown = f"There is no cell {name} under {self.runs}: slackoff status --runs {self.runs} lists them"
                raise SlackoffError(*self.troubles or [unknown])
        return [self.known[name] for name in dict.fromkeys(names)]

    def remove(self, cells: Sequence[Recorded]) -> list[str]:
        """Delete cells with all that they hold; each is claimed before, so that nobody trains what is being deleted.

        Returns:
            A sentence for each cell that was left.
        """
        left = []
        for cell in cells:
            try:
                newest = latest(cell.folder)
                status = observed_status(cell.folder, self.monitor)
                if status is not None and status.state == "running":
                    raise ClaimedError(f"{cell.folder} is being trained")
                claim(cell.folder, "clean", newest.number if newest else 0)
                cell.folder.rename(cell.folder.with_name(f".{cell.folder.name}{_REMOVED}"))
            except ClaimedError:
                left.append(f"{cell.folder} was left: another process trains it now")
            except (OSError, SlackoffError) as error:
                left.append(f"{cell.folder} was left ({error}): see that it can be written, then run clean again")
        return left + self.finish_removing()

    def finish_removing(self) -> list[str]:
        """Delete what was being removed, also by an earlier command that was killed meanwhile.

        Of a link nothing but the link: in a record of somebody else it could lead to any folder of ours.

        Returns:
            A sentence for each folder that was left.

        Raises:
            OSError: the folder of the cells cannot be read.
        """
        left = []
        for name in self.patience(self._listed):
            folder = self.runs / "cells" / name
            if not (name.startswith(".") and name.endswith(_REMOVED)):
                continue
            try:
                if folder.is_symlink():
                    left.append(f"{folder.resolve()} was left: the cell was a link to it; remove it by hand")
                    folder.unlink()
                else:
                    shutil.rmtree(folder)
            except FileNotFoundError:  # another command was quicker
                continue
            except OSError as error:
                why = error.strerror or error
                left.append(f"{folder} cannot be deleted ({why}): it is of no use any more; remove it by hand")
        return left

    def _listed(self) -> list[str]:
        try:
            return sorted(path.name for path in (self.runs / "cells").iterdir())
        except FileNotFoundError:
            return []

    def _see(self, name: str) -> None:
        folder = self.runs / "cells" / name
        try:
            status = self.patience(lambda: observed_status(folder, self.monitor))
        except NotADirectoryError:  # a file of somebody else
            status = None
        except OSError as error:
            self.troubles.append(explain_unusable(error, folder))
            return
        except SlackoffError as error:
            self.troubles.append(str(error))
            status = None
        if status is None:
            self.known.pop(name, None)
        else:
            self.known[name] = Recorded(folder, status)
