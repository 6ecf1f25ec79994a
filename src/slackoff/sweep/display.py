"""What a person sees while cells train: one live table in a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slackoff.errors import printable
from slackoff.record.status import State, Status

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "pending": "dim", "interrupted": "yellow"}
_STYLES |= {"pruned": "magenta", "lost": "yellow"}
_FIRST_SHOWN: tuple[State, ...] = ("running", "failed", "lost", "interrupted", "pending", "pruned", "done")
_PLAIN_INTERVAL_S = 20.0
ENDED: tuple[State, ...] = ("done", "failed", "pruned")
"""The states in which a sweep leaves a cell."""
MOST_ROWS = 500
"""Of a table that is printed: more take seconds, and nobody reads them."""
_BAR_WIDTHS = (8, 24)
_LINES_BESIDE_ROWS = 4  # heading, what is left out, summary, the cursor's
_ENOUGH_S = 5.0  # of watching, before a pace is told


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence as it is, on one line whatever its length."""
    console.print(printable(sentence), style=style, highlight=False, markup=False, soft_wrap=True)


class Pace:
    """How fast the cells of a sweep advance, and how long the rest will take, from their statuses alone.

    Args:
        operations: of a training step of each cell, by id; makes steps of different networks comparable.
        clock: seconds.
    """

    def __init__(
        self, operations: Mapping[str, float] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.operations, self.clock = operations or {}, clock
        self._cells: dict[str, tuple[int, float]] = {}  # step and clock when a cell was seen running first
        self._all: tuple[float, float] | None = None  # work done and clock before the first step of this sweep
        self._now = clock()

    def see(self, statuses: Sequence[Status]) -> None:
        """Take note of where all cells stand now."""
        self._now = self.clock()
        for status in statuses:
            if status.state != "running":
                self._cells.pop(status.id, None)
            elif status.id not in self._cells or status.step <= self._cells[status.id][0]:
                self._cells[status.id] = (status.step, self._now)
        done = self._done(statuses)
        if self._all is None or done <= self._all[0]:
            self._all = (done, self._now)

    def left(self, status: Status) -> float | None:
        """Seconds of training left of a running cell; None while that is not known."""
        first = self._cells.get(status.id)
        if first is None or status.step <= first[0] or self._now - first[1] < _ENOUGH_S:
            return None
        return (status.steps_total - status.step) * (self._now - first[1]) / (status.step - first[0])

    def all_left(self, statuses: Sequence[Status]) -> float | None:
        """Seconds until all cells are trained at the pace up to now; None while that is not known."""
        if self._all is None:
            return None
        advanced, elapsed = self._done(statuses) - self._all[0], self._now - self._all[1]
        if advanced <= 0 or elapsed < _ENOUGH_S:
            return None
        left = sum((s.steps_total - s.step) * self._weight(s) for s in statuses if s.state not in ENDED)
        return left * elapsed / advanced

    def _done(self, statuses: Sequence[Status]) -> float:
        return sum(status.step * self._weight(status) for status in statuses if status.state != "failed")

    def _weight(self, status: Status) -> float:
        return self.operations.get(status.id) or 1.0


class Display:
    """Shows the statuses of all cells of a sweep; use as a context manager and call ``update``.

    Args:
        console: where.
        operations: of a training step of each cell, by id; for the time left.
    """

    def __init__(self, console: Console, operations: Mapping[str, float] | None = None) -> None:
        self.console, self.pace = console, Pace(operations)
        self.started = time.monotonic()
        self.printed = 0.0
        self.live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None

    def __enter__(self) -> "Display":
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.__exit__(None, None, None)

    def update(self, statuses: Sequence[Status], places: Mapping[str, str], final: bool = False) -> None:
        """Show where the cells stand now; ``places`` tells by id where the running ones run."""
        self.pace.see(statuses)
        summary = self._summary(statuses)
        if self.live:
            table = status_table(statuses, places, self.pace, MOST_ROWS if final else rows_of(self.console))
            self.live.update(Group(*table, Text(summary)), refresh=True)
        elif final or time.monotonic() - self.printed > _PLAIN_INTERVAL_S:
            self.printed = time.monotonic()
            self.console.print(summary)

    def say(self, sentence: str, style: str = "") -> None:
        """Print a line that stays."""
        say(self.console, sentence, style)

    def _summary(self, statuses: Sequence[Status]) -> str:
        count = {state: sum(status.state == state for status in statuses) for state in _STYLES}
        waiting = count["pending"] + count["interrupted"] + count["lost"]
        parts = [f"{count['done']} done", f"{count['running']} running", f"{waiting} left"]
        parts += [f"{count[state]} {state}" for state in ("pruned", "failed") if count[state]]
        left = self.pace.all_left(statuses)
        ending = f"about {_duration(left)} left" if left is not None else "estimating the time left"
        if left == 0:
            ending = "measuring the test images"
        if not count["running"] and not waiting:
            ending = f"took {_duration(time.monotonic() - self.started)}"
        return f"cells: {', '.join(parts)}; {ending}"


def status_table(
    statuses: Sequence[Status],
    places: Mapping[str, str] | None = None,
    pace: Pace | None = None,
    most_rows: int = MOST_ROWS,
) -> list[RenderableType]:
    """One row a cell: what it is, its state, how far it is; what all cells share is left out when there are several.

    Args:
        statuses: in the order of the rows.
        places: by id, where cells run.
        pace: for the time left of each.
        most_rows: show no more than these, the running and failed ones first.
    """
    label = dict.fromkeys(key for status in statuses for key in status.label)
    different = [key for key in label if len({str(status.label.get(key)) for status in statuses}) > 1]
    keys = [key for key in label if key in ("patch_count", "precision") or key in different]
    shown = statuses
    if len(statuses) > most_rows:
        ranked = sorted(range(len(statuses)), key=lambda place: _FIRST_SHOWN.index(statuses[place].state))
        shown = [statuses[place] for place in sorted(ranked[:most_rows])]

    # In a narrow terminal bars, places and notes get shorter: rich takes the columns that may wrap for those.
    table = Table(box=None, header_style="bold")
    for name in ("cell", *keys, "state"):
        table.add_column(Text(name), no_wrap=True)
    table.add_column("progress", min_width=_BAR_WIDTHS[0], max_width=_BAR_WIDTHS[1])
    for name in ("step", *(["left"] if pace else [])):
        table.add_column(name, no_wrap=True)
    for name in (*(["where"] if places else []), "note"):
        table.add_column(name)
    for status in shown:
        row: list[RenderableType] = [
            Text(printable(status.id)),
            *(Text(printable(str(status.label.get(key, "")))) for key in keys),
        ]
        row.append(Text(status.state, style=_STYLES[status.state]))
        row.append(ProgressBar(total=max(1, status.steps_total), completed=status.step))
        row.append(f"{status.step}/{status.steps_total}")
        if pace:
            left = pace.left(status)
            row.append("" if left is None else _duration(left))
        if places:
            row.append(_one_line(places.get(status.id, "")))
        table.add_row(*row, _one_line(status.last_error or "; ".join(status.notes)))
    if len(shown) == len(statuses):
        return [table]
    rest = Counter(status.state for status in statuses) - Counter(status.state for status in shown)
    counts = ", ".join(f"{count} {state}" for state, count in rest.most_common())
    return [table, Text(f"... and {rest.total()} more ({counts}): slackoff status --json lists all", style="dim")]


def rows_of(console: Console) -> int:
    """How many rows a live table can have."""
    return max(1, console.height - _LINES_BESIDE_ROWS)


def _one_line(text: str) -> Text:
    """One line, whatever room there is."""
    return Text(printable(text), overflow="ellipsis", no_wrap=True)


def watch_statuses(read: Callable[[], Sequence[RenderableType]], console: Console, interval_s: float = 1.0) -> None:
    """Show what ``read`` gives again and again until Ctrl-C; while it raises OSError, what it gave before."""
    shown: Sequence[RenderableType] = ()
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            with suppress(OSError):
                shown = read()
            live.update(Group(*shown), refresh=True)
            time.sleep(interval_s)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
