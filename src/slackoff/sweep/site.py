"""Where the cells of a sweep run, and by which rules."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from slackoff.sweep.policy import Policy
from slackoff.sweep.processes import LocalCells
from slackoff.sweep.slots import Slot
from slackoff.sweep.starter import Starter


@dataclass(frozen=True)
class Site:
    """What a launcher offers.

    Args:
        slots: places for cells.
        policy: what to do about failures.
        cells: starts cells; by default as processes of this machine.
    """

    slots: Sequence[Slot]
    policy: Policy = field(default_factory=Policy)
    cells: Starter = field(default_factory=LocalCells)

    @property
    def here(self) -> bool:
        """Whether cells are processes of this machine."""
        return isinstance(self.cells, LocalCells)
