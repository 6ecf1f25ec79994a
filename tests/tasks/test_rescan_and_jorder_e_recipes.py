"""task=rescan and task=jorder_e as a command line names them."""

import pytest

from slackoff.config import build
from slackoff.losses import JORDERELoss, RESCANLoss
from slackoff.tasks import SupervisedTask


def rates(task: SupervisedTask) -> list[float]:
    """The learning rate of each step of a run."""
    configured = task.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.9, 0.999)]
    found = []
    for _ in range(task.steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("recipe", "network", "loss", "expected"),
    [
        ("rescan", "rescan_small", RESCANLoss, [5e-3] * 30 + [5e-4] * 5 + [5e-5] * 5),
        ("jorder_e", "jorder_e_small", JORDERELoss, [1e-4] * 40),
    ],
)
def test_a_recipe_has_the_loss_and_the_learning_rates_of_the_release(composed, recipe, network, loss, expected):
    config = composed(f"task={recipe}", f"network={network}", "schedule.steps=40")
    task = build.build_task(config, build.build_network(config))
    assert isinstance(task, SupervisedTask)
    assert isinstance(task.loss, loss)
    assert rates(task) == pytest.approx(expected)


def test_the_mask_of_jorder_e_has_the_weight_of_the_release(composed):
    config = composed("task=jorder_e", "network=jorder_e_small")
    loss = build.build_task(config, build.build_network(config)).loss
    assert (loss.mask, loss.level, loss.sign) == (1e-3 * 8 * 64 * 64, 1e-2, 1.0)


def test_the_rain_itself_is_marked_on_demand(composed):
    config = composed("task=jorder_e", "network=jorder_e_small", "task.loss.mask_rule=rain")
    assert build.build_task(config, build.build_network(config)).loss.sign == -1.0
