import pytest
import torch
from formula_weights import count_parameters, fill, formula_input
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.networks import ResNet


@pytest.mark.parametrize(
    ("channels", "blocks", "count"),
    [(64, 16, 1_222_147), (24, 4, 672 + 8 * 5208 + 5208 + 651), (1, 1, 28 + 20 + 10 + 30)],
)
def test_parameter_counts(channels, blocks, count):
    assert count_parameters(ResNet(channels, blocks)) == count


@torch.no_grad()
def test_formula_weights_give_the_recorded_output():
    y = fill(ResNet(), gain=0.3)(formula_input())
    assert y.shape == (1, 3, 40, 56)
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    # The deviation was recorded with three digits only.
    expected = [0.539771, 0.270, 0.641318, 0.746285, 0.093644]
    for value, recorded, tolerance in zip(found, expected, [1e-4, 2e-3, 1e-4, 1e-4, 1e-4], strict=True):
        assert value.item() == pytest.approx(recorded, rel=tolerance)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (33, 64)])
def test_any_size_is_kept(height, width):
    assert ResNet(4, 2)(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)


@torch.no_grad()
def test_global_residual_adds_the_input():
    rainy = torch.rand(2, 3, 12, 12)
    residual, direct = (fill(ResNet(4, 2, global_residual=flag), 1.0) for flag in (True, False))
    torch.testing.assert_close(residual(rainy) - direct(rainy), rainy)


def test_gradients_reach_every_parameter():
    network = ResNet(8, 3)
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@torch.no_grad()
def test_receptive_field_is_one_pixel_a_convolution():
    """3 + 2 * 16 convolutions reach 35 px and no further."""
    network = ResNet(2, 16, global_residual=False).double()
    for parameter in network.parameters():
        parameter.fill_(0.1 if parameter.dim() > 1 else 0.0)
    picture = torch.zeros(1, 3, 1, 101, dtype=torch.float64)
    picture[..., 50] = 1.0
    touched = network(picture)[0, 0, 0].nonzero().flatten()
    assert (touched.min().item(), touched.max().item()) == (50 - 35, 50 + 35)


def test_start_is_a_tenth_of_kaiming_normal():
    torch.manual_seed(0)
    for name, module in ResNet().named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        values = module.weight.detach()
        deviation = 0.1 * (2 / (9 * module.in_channels)) ** 0.5
        sampling = 5 / (2 * values.numel()) ** 0.5  # five standard errors of a deviation, relative
        assert values.std().item() == pytest.approx(deviation, rel=sampling), name
        assert values.mean().abs().item() < 5 * deviation / values.numel() ** 0.5, name
        # A normal law, not a uniform one: 4.6 % lie beyond two deviations.
        assert (values.abs() > 2 * deviation).double().mean().item() == pytest.approx(0.0455, abs=0.02), name
        assert module.bias is not None
        assert module.bias.abs().max() == 0, name


@torch.no_grad()
def test_an_untrained_network_starts_close_to_the_identity():
    torch.manual_seed(0)
    rainy = torch.rand(1, 3, 32, 32)
    assert (ResNet()(rainy) - rainy).abs().max() < 0.05


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-3, 2)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(SlackoffError, match=r"network\.channels=.* and network\.blocks="):
        ResNet(*sizes)
