"""Training by several terms whose weights are fixed, learned or balanced."""

from typing import Any

import numpy as np
import pytest
import torch
from small_problem import BATCH, RANGE, SEED, Outputs, Pixel, Slope, bare_loop, network, smooth_bank, three_terms, train
from torch import Tensor, nn

from slackoff.cell.callbacks import LossGuard, NonFiniteLossError
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.data import BatchStream, RainyBatch
from slackoff.errors import SlackoffError
from slackoff.losses import (
    DynamicWeightAverage,
    Fixed,
    GradientBalancing,
    GradNorm,
    LossBalancing,
    PCGrad,
    Uncertainty,
    Weighting,
)
from slackoff.tasks import MultitaskTask, Steps

WEIGHTINGS = {
    "fixed": lambda: Fixed({"pixel": 1.0, "slope": 0.1, "brightness": 1e-9}),
    "lb": LossBalancing,
    "gb": GradientBalancing,
    "uncertainty": Uncertainty,
    "gradnorm": lambda: GradNorm(log_weights=True),
    "dwa": lambda: DynamicWeightAverage(window=1),
    "pcgrad": PCGrad,
}


def make(weighting: Weighting, terms: dict[str, nn.Module] | None = None, **options: Any) -> MultitaskTask:
    options = {"network": network(), "steps": 8, "learning_rate": 2e-3, **options}
    return MultitaskTask(terms=terms or three_terms(), weighting=weighting, **options)


def batch_of(step: int) -> RainyBatch:
    bank = torch.from_numpy(smooth_bank()).permute(0, 3, 1, 2).contiguous()
    return BatchStream(bank, RANGE, BATCH, SEED, channels_last=False).batch(step)


def menet_loop(net: nn.Module, steps: int) -> list[float]:
    """Training with GB without Lightning, task or weighting: each norm from a backward pass of its own."""

    def balanced(step: int, batch: RainyBatch, photos: Tensor | None) -> Tensor:
        output = net(batch.rainy)
        terms = torch.stack([term(output, batch.background) for term in three_terms().values()])
        norms = torch.tensor([torch.autograd.grad(t, net.head.weight, retain_graph=True)[0].norm() for t in terms])
        weights = torch.stack([norms[1] + norms[2], norms[0] + norms[2], norms[0] + norms[1]]) / norms.sum()
        return (weights * terms).sum()

    def rate(step: int) -> float:
        return 2e-3 * (0.1 if step >= 0.4 * steps else 1) * (0.1 if step >= 0.8 * steps else 1)

    return bare_loop(net, steps, balanced, rate=rate)


def test_training_equals_a_bare_loop_with_the_recipe_of_menet():
    task, bare = make(GradientBalancing(), steps=10), network()
    witness, _ = train(task, 10)
    np.testing.assert_allclose(witness.losses, menet_loop(bare, 10), rtol=1e-4)
    assert witness.rates == pytest.approx([2e-3] * 4 + [2e-4] * 4 + [2e-5] * 2)
    for own, other in zip(task.network.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5)
    start = network()
    assert max((a - b).abs().max() for a, b in zip(start.parameters(), bare.parameters(), strict=True)) > 1e-3


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_every_loss_weight_and_norm_of_a_step_is_returned(kind):
    outputs = make(WEIGHTINGS[kind](), log_gradient_norms=True).losses(batch_of(0), 0)
    names = [f"{part}/{name}" for part in ("loss", "weight", "gradient_norm") for name in three_terms()]
    assert list(outputs) == ["loss", *names]
    rainy, background = batch_of(0).rainy, batch_of(0).background
    for name, term in three_terms().items():
        output = network()(rainy)
        assert outputs[f"loss/{name}"].item() == pytest.approx(term(output, background).item(), rel=1e-5)
    assert all(outputs[name].dim() == 0 and not outputs[name].requires_grad for name in names)
    if kind not in ("uncertainty", "pcgrad"):
        weighted = sum(outputs[f"weight/{name}"] * outputs[f"loss/{name}"] for name in three_terms())
        assert outputs["loss"].item() == pytest.approx(weighted.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["fixed", "lb", "uncertainty", "dwa", "pcgrad"])
def test_norms_are_measured_only_where_they_are_wanted(kind):
    nameless = nn.Sequential(network())
    outputs = make(WEIGHTINGS[kind](), network=nameless).losses(batch_of(0), 0)
    assert not any(name.startswith("gradient_norm") for name in outputs)
    with pytest.raises(SlackoffError, match="Sequential does not name its shared layer: say which one it is with task"):
        make(WEIGHTINGS[kind](), network=nameless, log_gradient_norms=True)


def test_only_learned_weights_are_trained_beside_the_network():
    for kind, weighting in WEIGHTINGS.items():
        task = make(weighting())
        count = sum(1 for _ in task.trained_parameters()) - sum(1 for _ in task.network.parameters())
        assert count == (kind == "uncertainty")
    task = make(Uncertainty())
    train(task, 3)
    assert (task.weighting.log_variances.abs() > 1e-3).all()


