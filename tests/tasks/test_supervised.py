import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_problem import BATCH, RANGE, SEED, golden_losses, network, smooth_bank, train
from torch import nn

from slackoff.data import BatchStream
from slackoff.losses import L1
from slackoff.tasks import Cosine, SupervisedTask

# Written by: python tests/tasks/small_problem.py supervised > tests/tasks/golden/supervised.txt
GOLDEN = Path(__file__).parent / "golden" / "supervised.txt"


def cosine(step: int, steps: int, highest: float, lowest: float) -> float:
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * step / steps)) / 2


def bare_loop(net: nn.Module, steps: int, highest: float, lowest: float, betas: tuple[float, float]) -> list[float]:
    """The same training without Lightning, task or scheduler."""
    bank = torch.from_numpy(smooth_bank()).permute(0, 3, 1, 2).contiguous()
    stream = BatchStream(bank, RANGE, BATCH, SEED, channels_last=False)
    optimizer = torch.optim.Adam(net.parameters(), betas=betas)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = cosine(step, steps, highest, lowest)
        batch = stream.batch(step)
        loss = (net(batch.rainy) - batch.background).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_equals_a_bare_loop():
    steps, highest, lowest, betas = 12, 3e-3, 1e-5, (0.8, 0.95)
    task = SupervisedTask(network(), L1(), steps, highest, betas, Cosine(lowest))
    witness, _ = train(task, steps)
    bare = network()
    losses = bare_loop(bare, steps, highest, lowest, betas)

    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-6)
    np.testing.assert_allclose(witness.rates, [cosine(k, steps, highest, lowest) for k in range(steps)], rtol=1e-9)
    assert witness.numbers == list(range(steps))
    for (name, trained), expected in zip(task.network.named_parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=0, atol=1e-6, msg=name)
    untouched = network()
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(bare.parameters(), untouched.parameters(), strict=True))


def test_the_learning_rate_ends_at_its_minimum():
    task = SupervisedTask(network(), L1(), 10, 1e-3, decay=Cosine(1e-5))
    _, trainer = train(task, 10)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-5, rel=1e-6)


def test_defaults_are_the_recipe_of_the_paper():
    optimizer = SupervisedTask(network(), L1(), 250_000).configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.Adam
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"], group["amsgrad"]) == (2e-4, (0.9, 0.99), 0, False)


def test_a_list_of_betas_as_yaml_gives_it_is_accepted():
    optimizer = SupervisedTask(network(), L1(), 5, betas=[0.5, 0.6]).configure_optimizers()["optimizer"]
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.6)


def test_the_loss_compares_the_output_with_the_background():
    task = SupervisedTask(nn.Identity(), L1(), 5)
    batch = BatchStream(torch.from_numpy(smooth_bank()).permute(0, 3, 1, 2), RANGE, BATCH, SEED).batch(0)
    rainy, background = batch.rainy.double().numpy(), batch.background.double().numpy()
    assert task.training_step(batch, 0)["loss"].item() == pytest.approx(np.abs(rainy - background).mean(), rel=1e-6)


@pytest.fixture(scope="module")
def curve() -> list[float]:
    """In float64: it is the same on all machines to a share of about 1e-7."""
    return golden_losses()


def test_training_lowers_the_loss(curve):
    assert np.mean(curve[-10:]) < 0.85 * np.mean(curve[:10])


def test_the_loss_curve_is_the_recorded_one(curve):
    """A change of the batches, the network's start, the loss or the optimiser shows here."""
    recorded = np.loadtxt(GOLDEN)
    assert len(recorded) == 50
    np.testing.assert_allclose(curve, recorded, rtol=1e-4)


def test_a_resumed_run_sees_the_batches_that_are_left_and_ends_the_same(tmp_path):
    steps = 8

    def task() -> SupervisedTask:
        return SupervisedTask(network(), L1(), steps, learning_rate=2e-3)

    whole = task()
    undisturbed, _ = train(whole, steps)
    _, trainer = train(task(), 5)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    going_on = task()
    resumed, _ = train(going_on, steps, ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)

    assert resumed.numbers == [5, 6, 7]
    assert resumed.losses == undisturbed.losses[5:]
    for a, b in zip(whole.parameters(), going_on.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_step_has_a_batch_of_its_own():
    seen = []

    class Spy(SupervisedTask):
        def training_step(self, batch, batch_idx):
            seen.append(batch.rain)
            return super().training_step(batch, batch_idx)

    train(Spy(network(), L1(), 4), 4)
    stream = BatchStream(torch.from_numpy(smooth_bank()).permute(0, 3, 1, 2), RANGE, BATCH, SEED)
    assert len(seen) == 4
    for step, rain in enumerate(seen):
        assert torch.equal(rain, stream.batch(step).rain)
