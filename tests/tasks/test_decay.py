import math

import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.tasks import Cosine, Steps


def rates(decay: Cosine | Steps, steps: int) -> list[float]:
    """The learning rate of each step, starting at 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = decay.schedule(optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_cosine_is_half_a_wave():
    expected = [0.01 + 0.99 * (1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)]
    assert rates(Cosine(0.01), 20) == pytest.approx(expected, rel=1e-9)


def test_steps_multiply_at_parts_of_the_run():
    expected = [1.0] * 5 + [0.2] * 5 + [0.04] * 10
    assert rates(Steps([0.25, 0.5], 0.2), 20) == pytest.approx(expected)


def test_each_part_may_have_a_factor_of_its_own():
    expected = [1.0] * 5 + [0.5] * 5 + [0.4] * 10
    assert rates(Steps([0.25, 0.5], [0.5, 0.8]), 20) == pytest.approx(expected)


def test_another_number_of_factors_than_of_parts_is_refused():
    with pytest.raises(SlackoffError, match=r"task\.decay\.factor has 1 factors for the 2 parts"):
        Steps([0.25, 0.5], [0.2])


@pytest.mark.parametrize("part", [0, 1, 25])
def test_a_part_outside_the_run_is_refused(part):
    with pytest.raises(SlackoffError, match=r"task\.decay\.at=\[0\.5, "):
        Steps([0.5, part], 0.2)
