"""task=multitask with its two nested groups, as a command line and a manifest name them."""

import pytest

from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.errors import SlackoffError
from slackoff.tasks import MultitaskTask, Steps

WEIGHTINGS = {
    "fixed": "Fixed",
    "lb": "LossBalancing",
    "gb": "GradientBalancing",
    "uncertainty": "Uncertainty",
    "gradnorm": "GradNorm",
    "dwa": "DynamicWeightAverage",
    "pcgrad": "PCGrad",
}
# Losses of torch's own are terms too.
TERMS = "+task.terms={pixel:{_target_:torch.nn.MSELoss},edge:{_target_:torch.nn.L1Loss}}"


def test_there_is_a_test_for_every_weighting_that_can_be_chosen(conf):
    assert {path.stem for path in (conf / "weighting").glob("*.yaml")} == set(WEIGHTINGS)


@pytest.mark.parametrize("choice", WEIGHTINGS)
def test_a_weighting_is_chosen_by_name(composed, choice):
    config = composed("task=multitask", "~task.terms", TERMS, f"weighting@task.weighting={choice}")
    task = build.build_task(config, build.build_network(config))
    assert isinstance(task, MultitaskTask)
    assert type(task.weighting).__name__ == WEIGHTINGS[choice]
    assert task.weighting.names == ("pixel", "edge")


def test_the_defaults_are_menets(composed):
    config = composed("task=multitask")
    assert list(config.task.terms) == ["pixel", "edge", "texture"]
    assert config.task.weighting.name == "gb"
    bare = composed("task=multitask", "~task.terms", TERMS)
    task = build.build_task(bare, build.build_network(bare))
    assert (task.learning_rate, tuple(task.betas), task.decay) == (1e-3, (0.9, 0.999), Steps([0.4, 0.8], 0.1))


@pytest.mark.parametrize("choice", WEIGHTINGS)
def test_a_cell_is_checked_without_computing_anything(composed, choice):
    config = composed("task=multitask", "~task.terms", TERMS, f"weighting@task.weighting={choice}")
    assert Checks().check(config) > 0


def test_what_does_not_fit_is_found_before_training(composed):
    config = composed("task=multitask", "~task.terms", "+task.terms={pixel:{_target_:torch.nn.MSELoss}}")
    with pytest.raises(
        SlackoffError, match=r"task.weighting GradientBalancing balances several terms, and pixel is al"
    ):
        Checks().check(config)
    config = composed("task=multitask", "~task.terms", TERMS, "task.shared_layer=conv9")
    with pytest.raises(SlackoffError, match=r"task.shared_layer=conv9 is no module of UNet"):
        Checks().check(config)
