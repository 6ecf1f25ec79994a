"""Two processes that share a batch take the steps of one process on the whole batch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from weighting_problem import Small, Term, images, say, slopes, squares, started

from slackoff.losses import (
    DynamicWeightAverage,
    GradientBalancing,
    GradNorm,
    LossBalancing,
    PCGrad,
    Uncertainty,
    Weighting,
)
from slackoff.losses.weighting import of_all_ranks

KINDS: dict[str, Callable[[], Weighting]] = {
    "lb": LossBalancing,
    "gb": GradientBalancing,
    "uncertainty": Uncertainty,
    "gradnorm": lambda: GradNorm(log_weights=True, learning_rate=0.3),
    "dwa": lambda: DynamicWeightAverage(window=1),
    "pcgrad": PCGrad,
}
STEPS = 4
BATCH = torch.arange(12.0).view(6, 2)


class Step(nn.Module):
    """What DistributedDataParallel wraps in a training: network, terms and weighting behind one call."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.network = Small().double()
        away = Term(lambda error: (error - 1).square().mean(), 3.0)
        self.terms = {"squares": squares(), "slopes": slopes(40.0), "away": away}
        self.weighting = started(KINDS[kind](), self.terms)

    def forward(self, rainy: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
        return self.weighting(say(self.network, self.terms, rainy, background))


def trained(kind: str, share: slice, wrap: Callable[[nn.Module], nn.Module] = lambda step: step) -> dict[str, Tensor]:
    step = Step(kind)
    wrapped, weights = wrap(step), []
    optimizer = torch.optim.SGD(step.parameters(), 0.02)
    for number in range(STEPS):
        rainy, background = images(seed=number)
        torch.manual_seed(100 * number + share.start)  # as StepSeed: other numbers on another rank
        loss, used = wrapped(rainy[share], background[share])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights.append(used)
    return {"weights": torch.stack(weights), **step.state_dict()}


def run_rank(rank: int, rendezvous: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    found = {kind: trained(kind, slice(2 * rank, 2 * rank + 2), DistributedDataParallel) for kind in KINDS}
    found["joined"] = of_all_ranks(BATCH[rank::2])
    torch.save(found, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_rank, ((folder / "rendezvous").as_uri(), str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_take_the_steps_of_one_process(kind, ranks):
    first, second = (rank[kind] for rank in ranks)
    alone = trained(kind, slice(0, 4))
    start = Step(kind).state_dict()
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    assert (alone["network.first.weight"] - start["network.first.weight"]).abs().max() > 1e-3
    assert (alone["weights"][1:] - 1).abs().max() > 1e-3


def test_shares_are_joined_in_the_order_of_the_batch(ranks):
    for rank in ranks:
        assert torch.equal(rank["joined"], BATCH)
    assert torch.equal(of_all_ranks(BATCH), BATCH)
