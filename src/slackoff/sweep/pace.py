"""How fast the cells of a sweep advance, and how long the rest will take."""

import time
from collections.abc import Callable, Mapping, Sequence

from slackoff.record.status import Status

_ENOUGH_S = 5.0


class Pace:
    """Watches statuses.

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
        left = sum((s.steps_total - s.step) * self._weight(s) for s in statuses if s.state not in ("done", "failed"))
        return left * elapsed / advanced

    def _done(self, statuses: Sequence[Status]) -> float:
        return sum(status.step * self._weight(status) for status in statuses if status.state != "failed")

    def _weight(self, status: Status) -> float:
        return self.operations.get(status.id) or 1.0
