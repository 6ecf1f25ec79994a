import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from descent import check_bf16_gradients, check_descent
from formula_weights import count_parameters, fill, formula_input
from moss_reference import restore

from slackoff.errors import SlackoffError
from slackoff.losses import L1
from slackoff.networks import MOSS

SMALL = {"width": 4, "growth": 3, "stages": 3, "blocks": 2, "downscalings": 2, "memory_items": 7}


@torch.no_grad()
def drawn(**options) -> MOSS:
    """Seeded weights by which every layer counts; float64, since so deep a network magnifies rounding."""
    network = MOSS(**options).double().eval()
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name == "memory.table":
            tensor.add_(1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.8 / max(tensor[0].numel(), 9) ** 0.5)
    return network


@torch.no_grad()
def formula_weights(**options) -> MOSS:
    """What the recorded figures were recorded with: running averages from a formula, too."""
    network = fill(MOSS(**options), gain=1.2).double()
    assert isinstance(network, MOSS)
    for name, buffer in network.named_buffers():
        number = torch.arange(buffer.numel(), dtype=torch.float64)
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.sin(2 + 0.3 * number))
        if name.endswith("running_var"):
            buffer.copy_(1 + 0.5 * torch.sin(3 + 0.3 * number))
    return network


def by_hand(width=16, growth=16, stages=5, blocks=4, memory_items=512, cbn_gate=True, wide_width=True) -> int:
    widths = [width + growth * stage for stage in range(stages + 1)]
    count = 9 * 3 * width + 9 * 3 * width + 3 + memory_items * widths[-1]
    for a, b in [*pairwise(widths), *pairwise(reversed(widths))]:
        middle = max(a, b) if wide_width else b
        count += 9 * a * middle + 9 * middle * b + a * b + (blocks - 1) * 2 * 9 * b * b
    return count + sum(2 * n * n + (3 * n if cbn_gate else 0) for n in widths[1:-1])


@pytest.mark.parametrize(
    "options",
    [
        {"cbn_gate": False},
        {"wide_width": False},
        {"width": 5, "growth": 3, "stages": 2, "blocks": 1, "memory_items": 11},
    ],
)
def test_parameters_are_those_counted_by_hand(options):
    with torch.device("meta"):
        assert count_parameters(MOSS(**({"downscalings": 2} | options))) == by_hand(**options)


@pytest.mark.parametrize(("items", "count"), [(512, 2_855_939), (0, 2_806_787)])
def test_the_published_network_has_the_recorded_number_of_parameters(items, count):
    with torch.device("meta"):
        assert count_parameters(MOSS(memory_items=items)) == count == by_hand(memory_items=items)


@torch.no_grad()
@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (0.999, [0.51017925, 0.41820676, 0.99375190, 0.42680943, 0.0027323028]),
        (0.3, [0.51018016, 0.41821323, 0.99375451, 0.42732370, 0.0027320285]),
    ],
)
def test_formula_weights_give_the_recorded_output(decay, expected):
    """Recorded with another build of the network, which updates its memory in evaluation, too."""
    y = formula_weights(memory_update_in_eval=True, memory_decay=decay)(formula_input().double())
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory_update_in_eval": True, "memory_decay": 0.3},
        {"memory_items": 0},
        {"skip": False},
        {"cbn_gate": False},
        {"wide_width": False},
        SMALL,
        SMALL | {"downscalings": 0},
        SMALL | {"downscalings": 3, "blocks": 1},
    ],
)
def test_the_output_is_that_of_the_numpy_reference(options):
    network = drawn(**options)
    rainy = formula_input()[..., :24, :32].double()
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    shape = {name: options[name] for name in ("stages", "blocks", "downscalings", "skip") if name in options}
    decay = options.get("memory_decay")
    expected = restore(rainy[0].numpy(), state, **shape, decay=decay)
    assert expected.std() > 0.05
    assert np.median(expected * (1 - expected)) > 0.01
    np.testing.assert_allclose(network(rainy)[0].numpy(), expected, atol=1e-8)


@torch.no_grad()
def test_each_option_shows_in_the_output():
    """With the same weights; else the comparisons above would not see it."""
    rainy = formula_input().double()
    plain = drawn()(rainy)
    updating = {"memory_update_in_eval": True, "memory_decay": 0.3}
    for options in (updating, {"memory_temperature": 0.1}, {"memory_items": 0}, {"skip": False}):
        assert (drawn(**options)(rainy) - plain).abs().max() > 1e-3, options


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 17), (8, 8), (33, 50)])
def test_any_size_is_kept(height, width):
    y = MOSS(**SMALL).eval()(torch.rand(2, 3, height, width))
    assert y.shape == (2, 3, height, width)
    assert 0 <= y.min() <= y.max() <= 1


@torch.no_grad()
def test_padding_mirrors_the_right_and_lower_border():
    network = drawn(**SMALL)
    rainy = formula_input()[..., :30, :41].double()
    mirrored = torch.nn.functional.pad(rainy, (0, 3, 0, 2), mode="reflect")
    torch.testing.assert_close(network(rainy), network(mirrored)[..., :30, :41])