class Float16(MultitaskTask):
    """On a CPU Lightning has no float16."""

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.float16):
            return super().losses(batch, step)


@pytest.mark.parametrize("kind", WEIGHTINGS)
@pytest.mark.parametrize(
    ("regime", "precision"), [(MultitaskTask, "bf16-mixed"), (Float16, "32-true")], ids=["bfloat16", "float16"]
)
def test_mixed_precision_trains_as_full_precision_does(kind, regime, precision):
    whole, half = Outputs(), Outputs()
    for kept, task, mode in ((whole, MultitaskTask, "32-true"), (half, regime, precision)):
        training = task(network(), three_terms(levels=1.0), WEIGHTINGS[kind](), 6, 2e-3)
        train(training, 6, callbacks=(kept,), options={"precision": mode})
    assert half.seen != whole.seen
    for a, b in zip(whole.seen, half.seen, strict=True):
        # PCGrad takes many times a small term from a large one: the small one's weight magnifies every rounding.
        for name in (name for name in a if kind != "pcgrad" or name.startswith("loss")):
            assert b[name] == pytest.approx(a[name], rel=0.1), name


@pytest.mark.parametrize("kind", ["lb", "gb"])
def test_accumulated_batches_have_weights_of_their_own(kind):
    task, net = make(WEIGHTINGS[kind]()), network()
    seen = Outputs()
    train(task, 1, callbacks=(seen,), options={"accumulate_grad_batches": 2})
    assert len(seen.seen) == 2
    assert seen.seen[0]["weight/brightness"] != seen.seen[1]["weight/brightness"]
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for step in range(2):
        batch = batch_of(step)
        output = net(batch.rainy)
        losses = torch.stack([term(output, batch.background) for term in three_terms().values()])
        weights = torch.tensor([seen.seen[step][f"weight/{name}"] for name in three_terms()])
        ((weights * losses).sum() / 2).backward()
    optimizer.step()
    for own, other in zip(task.network.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=2e-5)


class Broken(nn.Module):
    """A term that is not finite from a step on."""

    def __init__(self, bad: float, good: int) -> None:
        super().__init__()
        self.bad, self.left = bad, good

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        self.left -= 1
        return (output - background).abs().mean() * (1.0 if self.left >= 0 else self.bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_a_term_that_is_not_finite_stops_the_run_and_is_named(tmp_path, kind, bad):
    terms = {"pixel": Pixel(), "slope": Broken(bad, 2), "brightness": Slope()}
    guard = LossGuard(tmp_path, every=4)
    with pytest.raises(
        NonFiniteLossError, match=r"NaN or infinite at step 3 \(loss/slope(, gradient_norm/slope)?\); no"
    ):
        train(make(WEIGHTINGS[kind](), terms), 8, callbacks=(guard,))


def test_a_norm_that_is_not_finite_is_named_where_its_loss_is(tmp_path):
    class Root(nn.Module):
        def forward(self, output: Tensor, background: Tensor) -> Tensor:
            return (output - output.detach()).abs().sqrt().mean()

    terms = {"pixel": Pixel(), "root": Root()}
    with pytest.raises(NonFiniteLossError, match=r"at step 1 \(gradient_norm/root\)"):
        train(make(GradientBalancing(), terms), 4, callbacks=(LossGuard(tmp_path, every=1),))


# Losses of torch's own are terms too.
TERMS = "+task.terms={pixel:{_target_:torch.nn.MSELoss},edge:{_target_:torch.nn.L1Loss}}"


def test_the_defaults_are_menets(composed):
    config = composed("task=multitask")
    assert list(config.task.terms) == ["pixel", "edge", "texture"]
    assert config.task.weighting.name == "gb"
    bare = composed("task=multitask", "~task.terms", TERMS)
    task = build.build_task(bare, build.build_network(bare))
    assert (task.learning_rate, tuple(task.betas), task.decay) == (1e-3, (0.9, 0.999), Steps([0.4, 0.8], 0.1))


def test_what_does_not_fit_is_found_before_training(composed):
    config = composed("task=multitask", "~task.terms", "+task.terms={pixel:{_target_:torch.nn.MSELoss}}")
    with pytest.raises(
        SlackoffError, match=r"task.weighting GradientBalancing balances several terms, and pixel is al"
    ):
        Checks().check(config)
    config = composed("task=multitask", "~task.terms", TERMS, "task.shared_layer=conv9")
    with pytest.raises(SlackoffError, match=r"task.shared_layer=conv9 is no module of UNet"):
        Checks().check(config)


@pytest.mark.parametrize("choice", WEIGHTINGS)
def test_a_weighting_is_chosen_by_name_and_checked_without_computing_anything(composed, conf, choice):
    assert {path.stem for path in (conf / "weighting").glob("*.yaml")} == set(WEIGHTINGS)
    config = composed("task=multitask", "~task.terms", TERMS, f"weighting@task.weighting={choice}")
    task = build.build_task(config, build.build_network(config))
    assert type(task.weighting) is type(WEIGHTINGS[choice]())
    assert task.weighting.names == ("pixel", "edge")
    assert Checks().check(config) > 0
