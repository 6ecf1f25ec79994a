"""The best checkpoint of a cell, by a measure on pairs that it is neither trained nor tested on."""

import copy
import math
from typing import Any

from lightning import Callback
from torch import Tensor, nn

from slackoff.config.schema import KEEP_BEST
from slackoff.evaluation import Evaluator


class BestWeights(Callback):
    """Keeps the weights that an evaluation on the validation pairs found best; the first ones of equal ones.

    They are part of checkpoints, on the CPU. With several ranks the first one has them.

    Args:
        validation: measures on the validation pairs.
        measure: the mean that is looked at.

    Raises:
        SlackoffError: the evaluation has no such measure, or it has no better direction.
    """

    def __init__(self, validation: Evaluator, measure: str) -> None:
        self.measure, self.sign = measure, 1.0 if validation.better(measure, KEEP_BEST) == "higher" else -1.0
        self.step, self.value = 0, math.nan
        self.weights: dict[str, Tensor] = {}

    def look(self, step: int, network: nn.Module, means: dict[str, float]) -> None:
        """Take the weights if they are the best so far; a mean that is no number is never that."""
        value = means[self.measure]
        if not math.isnan(value) and not self.sign * value <= self.sign * self.value:
            self.step, self.value = step, value
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}

    def network(self, like: nn.Module) -> nn.Module | None:
        """A network with the best weights; None where no evaluation gave a number."""
        if not self.weights:
            return None
        found = copy.deepcopy(like)
        found.load_state_dict(self.weights)
        return found

    @property
    def note(self) -> str:
        return f"best checkpoint: step {self.step}, {self.measure} {self.value:.4g} on the validation pairs"

    def state_dict(self) -> dict[str, Any]:
        return {"measure": self.measure, "step": self.step, "value": self.value, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["measure"] == self.measure:  # a cell that is trained on may choose by another one
            self.step, self.value, self.weights = (state_dict[key] for key in ("step", "value", "weights"))
