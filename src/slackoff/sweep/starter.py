"""What starts cells: as processes here, as jobs of Slurm, as tasks of Ray."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from slackoff.sweep.plan import Cell
from slackoff.sweep.running import Running
from slackoff.sweep.slots import Slot


class Starter(ABC):
    """Starts cells in slots."""

    @abstractmethod
    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
        """Start a cell.

        Args:
            cell: what to train.
            slot: the place for it.
            after: number of the attempt that the caller knows to be over (0: there was none), so that a newer one of
                somebody else is not taken for that; None: the newest is known to be over.

        Raises:
            OSError: its log or its process cannot be made.
            SlackoffError: it cannot be started at all.
        """

    def adopt(self, cell: Cell, slot: Slot) -> Running | None:
        """Take over a cell that an earlier driver started and that still runs; None where that cannot be."""
        return None

    def close(self) -> None:
        """Let go what is held for starting cells; no cell ends by that."""
        return


class OnDemand(Starter):
    """A starter that is made at its first cell: a sweep that is done, and a dry run, need no cluster."""

    def __init__(self, make: Callable[[], Starter]) -> None:
        self.make = make
        self.made: Starter | None = None

    def start(self, cell: Cell, slot: Slot, after: int | None = None) -> Running:
        return self._starter().start(cell, slot, after)

    def adopt(self, cell: Cell, slot: Slot) -> Running | None:
        return self._starter().adopt(cell, slot)

    def close(self) -> None:
        if self.made is not None:
            self.made.close()

    def _starter(self) -> Starter:
        self.made = self.made or self.make()
        return self.made
