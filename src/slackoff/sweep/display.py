"""What a person sees while cells train: one live table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slackoff.record.status import Status

_STYLES = {"done": "green", "running": "cyan", "failed": "red", "pending": "dim", "interrupted": "yellow"}
_PLAIN_INTERVAL_S = 20.0


class Display:
    """Shows the statuses of all cells of a sweep; use as a context manager and call ``update``."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self.first: tuple[int, float] | None = None  # steps and clock before the first step of this sweep
        self.printed = 0.0
        self.live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None

    def __enter__(self) -> "Display":
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.__exit__(None, None, None)

    def update(self, statuses: Sequence[Status], final: bool = False) -> None:
        """Show where the cells stand now."""
        summary = self._summary(statuses)
        if self.live:
            self.live.update(Group(status_table(statuses), Text(summary)), refresh=True)
        elif final or time.monotonic() - self.printed > _PLAIN_INTERVAL_S:
            self.printed = time.monotonic()
            self.console.print(summary)

    def say(self, sentence: str, style: str = "") -> None:
        """Print a line that stays."""
        self.console.print(sentence, style=style, highlight=False, markup=False, soft_wrap=True)

    def _summary(self, statuses: Sequence[Status]) -> str:
        count = {state: sum(status.state == state for status in statuses) for state in _STYLES}
        parts = [f"{count['done']} done", f"{count['running']} running", f"{count['pending']} left"]
        if count["failed"]:
            parts.append(f"{count['failed']} failed")
        left = self._seconds_left(statuses)
        ending = f"about {_duration(left)} left" if left is not None else "estimating the time left"
        if left == 0:
            ending = "measuring the test images"
        if not count["running"] and not count["pending"]:
            ending = f"took {_duration(time.monotonic() - self.started)}"
        return f"cells: {', '.join(parts)}; {ending}"

    def _seconds_left(self, statuses: Sequence[Status]) -> float | None:
        """Steps left over the rate of all cells together since the first step."""
        steps = sum(status.step for status in statuses if status.state != "failed")
        if self.first is None or steps <= self.first[0]:
            self.first = (steps, time.monotonic())
        trained, elapsed = steps - self.first[0], time.monotonic() - self.first[1]
        if trained <= 0 or elapsed < 5:
            return None
        left = sum(s.steps_total - s.step for s in statuses if s.state in ("running", "pending"))
        return left * elapsed / trained


def status_table(statuses: Sequence[Status]) -> Table:
    """One row a cell: what it is, its state, how far it is; what all cells share is left out when there are several."""
    keys = [key for key in (statuses[0].label if statuses else {}) if _worth_showing(key, statuses)]
    table = Table("cell", *keys, "state", "progress", "step", "note", box=None, header_style="bold")
    for status in statuses:
        bar = ProgressBar(total=max(1, status.steps_total), completed=status.step, width=24)
        state = Text(status.state, style=_STYLES[status.state])
        note: RenderableType = Text(status.last_error or "; ".join(status.notes), overflow="ellipsis", no_wrap=True)
        values = [str(status.label[key]) for key in keys]
        table.add_row(status.id, *values, state, bar, f"{status.step}/{status.steps_total}", note)
    return table


def _worth_showing(key: str, statuses: Sequence[Status]) -> bool:
    return key == "patch_count" or len({str(status.label.get(key)) for status in statuses}) > 1


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
