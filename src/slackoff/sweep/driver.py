"""Run the cells of a sweep: check all, train what is missing, say at once what fails."""

import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.record.atomic import write_text
from slackoff.record.status import Status
from slackoff.sweep.display import Display
from slackoff.sweep.plan import Cell
from slackoff.sweep.processes import CellProcess
from slackoff.sweep.slots import Slot

_POLL_S = 0.25


def run_cells(cells: Sequence[Cell], slots: Sequence[Slot], console: Console) -> list[Status]:
    """Train every cell that is not done, a slot each at a time.

    Args:
        cells: the plan.
        slots: places for processes.
        console: where progress is shown.

    Returns:
        The final status of each cell, in the order of ``cells``. A cell that failed does not stop the others.

    Raises:
        SlackoffError: a mistake found before any training starts.
        KeyboardInterrupt: after the running cells were stopped.
    """
    statuses = {cell.id: cell.status() for cell in cells}
    missing = [cell for cell in cells if statuses[cell.id].state != "done"]
    if not missing:
        console.print(f"All {len(cells)} cells are done already: nothing to train.")
        return list(statuses.values())
    console.print(f"{len(cells)} cells, {len(missing)} to train, {len(slots)} at a time.")
    check_all(missing)
    for cell in missing:
        statuses[cell.id] = _prepare(cell)
    with Display(console) as display:
        _run(deque(missing), list(slots), statuses, display)
    return list(statuses.values())


def check_all(cells: Sequence[Cell]) -> None:
    """Check the config of each cell; parts that cells share are checked once.

    Raises:
        SlackoffError: naming the first mistake.
    """
    from slackoff import build  # imports torch, which a sweep with nothing to do need not wait for

    seen: set[str] = set()
    # The largest bank first: it serves the smaller ones.
    for cell in sorted(cells, key=lambda cell: -_as_int(cell.config.background.patch_count)):
        checked = [key for key in cell.config if key not in ("study", "size", "data_root")]
        text = OmegaConf.to_yaml({key: cell.config[key] for key in checked})
        if text not in seen:
            seen.add(text)
            try:
                build.check(cell.config)
            except SlackoffError as error:
                if cell.row is None:
                    raise
                raise SlackoffError(f"{cell.row.place}: {error}") from error


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _prepare(cell: Cell) -> Status:
    """Write the cell's folder as its process expects it.

    Raises:
        SlackoffError: the folder cannot be written.
    """
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(cell.folder, os.W_OK):
            raise PermissionError(13, "no permission to write")
        write_text(cell.folder / "config.yaml", OmegaConf.to_yaml(cell.config))
        status = cell.status()
        if status.state != "running":
            status.state = "pending"
        status.label, status.steps_total = cell.label, int(cell.config.schedule.steps)
        status.write(cell.folder)
    except OSError as error:
        raise SlackoffError(
            f"The record folder {cell.folder} cannot be written ({error.strerror}): "
            "make it writable, free space, or choose another place with runs=..."
        ) from error
    return status


def _run(waiting: deque[Cell], free: list[Slot], statuses: dict[str, Status], display: Display) -> None:
    running: list[CellProcess] = []
    try:
        while waiting or running:
            while waiting and free:
                running.append(CellProcess.start(waiting.popleft(), free.pop(0)))
            time.sleep(_POLL_S)
            for process in running:
                statuses[process.cell.id] = _current(process)
            for process in [process for process in running if process.ended()]:
                running.remove(process)
                free.append(process.slot)
                statuses[process.cell.id] = status = process.settle()
                _announce(status, process.cell, display)
            display.update(list(statuses.values()), final=not waiting and not running)
    except BaseException:
        for process in running:
            process.stop()
        raise


def _current(process: CellProcess) -> Status:
    status = process.cell.status()
    if status.state == "pending":
        status.state = "running"  # started, not yet at its first word
    return status


def _announce(status: Status, cell: Cell, display: Display) -> None:
    """Say how a cell ended as soon as it did."""
    name = f"{cell.id} ({', '.join(f'{key} {value}' for key, value in cell.axes.items())})"
    for note in status.notes:
        display.say(f"note on cell {name}: {note}", "yellow")
    if status.state == "failed":
        display.say(f"cell {name} failed: {status.last_error} [{_relative(cell.folder)}]", "red")
    elif status.state == "done":
        display.say(f"cell {name} done in {status.train_seconds + status.evaluate_seconds:.0f} s")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
