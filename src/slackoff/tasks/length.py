"""How long a stage of a run is, as a person writes it."""

import math
import re
from dataclasses import dataclass

from slackoff.errors import SlackoffError

_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|epochs?|steps?)\s*")


@dataclass(frozen=True)
class Length:
    """A number of steps, of epochs (passes over the labelled images), or a part of the run in per cent."""

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str, key: str) -> "Length":
        """Read '2000 steps', '10 epochs' or '50%'.

        Raises:
            SlackoffError: it is none of these; ``key`` is the config key it stands at.
        """
        found = _WRITTEN.fullmatch(str(text))
        if not found:
            raise SlackoffError(f"{key}={text} is no length: write it as 2000steps, 10epochs or 50%")
        return cls(float(found[1]), found[2].rstrip("s"))

    def steps(self, run_steps: int, epoch_steps: float) -> int:
        """The length in steps.

        Args:
            run_steps: of the whole run.
            epoch_steps: of one pass over the labelled images.
        """
        whole = {"%": run_steps / 100, "epoch": epoch_steps, "step": 1.0}[self.unit]
        return math.ceil(self.amount * whole - 1e-9)
