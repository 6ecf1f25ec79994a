"""What is said about the cells of a sweep that failed: a line each, with the command that trains it again."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from slackoff.record.status import Status
from slackoff.sweep.plan import Cell
from slackoff.sweep.site import Site


def tell_failures(cells: Sequence[Cell], statuses: Sequence[Status], site: Site, console: Console) -> int:
    """Print how many cells failed, then for each: which it is, why, its log, and how to train it again.

    Args:
        cells: the plan.
        statuses: of these cells, after the sweep.
        site: where they ran.
        console: where to print.

    Returns:
        The number of cells that failed.
    """
    failed = [(cell, status) for cell, status in zip(cells, statuses, strict=True) if status.state == "failed"]
    left = sum(status.state not in ("done", "failed") for status in statuses)
    if failed:
        rest = f", {left} not trained" if left else ""
        _say(f"{len(failed)} of {len(cells)} cells failed{rest}. The same command again trains only these.", console)
    for cell, status in failed:
        log = relative(cell.folder / "log.txt")
        _say(f"cell {name(cell)}: {status.last_error} | log: {log} | again: {_again(cell, site)}", console)
    return len(failed)


def name(cell: Cell) -> str:
    """A cell in a sentence: its id and what tells it from the others of its sweep."""
    return f"{cell.id} ({', '.join(f'{key} {value}' for key, value in cell.axes.items())})"


def relative(path: Path) -> Path:
    """A path as short as a person would type it here."""
    return path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path


def _again(cell: Cell, site: Site) -> str:
    """The command that trains one cell again; on a cluster that of the whole sweep, which trains what is missing."""
    arguments = ["retry", "--runs", str(relative(cell.folder.parents[1])), cell.id] if site.here else sys.argv[1:]
    return shlex.join(["python", "-m", "slackoff", *arguments])


def _say(line: str, console: Console) -> None:
    console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
