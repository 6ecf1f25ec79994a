"""A network, loss terms that need no explanation, what they say of a batch, and every weighting."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from slackoff.losses import (
    DynamicWeightAverage,
    GradientBalancing,
    GradNorm,
    LossBalancing,
    PCGrad,
    TermLosses,
    Uncertainty,
    Weighting,
)


class Term(nn.Module):
    """A loss term made of a function of the error, times a scale."""

    def __init__(self, function: Callable[[Tensor], Tensor], scale: float = 1.0) -> None:
        super().__init__()
        self.function, self.scale = function, scale

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        return self.scale * self.function(output - background)


def squares(scale: float = 1.0) -> Term:
    return Term(lambda error: error.square().mean(), scale)


def slopes(scale: float = 1.0) -> Term:
    return Term(lambda error: (error[..., 1:] - error[..., :-1]).square().mean(), scale)


def absolutes(scale: float = 1.0) -> Term:
    return Term(lambda error: (error + 0.3).abs().mean(), scale)


def three(*scales: float) -> dict[str, nn.Module]:
    a, b, c = scales or (1.0, 1.0, 1.0)
    return {"squares": squares(a), "slopes": slopes(b), "absolutes": absolutes(c)}


class Small(nn.Module):
    """Two convolutions; the output passes the second one."""

    shared_layer = "last"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy + self.last(torch.tanh(self.first(rainy)))


def images(count: int = 4, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Rainy images and backgrounds, float64."""
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, count, 3, 8, 8, generator=g, dtype=torch.float64))


def say(network: nn.Module, terms: dict[str, nn.Module], rainy: Tensor, background: Tensor) -> TermLosses:
    return TermLosses(terms, network(rainy), background, network.parameters(), network.last.weight)


def started(weighting: Weighting, terms: dict[str, nn.Module], network: nn.Module | None = None) -> Weighting:
    weighting.begin(tuple(terms))
    return weighting.double() if network is None or next(network.parameters()).dtype == torch.float64 else weighting


def plain_gradients(network: nn.Module, terms: dict[str, nn.Module], rainy: Tensor, background: Tensor) -> Tensor:
    """(T, P): the gradient of each term with respect to all parameters, each from a backward pass of its own."""
    rows = []
    for term in terms.values():
        found = torch.autograd.grad(term(network(rainy), background), list(network.parameters()))
        rows.append(torch.cat([part.flatten() for part in found]))
    return torch.stack(rows)


KINDS: dict[str, Callable[[], Weighting]] = {
    "lb": LossBalancing,
    "gb": GradientBalancing,
    "uncertainty": Uncertainty,
    "gradnorm": lambda: GradNorm(log_weights=True, learning_rate=0.3),
    "dwa": lambda: DynamicWeightAverage(window=1),
    "pcgrad": PCGrad,
}

BOTH = [LossBalancing, GradientBalancing]
LAST = slice(5 * 28, 5 * 28 + 3 * 5 * 9)
