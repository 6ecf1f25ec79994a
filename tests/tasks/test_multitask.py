import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback
from small_problem import (
    BATCH,
    RANGE,
    SEED,
    InDouble,
    Pixel,
    SaveAt,
    Slope,
    golden_multitask_losses,
    network,
    smooth_bank,
    three_terms,
    train,
)
from torch import Tensor, nn

from slackoff.cell.callbacks import LossGuard, NonFiniteLossError
from slackoff.config import build
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

# Written by: python tests/tasks/small_problem.py multitask > tests/tasks/golden/multitask.txt
GOLDEN = Path(__file__).parent / "golden" / "multitask.txt"
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


class Outputs(Callback):
    """Keeps what the training step returned."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: dict[str, Tensor], *_: Any) -> None:
        self.seen.append({name: float(value) for name, value in outputs.items()})


def batch_of(step: int) -> RainyBatch:
    bank = torch.from_numpy(smooth_bank()).permute(0, 3, 1, 2).contiguous()
    return BatchStream(bank, RANGE, BATCH, SEED, channels_last=False).batch(step)


def bare_loop(net: nn.Module, steps: int) -> list[float]:
    """Training with GB without Lightning, task or weighting: each norm from a backward pass of its own."""
    optimizer, losses = torch.optim.Adam(net.parameters(), 2e-3), []
    for step in range(steps):
        batch = batch_of(step)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (0.1 if step >= 0.4 * steps else 1) * (0.1 if step >= 0.8 * steps else 1)
        output = net(batch.rainy)
        terms = torch.stack([term(output, batch.background) for term in three_terms().values()])
        norms = torch.tensor([torch.autograd.grad(t, net.head.weight, retain_graph=True)[0].norm() for t in terms])
        weights = torch.stack([norms[1] + norms[2], norms[0] + norms[2], norms[0] + norms[1]]) / norms.sum()
        loss = (weights * terms).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_equals_a_bare_loop_with_the_recipe_of_menet():
    task, bare = make(GradientBalancing(), steps=10), network()
    witness, _ = train(task, 10)
    np.testing.assert_allclose(witness.losses, bare_loop(bare, 10), rtol=1e-4)
    assert witness.rates == pytest.approx([2e-3] * 4 + [2e-4] * 4 + [2e-5] * 2)
    for own, other in zip(task.network.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5)
    start = network()
    assert max((a - b).abs().max() for a, b in zip(start.parameters(), bare.parameters(), strict=True)) > 1e-3


def test_defaults_are_the_recipe_of_menet():
    task = MultitaskTask(network(), three_terms(), GradientBalancing(), 100)
    group = task.configure_optimizers()["optimizer"].param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-3, (0.9, 0.999), 1e-8, 0)
    assert task.decay == Steps([0.4, 0.8], 0.1)


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


@pytest.mark.parametrize("kind", ["uncertainty", "gradnorm", "dwa", "pcgrad"])
def test_a_resumed_run_ends_bit_by_bit_as_an_undisturbed_one(tmp_path, kind):
    whole, going_on = make(WEIGHTINGS[kind](), steps=6), make(WEIGHTINGS[kind](), steps=6)
    before = Outputs()
    undisturbed, _ = train(whole, 6, save=SaveAt(tmp_path / "stopped.ckpt", 3), callbacks=(before,))
    after = Outputs()
    resumed, _ = train(going_on, 6, callbacks=(after,), ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)
    assert resumed.losses == undisturbed.losses[3:]
    assert after.seen == before.seen[3:]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, going_on.state_dict()[name]), name
    if kind != "pcgrad":
        assert any(name.startswith("weighting.") for name in whole.state_dict())
        assert after.seen[0]["weight/pixel"] != before.seen[0]["weight/pixel"]


class Float16(MultitaskTask):
    """On a CPU Lightning has no float16."""

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.float16):
            return super().losses(batch, step)


@pytest.mark.parametrize("kind", WEIGHTINGS)
@pytest.mark.parametrize(
    ("regime", "precision"),
    [(MultitaskTask, "bf16-mixed"), (Float16, "32-true")],
    ids=["bfloat16", "float16"],
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


@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_terms_of_zero_and_of_a_billion_times_the_others_do_no_harm(kind):
    class Scaled(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, output: Tensor, background: Tensor) -> Tensor:
            return self.scale * (output - background).square().mean()

    for scale in (0.0, 1e9):
        terms = {"pixel": Scaled(1.0), "slope": Scaled(scale), "brightness": Scaled(2.0)}
        task = make(WEIGHTINGS[kind](), terms, steps=30)
        witness, _ = train(task, 30)
        assert np.isfinite(witness.losses).all()
        assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_the_loss_curve_is_the_recorded_one():
    recorded = np.loadtxt(GOLDEN)
    assert len(recorded) == 50
    np.testing.assert_allclose(golden_multitask_losses(), recorded, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"shared_layer": "tail.2"},
            "task.shared_layer=tail.2 is no module of UNet, whose last modules are encoder, up",
        ),
        (
            {"shared_layer": "decoder.0.1"},
            "task.shared_layer=decoder.0.1 of UNet has no weight that is trained: name a",
        ),
        (
            {"network": InDouble(network())},
            "InDouble does not name its shared layer: say which one it is with task.sha",
        ),
        ({"terms": {}}, "task.terms is empty: name at least one loss term"),
        ({"terms": {"Pixel": Pixel(), "b": Pixel()}}, "task.terms.Pixel is no name: use lower-case letters"),
        ({"terms": {"pop": Pixel(), "b": Pixel()}}, "task.terms.pop is no name: use lower-case letters"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        MultitaskTask(
            **{"network": network(), "terms": three_terms(), "weighting": GradientBalancing(), "steps": 8, **options}
        )


PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "network").glob("*.yaml"))
PRESETS.remove("dsc")  # it has no layers


@pytest.mark.parametrize("preset", PRESETS)
def test_every_network_names_a_shared_layer_with_gradients(composed, preset):
    net = build.build_network(composed(f"network={preset}"))
    task = MultitaskTask(net, {"pixel": Pixel(), "slope": Slope()}, GradientBalancing(), 8)
    g = torch.Generator().manual_seed(0)
    rainy, background = torch.rand(2, 2, 3, 16, 16, generator=g)
    outputs = task.losses(RainyBatch(background, rainy[:, :1], rainy), 0)
    norms = torch.stack([outputs["gradient_norm/pixel"], outputs["gradient_norm/slope"]])
    assert norms.isfinite().all()
    assert (norms > 1e-4).all()
