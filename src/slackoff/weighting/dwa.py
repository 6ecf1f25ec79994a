"""Dynamic weight average (Liu, Johns, Davison, CVPR 2019)."""

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.weighting import Weighted, Weighting, weigh

_NO_DIVISION_BY_ZERO = 1e-12


class DynamicWeightAverage(Weighting):
    """DWA: terms that fall more slowly count more, w_t = T softmax(r_t / temperature).

    r_t is the mean loss of the last window of steps over that of the window before it; the paper's windows are epochs,
    which an endless stream has not. Until two windows are full all weights are 1. Only how fast losses fall counts, not
    their size: terms that differ by orders of magnitude stay so.

    Args:
        temperature: of the softmax; the larger, the more equal the weights. The paper's is 2.
        window: steps.

    Raises:
        SlackoffError: an argument is not positive.
    """

    total: Tensor
    counted: Tensor
    last: Tensor
    before: Tensor
    windows: Tensor

    def __init__(self, temperature: float = 2.0, window: int = 100) -> None:
        super().__init__()
        if not temperature > 0:
            raise SlackoffError(f"task.weighting.temperature={temperature} must be above 0")
        if type(window) is not int or window < 1:
            raise SlackoffError(f"task.weighting.window={window} must be a whole number of steps from 1 up")
        self.temperature, self.window = temperature, window

    def begin(self, names: tuple[str, ...]) -> None:
        super().begin(names)
        for name in ("total", "last", "before"):
            self.register_buffer(name, torch.zeros(len(names)))
        for name in ("counted", "windows"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def forward(self, terms: TermLosses) -> Weighted:
        weighted = weigh(terms, self._weights())
        self._remember(terms.reduced)
        return weighted

    def _weights(self) -> Tensor:
        ratio = (self.last + _NO_DIVISION_BY_ZERO) / (self.before + _NO_DIVISION_BY_ZERO)
        weights = len(ratio) * torch.softmax(ratio / self.temperature, dim=0)
        return torch.where(self.windows < 2, torch.ones_like(weights), weights)

    @torch.no_grad()
    def _remember(self, losses: Tensor) -> None:
        """Without looking at a number, for which a GPU would have to be waited for."""
        self.total += losses
        self.counted += 1
        full = self.counted == self.window
        self.before.copy_(torch.where(full, self.last, self.before))
        self.last.copy_(torch.where(full, self.total / self.window, self.last))
        self.windows += full
        self.total.masked_fill_(full, 0)
        self.counted.masked_fill_(full, 0)
