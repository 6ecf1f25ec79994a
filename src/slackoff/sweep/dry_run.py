"""A sweep that is only shown: its cells, what is done already, what is missing, and what the rest will cost."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from slackoff.record.status import Status
from slackoff.sweep.backend import Slot
from slackoff.sweep.estimate import Estimate, estimate_cost
from slackoff.sweep.plan import Cell

_STYLES = {"done": "green", "partly": "yellow", "missing": "dim"}
_MOST_ROWS = 200
_FIRST_ROWS = 20
_ID_WIDTH, _STATE_WIDTH = 13, 7


def show_dry_run(cells: Sequence[Cell], problems: Sequence[str], slots: Sequence[Slot], console: Console) -> None:
    """Print what a sweep would do; nothing is written but the cache of step times.

    Args:
        cells: the plan.
        problems: a sentence for each data folder that is missing.
        slots: places for processes.
        console: where to print.

    Raises:
        SlackoffError: a damaged status, or a network, a task or a rain range that cannot be built.
    """
    statuses = {cell.id: cell.status() for cell in cells}
    shown = cells if len(cells) <= _MOST_ROWS else cells[:_FIRST_ROWS]
    console.print(_cell_table(shown, statuses))
    if len(shown) < len(cells):
        console.print(f"... and {len(cells) - len(shown)} more.")
    if len(shown) < len(cells) or cells[0].row:
        console.print(_block_table(cells, statuses))
    if any(cell.provisional for cell in cells):
        console.print("~ the identity changes once the missing data is there", style="dim")
    left = [cell for cell in cells if statuses[cell.id].state != "done"]
    partly = sum(_state(statuses[cell.id]) == "partly" for cell in left)
    rest = f" ({partly} of them partly trained)" if partly else ""
    number = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    console.print(f"{number}: {len(cells) - len(left)} done, {len(left)} to train{rest}.", highlight=False)
    for problem in problems:
        console.print(f"missing: {problem}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if left:
        _show_cost(estimate_cost(left, statuses, slots, console), console)


def _state(status: Status) -> str:
    return "done" if status.state == "done" else "partly" if status.step else "missing"


def _cell_table(cells: Sequence[Cell], statuses: Mapping[str, Status]) -> Table:
    axes = list(dict.fromkeys(key for cell in cells for key in cell.axes))
    rows = any(cell.row for cell in cells)
    table = Table("cell", "state", *axes, *(["serves"] if rows else []), box=None, header_style="bold")
    for column in table.columns:
        column.no_wrap = True
    table.columns[0].min_width, table.columns[1].min_width = _ID_WIDTH, _STATE_WIDTH
    for cell in cells:
        status = statuses[cell.id]
        state = _state(status)
        words = f"{state}, {status.step}/{status.steps_total}" if state == "partly" else state
        serves = [cell.row.serves if cell.row else ""] if rows else []
        values = [Text(str(cell.axes.get(key, ""))) for key in axes]
        identity = f"~{cell.id}" if cell.provisional else f" {cell.id}"
        table.add_row(identity, Text(words, style=_STYLES[state]), *values, *map(Text, serves))
    return table


def _block_table(cells: Sequence[Cell], statuses: Mapping[str, Status]) -> Table:
    """How many cells serve what: the manifest's words, or the network where there are none."""
    table = Table("serves", "basis", "cells", *_STYLES, box=None, header_style="bold")
    blocks: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        words = (cell.row.serves, cell.row.basis) if cell.row else (str(cell.label["network"]), "")
        blocks.setdefault(words, []).append(_state(statuses[cell.id]))
    for words, states in blocks.items():
        counts = [str(states.count(state)) for state in _STYLES]
        table.add_row(*map(Text, words), str(len(states)), *counts)
    return table


def _show_cost(estimate: Estimate, console: Console) -> None:
    console.print(f"Cost in {estimate.unit}, training only:", highlight=False, soft_wrap=True)
    table = Table("network", box=None, header_style="bold")
    for column in ("cells", "steps left", "s per step", "hours"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("time of a step")
    for cost in estimate.networks:
        seconds = ("?" if cost.steps else "") if cost.seconds_per_step is None else f"{cost.seconds_per_step:.3g}"
        hours = "?" if cost.hours is None else _hours(cost.hours)
        table.add_row(Text(cost.network), str(cost.cells), f"{cost.steps:,}", seconds, hours, cost.how)
    cells, steps = (sum(column) for column in zip(*((c.cells, c.steps) for c in estimate.networks), strict=True))
    unknown = any(cost.hours is None for cost in estimate.networks)
    total = f"{_hours(estimate.hours)}{' and more' if unknown else ''}"
    table.add_row("in all", str(cells), f"{steps:,}", "", total, "", style="bold")
    console.print(table)
    console.print(
        "Measured times are kept in step_rates.json among the records: remove it to measure again.", style="dim"
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}" if hours >= 0.01 else "under 0.01"
