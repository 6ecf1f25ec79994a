"""Training on pairs alone, and the recipes of published methods."""

import math

import numpy as np
import pytest
import torch
from small_problem import Pixel, bare_loop, network, train

from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.losses import L1, MSE, DRDNetLoss, GradientBalancing, JORDERELoss, NegativeSSIM, RESCANLoss
from slackoff.tasks import Cosine, MultitaskTask, Steps, SupervisedTask


def cosine(step: int, steps: int, highest: float, lowest: float) -> float:
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * step / steps)) / 2


def test_training_equals_a_bare_loop():
    steps, highest, lowest, betas = 12, 3e-3, 1e-5, (0.8, 0.95)
    task = SupervisedTask(network(), L1(), steps, highest, betas, Cosine(lowest))
    witness, _ = train(task, steps)
    bare = network()

    def rate(step: int) -> float:
        return cosine(step, steps, highest, lowest)

    def l1(step, batch, photos):
        return (bare(batch.rainy) - batch.background).abs().mean()

    losses = bare_loop(bare, steps, l1, rate=rate, betas=betas)
    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-6)
    np.testing.assert_allclose(witness.rates, [rate(step) for step in range(steps)], rtol=1e-9)
    assert witness.numbers == list(range(steps))
    for (name, trained), expected in zip(task.network.named_parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=0, atol=1e-6, msg=name)
    untouched = network()
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(bare.parameters(), untouched.parameters(), strict=True))


def test_defaults_are_the_recipes_of_the_papers():
    """And betas may be a list, as YAML gives them."""
    single = SupervisedTask(network(), L1(), 250_000)
    several = MultitaskTask(network(), {"one": Pixel(), "two": Pixel()}, GradientBalancing(), 100)
    listed = SupervisedTask(network(), L1(), 5, betas=[0.5, 0.6])
    expected = ((2e-4, (0.9, 0.99)), (1e-3, (0.9, 0.999)), (2e-4, (0.5, 0.6)))
    for task, (rate, betas) in zip((single, several, listed), expected, strict=True):
        optimizer = task.configure_optimizers()["optimizer"]
        group = optimizer.param_groups[0]
        assert type(optimizer) is torch.optim.Adam
        assert (group["lr"], group["betas"], group["eps"]) == (rate, betas, 1e-8)
        assert (group["weight_decay"], group["amsgrad"]) == (0, False)
    assert several.decay == Steps([0.4, 0.8], 0.1)


def recipe(composed, preset, task, steps, *overrides):
    """A task as its file makes it, its optimiser, and the learning rate of each step of a run."""
    config = composed(f"network={preset}", f"task={task}", f"schedule.steps={steps}", *overrides)
    Checks().check(config)
    found = build.build_task(config, build.build_network(config))
    parts = found.configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found, optimizer, rates


DRD_NET = {6: 0.01, 15: 0.005, 30: 0.0025, 45: 0.00125, 60: 0.001, 75: 0.0005, 90: 0.000125, 120: 0.00001}


@pytest.mark.parametrize(
    ("preset", "task", "loss", "expected"),
    [
        ("ddn_small", "ddn", MSE, [0.1] * 100 + [0.01] * 100 + [0.001] * 10),
        ("drd_net_small", "drd_net", DRDNetLoss, [next(DRD_NET[e] for e in DRD_NET if k < e) for k in range(120)]),
        ("rescan_small", "rescan", RESCANLoss, [5e-3] * 30 + [5e-4] * 5 + [5e-5] * 5),
        ("jorder_e_small", "jorder_e", JORDERELoss, [1e-4] * 40),
        ("prenet_small", "prenet", NegativeSSIM, [1e-3] * 30 + [2e-4] * 20 + [4e-5] * 30 + [8e-6] * 20),
    ],
)
def test_a_recipe_has_the_loss_the_optimiser_and_the_rates_of_the_authors(composed, preset, task, loss, expected):
    """DRD-Net's rates fall by epoch, of 120; PReNet's by 0.2 at epochs 30, 50 and 80 of 100."""
    found, optimizer, rates = recipe(composed, preset, task, len(expected))
    assert isinstance(found, SupervisedTask)
    assert type(found.loss) is loss
    assert rates == pytest.approx(expected)
    assert type(optimizer) is (torch.optim.SGD if task == "ddn" else torch.optim.Adam)
    group = optimizer.param_groups[0]
    assert group["momentum"] == 0.9 if task == "ddn" else group["betas"] == (0.9, 0.999)


def test_losses_of_recipes_have_the_weights_of_the_authors_or_those_that_are_given(composed):
    assert recipe(composed, "drd_net_small", "drd_net", 1)[0].loss.weights == (0.1, 1.0)
    released = recipe(composed, "jorder_e_small", "jorder_e", 1)[0].loss
    assert (released.mask, released.level, released.sign) == (1e-3 * 8 * 64 * 64, 1e-2, 1.0)
    assert recipe(composed, "jorder_e_small", "jorder_e", 1, "task.loss.mask_rule=rain")[0].loss.sign == -1.0
    assert recipe(composed, "prenet_small", "prenet", 1)[0].loss.weights is None
    given = "task.loss.weights=[0.5,0.5,1.5]"
    assert recipe(composed, "prenet_small", "prenet", 1, given)[0].loss.weights == (0.5, 0.5, 1.5)
