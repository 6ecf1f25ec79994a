import pytest
import torch
from formula_weights import count_parameters, fill, formula_input

from slackoff.errors import SlackoffError
from slackoff.networks import UNet


@pytest.mark.parametrize(
    ("width", "levels", "count"),
    [(32, 5, 7_760_163), (64, 5, 31_031_875), (32, 4, 1_925_667), (16, 4, 482_067), (4, 1, 112 + 148 + 15)],
)
def test_parameter_counts(width, levels, count):
    with torch.device("meta"):
        assert count_parameters(UNet(width, levels)) == count


@pytest.fixture(scope="module")
def filled() -> UNet:
    network = fill(UNet(), gain=1.0)
    assert isinstance(network, UNet)
    return network


@torch.no_grad()
def test_formula_weights_give_the_recorded_output(filled):
    y = filled(formula_input())
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    expected = [0.564994, 0.282489, 0.774376, 0.660813, 0.168668]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_formula_weights_give_the_recorded_output_where_the_size_must_be_padded(filled):
    y = filled(formula_input()[:, :, :37, :53])
    assert y.shape == (1, 3, 37, 53)
    assert [y[0, 0, 0, 0].item(), y[0, 1, 20, 30].item()] == pytest.approx([0.774376, 0.660802], rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 15), (33, 50), (64, 8)])
def test_any_size_is_kept(height, width):
    assert UNet(2, 4)(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)


@torch.no_grad()
def test_padding_mirrors_the_right_and_lower_border():
    network = fill(UNet(4, 3), gain=1.0)
    rainy = torch.rand(1, 3, 30, 41)
    mirrored = torch.nn.functional.pad(rainy, (0, 3, 0, 2), mode="reflect")
    torch.testing.assert_close(network(rainy), network(mirrored)[..., :30, :41])


@torch.no_grad()
def test_global_residual_adds_the_input():
    rainy = torch.rand(2, 3, 13, 16)
    residual, direct = (fill(UNet(4, 3, global_residual=flag), 1.0) for flag in (True, False))
    torch.testing.assert_close(residual(rainy) - direct(rainy), rainy)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = UNet(4, 4)
    network(torch.rand(2, 3, 24, 24)).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-3, 2)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(SlackoffError, match=r"network\.width=.* and network\.levels="):
        UNet(*sizes)