@torch.no_grad()
def test_channels_last_gives_the_same():
    network, rainy = drawn(**SMALL), formula_input().double()
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)(rainy.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, network(rainy))


def test_it_starts_as_the_paper_does():
    torch.manual_seed(0)
    network = MOSS()
    weights = {name: p for name, p in network.named_parameters() if p.dim() == 4}
    neutral = {name for name in weights if name.endswith(("gamma.weight", "beta.weight", ".scale", ".shift"))}
    assert len(neutral) == 4 * 4
    for name, weight in weights.items():
        spread = weight.std(correction=0).item()
        assert spread == (0 if name in neutral else pytest.approx(0.02, rel=0.25)), name
    assert network.tail.bias.tolist() == [0, 0, 0]
    table = network.memory.table
    assert table.mean().item() == pytest.approx(0, abs=0.02)
    assert table.std().item() == pytest.approx(1, abs=0.02)


def test_weights_may_start_as_torch_draws_them():
    torch.manual_seed(0)
    network = MOSS(initial_std=None)
    head = network.head.weight  # uniform up to 1 / sqrt(inputs), that is to 1 / sqrt(27)
    assert head.abs().max().item() == pytest.approx(27**-0.5, rel=0.02)
    assert head.std().item() == pytest.approx((27 * 3) ** -0.5, rel=0.05)
    fusion = network.fusions[0]
    assert all(not parameter.any() for parameter in (fusion.gamma.weight, fusion.beta.weight))
    with pytest.raises(SlackoffError, match=r"network.initial_std=0.0 must be above 0"):
        MOSS(initial_std=0.0)


def test_with_and_without_memory_a_seed_gives_the_same_weights():
    states = []
    for items in (7, 0):
        torch.manual_seed(3)
        states.append(MOSS(**(SMALL | {"memory_items": items})).state_dict())
    assert set(states[0]) - set(states[1]) == {"memory.table"}
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_evaluation_stores_nothing_and_does_not_depend_on_the_images_beside():
    network = drawn(**SMALL)
    before = copy.deepcopy(network.state_dict())
    rainy = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    together = network(rainy)
    torch.testing.assert_close(together[:1], network(rainy[:1]))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.train()(rainy)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {"memory.table"} | {name for name in before if ".running_" in name or ".num_batches" in name}


def test_two_batches_before_one_backward_pass():
    """As a step of semi-supervised training has them; the table that the first one read may not be lost."""
    torch.manual_seed(0)
    network = drawn(**SMALL).train()
    first, second = torch.rand(2, 4, 3, 16, 16, dtype=torch.float64)
    apart = copy.deepcopy(network)
    state = torch.get_rng_state()
    (network(first).square().mean() + network(second).square().mean()).backward()
    torch.set_rng_state(state)
    for batch in (first, second):
        apart(batch).square().mean().backward()
    for (name, a), (_, b) in zip(network.named_parameters(), apart.named_parameters(), strict=True):
        if name == "memory.table":
            assert torch.equal(a, b)
        else:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize("options", [{}, {"memory_items": 0}, {"skip": False}, {"cbn_gate": False}])
def test_gradients_reach_every_parameter_but_the_memory(options):
    torch.manual_seed(0)
    network = drawn(**(SMALL | options)).train()
    network(torch.rand(8, 3, 16, 16, dtype=torch.float64)).square().mean().backward()
    dead = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead == ({"memory.table"} if network.state_dict().get("memory.table") is not None else set())


@torch.no_grad()
def test_under_autocast_the_output_has_the_type_of_the_images():
    network, rainy = drawn(**SMALL).float(), formula_input()
    exact = network(rainy)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(rainy)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().mean() < 0.01


@torch.no_grad()
def test_it_runs_without_data():
    """Counting operations needs no images."""
    with torch.device("meta"):
        assert MOSS(**SMALL).eval()(torch.rand(1, 3, 9, 9)).shape == (1, 3, 9, 9)


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    rainy = torch.rand(4, 3, 16, 16)
    check_descent(MOSS(8, 4, 3, 1, 2, 32), L1(), rainy, rainy * 0.7)


def test_bf16_gradients_point_where_exact_ones_do():
    torch.manual_seed(0)
    rainy = torch.rand(4, 3, 16, 16)
    check_bf16_gradients(MOSS(8, 4, 3, 1, 2, 32), L1(), rainy, rainy * 0.7)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        *(({key: 0}, f"network.{key}=0 must be at least 1") for key in ("width", "stages", "blocks")),
        *(({key: -1}, f"network.{key}=-1 must be at least 0") for key in ("growth", "memory_items")),
        ({"downscalings": 6}, "network.downscalings=6 must lie between 0 and network.stages=5"),
        ({"downscalings": -1}, "network.downscalings=-1 must lie between 0 and network.stages=5"),
        ({"memory_decay": 1.5}, "network.memory_decay=1.5 must lie in [0, 1]"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError) as refused:
        MOSS(**options)
    assert str(refused.value) == sentence
