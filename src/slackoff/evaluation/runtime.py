"""How long networks take for one image, timed in rounds that go through all of them in turn.

A machine drifts: it heats up, other programs come and go. In rounds that hits all networks alike, and the ratio of two
of them within a round travels to other machines better than seconds do.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from slackoff.networks.devices import true_float32

Pass = Callable[[int], None]
"""One pass over an image of so many pixels a side; it has ended when the call returns."""

_SETTLED_S = 0.5
"""A turn of a network that is faster than this begins with an untimed pass: the network before emptied the caches."""

_SMALLEST_PX = 32


@dataclass(frozen=True)
class Rounds:
    """How often networks are timed.

    Args:
        most: rounds, and timed passes of a network that is fast enough.
        budget_s: about so long is each network timed; a slow one takes part in fewer rounds, one at least.
        warm_up: passes before the first round, as far as they fit into the budget.
    """

    most: int
    budget_s: float
    warm_up: int


@dataclass
class Timings:
    """``seconds``: network -> round -> seconds of its timed pass. ``failures``: network -> what went wrong in it.

    A network that failed has no seconds.
    """

    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def network_pass(network: nn.Module, device: torch.device) -> Pass:
    """Passes of a network in evaluation mode over a noise image (1, 3, side, side) in [0, 1], true float32, batch 1."""
    network = network.float().eval().to(device)
    images: dict[int, Tensor] = {}

    def run(side_px: int) -> None:
        if side_px not in images:
            noise = torch.rand(1, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
            images[side_px] = noise.to(device)
        with true_float32(device):
            network(images[side_px])
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


@torch.no_grad()
def time_in_rounds(
    passes: Mapping[str, Pass], side_px: int, rounds: Rounds, clock: Callable[[], float] = time.perf_counter
) -> Timings:
    """Time networks; one that fails is left out from then on, and the others are timed as if it were not there.

    A slow network's rounds are spread evenly over all rounds. Every other round goes backwards, so that no network
    always follows the same one.

    Args:
        passes: network -> its passes.
        side_px: side of the image whose passes are timed.
        rounds: how often.
        clock: seconds.
    """
    timings = Timings()
    costs: dict[str, float] = {}
    for name, run in passes.items():
        cost = _guarded(timings, name, partial(_warm_up, run, side_px, rounds, clock))
        if cost is not None:
            costs[name] = cost
            timings.seconds[name] = {}
    for number in range(rounds.most):
        names = list(costs) if number % 2 == 0 else list(costs)[::-1]
        for name in names:
            if name in timings.failures or not _due(number, costs[name], rounds):
                continue
            seconds = _guarded(timings, name, partial(_turn, passes[name], side_px, costs[name], clock))
            if seconds is not None:
                timings.seconds[name][number] = seconds
    return timings


def _warm_up(run: Pass, side_px: int, rounds: Rounds, clock: Callable[[], float]) -> float:
    """Warm a network up and return about how many seconds a pass takes.

    It begins with a small image, so that the slowest networks are not run for nothing; the very first pass of a network
    takes far longer than others and foretells nothing.
    """
    small_px = min(side_px, max(_SMALLEST_PX, side_px // 4))
    run(small_px)
    cost = _time(run, small_px, clock) * (side_px / small_px) ** 2
    spent = 0.0
    for _ in range(rounds.warm_up):
        if spent + cost > rounds.budget_s:
            break
        cost = _time(run, side_px, clock)
        spent += cost
    return cost


def _due(number: int, cost: float, rounds: Rounds) -> bool:
    """Whether a network takes part in a round."""
    turn = cost * (2 if cost < _SETTLED_S else 1)
    count = rounds.most if turn * rounds.most <= rounds.budget_s else max(1, int(rounds.budget_s / turn))
    return (number + 1) * count // rounds.most > number * count // rounds.most


def _turn(run: Pass, side_px: int, cost: float, clock: Callable[[], float]) -> float:
    if cost < _SETTLED_S:
        run(side_px)
    return _time(run, side_px, clock)


def _time(run: Pass, side_px: int, clock: Callable[[], float]) -> float:
    start = clock()
    run(side_px)
    return clock() - start


def _guarded(timings: Timings, name: str, action: Callable[[], float]) -> float | None:
    """The outcome of an action; None where it fails, which is then the network's failure."""
    try:
        return action()
    except Exception as error:  # whatever a network raises must not take down the others
        timings.failures[name] = sentence(error)
        timings.seconds.pop(name, None)
        return None


def sentence(error: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
