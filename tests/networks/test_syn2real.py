import pytest
import torch
from formula_weights import count_parameters, fill, formula_input
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import L1
from slackoff.networks import Syn2Real
from slackoff.networks.syn2real import Res2Block


def closed_form_count(w: int, groups: int) -> int:
    """Parameters, added up by hand."""

    def block(c: int) -> int:
        s = groups * (12 * c // 64)
        return 2 * c + 6 * c * s + 5 * (2 * s + 9 * s * s // groups) + 12 * s + 6 * s * c

    def transition(a: int, b: int) -> int:
        return 2 * a + a * b

    blocks = [w, 2 * w, 2 * w, 8 * w, 8 * w, 8 * w, 8 * w, 4 * w, 5 * w]
    transitions = [(2, 2), (4, 2), (2, 2), (4, 4), (4, 8), (16, 8), (16, 8), (16, 8)]
    transitions += [(2, 4), (16, 2), (2, 2), (8, 2), (2, 2), (10, 1)]
    plain = [(3, w, 9), (8 * w, 2 * w, 9), (w, w, 9), (w, 3, 9), (3, w // 2, 49), (w // 2, 3, 9)]
    count = sum(map(block, blocks)) + sum(transition(a * w, b * w) for a, b in transitions)
    return count + sum(a * b * k + b for a, b, k in plain)


@pytest.mark.parametrize(("width", "groups"), [(16, 8), (8, 2), (7, 3)])
def test_parameter_counts(width, groups):
    with torch.device("meta"):
        assert count_parameters(Syn2Real(width, groups)) == closed_form_count(width, groups)
    assert closed_form_count(16, 8) == 2_605_710


@torch.no_grad()
def test_formula_weights_give_the_figures_of_the_authors_code():
    """Which were recorded without the mapping to [-1, 1]; ``restored`` has it."""
    network, images = fill(Syn2Real(), gain=1.0), formula_input()
    features = network.encoded(images)
    clean, latent = torch.sigmoid(network.decoded(features)), features[-1]
    found = [clean.mean(), clean.std(correction=0), clean[0, 0, 0, 0], clean[0, 1, 20, 30], clean[0, 2, 39, 55]]
    expected = [0.510419, 0.00474335, 0.480362, 0.512128, 0.510931]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)
    assert latent.shape == (1, 32, 5, 7)
    assert [latent.mean().item(), latent.std(correction=0).item()] == pytest.approx([0.00300372, 0.0587675], rel=1e-4)
    mapped = network.restored((images + 1) / 2)
    torch.testing.assert_close(mapped.image, clean)
    torch.testing.assert_close(mapped.latent, latent)


@torch.no_grad()
def test_the_block_is_that_of_the_description():
    """Sixths of the channels, each with the result of the one before; the last passes through."""
    torch.manual_seed(2)
    block = fill(Res2Block(16, 8), gain=1.0).double()
    x = torch.randn(2, 16, 5, 6, dtype=torch.float64)
    wide = block.widen(torch.relu(block.norm(x)))
    assert wide.shape[1] == 6 * 24
    results = []
    for number in range(5):
        part = wide[:, 24 * number : 24 * number + 24]
        part = part + results[-1] if number else part
        results.append(block.filters[number](torch.relu(block.split_norms[number](part))))
    joined = torch.cat([*results, wide[:, 120:]], dim=1)
    result = x + block.narrow(torch.relu(block.joined_norm(joined)))
    torch.testing.assert_close(block(x), torch.cat([x, result], dim=1))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (33, 40)])
def test_any_size_is_kept(height, width):
    network = Syn2Real(8, 2).eval()
    rainy = torch.rand(2, 3, height, width)
    image, latent = network.restored(rainy)
    assert image.shape == rainy.shape
    assert latent.shape == (2, 16, -(-height // 8), -(-width // 8))
    assert torch.equal(network(rainy), image)
    assert torch.equal(network.latent(rainy), latent)
    assert 0 < image.min() < image.max() < 1


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = Syn2Real(8, 2).double()
    rainy, background = torch.rand(2, 2, 3, 16, 16, dtype=torch.float64)
    L1()(network, rainy, background).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert isinstance(network.get_submodule(Syn2Real.shared_layer), nn.Conv2d)


@torch.no_grad()
def test_bf16_and_channels_last_give_about_the_same():
    network, rainy = fill(Syn2Real(), gain=1.0), formula_input()
    expected = network(rainy)
    last = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(rainy.contiguous(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = last(rainy)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 5}, r"network\.width=5 must be at least 6"),
        ({"groups": 0}, r"network\.groups=0 must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        Syn2Real(**options)
