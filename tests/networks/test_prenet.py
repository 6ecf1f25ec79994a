import copy

import pytest
import torch
from formula_weights import count_parameters, formula_input
from prenet_reference import restore

from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.errors import SlackoffError
from slackoff.losses import NegativeSSIM
from slackoff.networks import PReNet

FAMILY = {
    "prenet": {},
    "prenet_r": {"share_blocks": True},
    "prn": {"unit": "none"},
    "prn_r": {"unit": "none", "share_blocks": True},
    "prenet_lstm": {"add_input": False},
    "prenet_gru": {"unit": "gru", "add_input": False},
    "prenet_x": {"add_input": False, "see_rainy": False},
}


@pytest.mark.parametrize(
    ("member", "count"),
    [
        ("prenet", 168_963),
        ("prenet_r", 94_979),
        ("prn", 95_107),
        ("prn_r", 21_123),
        ("prenet_lstm", 168_963),
        ("prenet_gru", 150_499),
        ("prenet_x", 168_099),
    ],
)
def test_parameter_counts(member, count):
    with torch.device("meta"):
        assert count_parameters(PReNet(**FAMILY[member])) == count


@torch.no_grad()
@pytest.mark.parametrize("member", FAMILY)
def test_every_stage_is_that_of_plain_functions(member):
    torch.manual_seed(3)
    network = PReNet(4, 5, 3, **FAMILY[member]).double()
    for parameter in network.parameters():
        parameter.copy_(0.3 * torch.randn_like(parameter))  # large enough that gates and ReLUs matter
    rainy = torch.rand(2, 3, 11, 9, dtype=torch.float64)
    uses = 3 if network.block_uses == 3 else 1
    expected = restore(rainy, network.state_dict(), 4, uses, network.add_input)
    found = network.stages(rainy).backgrounds
    assert len(found) == len(expected) == 4
    for estimate, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(estimate, reference, rtol=1e-10, atol=1e-10)
    assert (expected[3] - expected[2]).abs().max() > 1e-3


@torch.no_grad()
def test_the_result_is_the_last_stage_and_not_clipped():
    network = PReNet(3, 4, 1)
    torch.nn.init.constant_(network.output.bias, 5.0)
    rainy = formula_input()
    assert torch.equal(network(rainy), network.stages(rainy).backgrounds[-1])
    assert network(rainy).min() > 1
    assert network.stages(rainy).rains == ()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 5), (33, 16)])
def test_any_size_is_kept(height, width):
    stages = PReNet(2, 4, 2).stages(torch.rand(2, 3, height, width))
    assert [tuple(image.shape) for image in stages.backgrounds] == [(2, 3, height, width)] * 2


@torch.no_grad()
@pytest.mark.parametrize("unit", ["lstm", "gru", "none"])
def test_under_autocast_images_stay_float32_and_close(unit):
    torch.manual_seed(0)
    network, rainy = PReNet(6, 16, 2, unit), formula_input()
    with torch.autocast("cpu", torch.bfloat16):
        found = network(rainy)
    assert found.dtype == torch.float32
    assert 0 < 255 * (found - network(rainy)).abs().max().item() < 1


@torch.no_grad()
def test_channels_last_gives_the_same():
    torch.manual_seed(0)
    network, rainy = PReNet(3, 8, 2), formula_input()
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)(rainy.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, network(rainy), rtol=0, atol=1e-5)


@pytest.mark.parametrize("member", FAMILY)
def test_gradients_reach_every_parameter(member):
    torch.manual_seed(0)
    network = PReNet(3, 8, 2, **FAMILY[member])
    network(torch.rand(2, 3, 12, 12)).mean().backward()
    untouched = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"stages": 0}, r"network\.stages=0 must be at least 1"),
        ({"channels": 0}, r"network\.channels=0"),
        ({"blocks": 0}, r"network\.blocks=0"),
        ({"unit": "rnn"}, r"network\.unit=rnn is not known: choose one of lstm, gru, none"),
    ],
)
def test_impossible_choices_are_refused(arguments, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        PReNet(**arguments)


@pytest.mark.parametrize("weights", ["null", "[0.5,0.5,1.5]"])
def test_the_recipe_drops_the_rate_where_the_authors_do(composed, weights):
    """At epochs 30, 50 and 80 of 100, by 0.2 each."""
    overrides = ["network=prenet_small", "task=prenet", "schedule.steps=100", f"task.loss.weights={weights}"]
    config = composed(*overrides)
    Checks().check(config)
    task = build.build_task(config, build.build_network(config))
    assert isinstance(task.loss, NegativeSSIM)
    assert task.loss.weights == (None if weights == "null" else (0.5, 0.5, 1.5))
    optimizer = torch.optim.Adam(task.trained_parameters(), task.learning_rate, task.betas)
    schedule = task.decay.schedule(optimizer, task.steps)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [rates[step] for step in (0, 29, 30, 49, 50, 79, 80, 99)] == pytest.approx(
        [1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6, 8e-6]
    )
    assert optimizer.defaults["betas"] == (0.9, 0.999)
