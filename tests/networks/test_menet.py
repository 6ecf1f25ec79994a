import copy

import pytest
import torch
from descent import check_bf16_gradients, check_descent
from formula_weights import count_parameters, formula_input
from menet_reference import fold, restore, unfold

from slackoff.errors import SlackoffError
from slackoff.losses import L1
from slackoff.networks import MENET
from slackoff.networks.menet import ChannelAttention

SMALL = {"width": 8, "blocks": 2}
PLAIN = {"attention": False}


@torch.no_grad()
def drawn(**options) -> MENET:
    """Seeded weights by which every layer counts, and running averages that are not 0 and 1."""
    network = MENET(**options).double().eval()
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", ".1.weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", ".1.bias")):
            tensor.normal_(std=0.5)
        elif name == "layer5.weight":
            tensor.normal_(std=15 / tensor[0].numel() ** 0.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=1 / tensor[0].numel() ** 0.5)
    network.layer1[1].running_var.mul_(100**2)  # of an image in 0..255
    return network


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return (a - b).abs().mean().item()


def by_hand(width: int, blocks: int, attention: bool) -> int:
    half, quarter = width // 4, width
    convolutions = [(12, half, 3), (quarter, quarter, 3), (quarter, quarter, 3), (half, half, 3)]
    convolutions += 2 * blocks * [(quarter, quarter, 3)]
    if attention:
        convolutions += 2 * [(4 * quarter, quarter, 1)] + 3 * [(quarter, quarter, 3)]
    return sum(side**2 * a * b + 2 * b for a, b, side in convolutions) + 9 * half * 12


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 815_680),
        (PLAIN, 671_680),
        ({"blocks": 16}, 1_407_552),
        ({"width": 32, "blocks": 4}, by_hand(32, 4, True)),
        ({"width": 12, "blocks": 1} | PLAIN, by_hand(12, 1, False)),
    ],
)
def test_parameters_are_those_of_the_authors_networks(options, count):
    assert count_parameters(MENET(**options)) == count
    assert by_hand(64, 8, True) == 815_680


def test_folding_back_what_was_folded_gives_the_same():
    """desubpixel(subpixel(x)) = x, and the other way round; the order of channels is the reference's."""
    network = MENET(**SMALL)
    image = torch.arange(2 * 12 * 4 * 6.0).view(2, 12, 4, 6)
    assert torch.equal(network.fold(network.unfold(image)), image)
    assert torch.equal(network.unfold(network.fold(image)), image)
    assert torch.equal(network.fold(image), fold(image))
    assert torch.equal(network.unfold(image), unfold(image))


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, PLAIN, SMALL, SMALL | PLAIN, {"width": 16, "blocks": 1}])
@pytest.mark.parametrize("training", [False, True])
def test_the_output_is_that_of_the_reference(options, training):
    """In training mode the norms use the batch; else their running averages."""
    network = drawn(**options).train(training)
    rainy = formula_input()[..., :32, :48].double().clamp(0, 1)
    rainy = torch.cat([rainy, 0.6 * rainy.flip(2)])
    expected = restore(rainy, copy.deepcopy(network.state_dict()), training)
    assert difference(expected, rainy) > 0.02
    assert ((expected > 0) & (expected < 1)).double().mean() > 0.4
    torch.testing.assert_close(network(rainy), expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_skips_attention_and_mode_show_in_the_output():
    """With the same weights; else the comparison above would not see it."""
    rainy = formula_input()[..., :32, :48].double().clamp(0, 1)
    network = drawn()
    plain = network(rainy)
    without = drawn(**PLAIN)
    without.load_state_dict(network.state_dict(), strict=False)
    assert difference(without(rainy), plain) > 1e-3
    assert difference(copy.deepcopy(network).train()(rainy), plain) > 1e-3
    for skip, place in (("layer1", "layer4"), ("layer2", "layer3")):
        kept = {}
        hooks = [
            getattr(network, skip).register_forward_hook(lambda module, args, out, kept=kept: kept.update(out=out)),
            getattr(network, place).register_forward_pre_hook(lambda module, args, kept=kept: (args[0] - kept["out"],)),
        ]
        assert difference(network(rainy), plain) > 1e-3, skip
        assert kept["out"].min() < 0, "a skip starts before the ReLU"
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def test_attention_scales_channels_between_one_and_two():
    attention = ChannelAttention(6).double().eval()
    attention.excitation[1].bias.copy_(torch.linspace(-2, 2, 6))
    x = torch.rand(2, 6, 8, 12, dtype=torch.float64)
    scale = attention(x) / x
    assert scale.amin() > 1
    assert scale.amax() < 2
    torch.testing.assert_close(scale, scale.mean((2, 3), keepdim=True).expand_as(scale))
    expected = 1 + torch.sigmoid(torch.linspace(-2, 2, 6, dtype=torch.float64))
    torch.testing.assert_close(scale[:, :, 0, 0], expected.expand(2, 6), rtol=0, atol=0.01)


@torch.no_grad()
@pytest.mark.parametrize("options", [SMALL, SMALL | PLAIN])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 17), (16, 16), (33, 50), (321, 20)])
def test_any_size_is_kept(options, height, width):
    y = MENET(**options).eval()(torch.rand(2, 3, height, width))
    assert y.shape == (2, 3, height, width)
    assert 0 <= y.min() <= y.max() <= 1


@torch.no_grad()
@pytest.mark.parametrize(("options", "multiple"), [(SMALL, 16), (SMALL | PLAIN, 4)])
def test_padding_mirrors_the_right_and_lower_border(options, multiple):
    network = drawn(**options)
    rainy = formula_input()[..., :30, :41].double().clamp(0, 1)
    mirrored = torch.nn.functional.pad(rainy, (0, -41 % multiple, 0, -30 % multiple), mode="reflect")
    state = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(network(rainy), restore(mirrored, state)[..., :30, :41], rtol=0, atol=1e-10)


def test_a_pixel_beyond_the_range_has_no_gradient():
    """The residual that training would have to lower is not lowered where the output is clipped."""
    network = drawn(**SMALL)
    rainy = formula_input()[..., :32, :48].double().clamp(0, 1).requires_grad_()
    captured: dict[str, torch.Tensor] = {}

    def keep(module, args, out):
        out.retain_grad()
        captured["residual"] = out

    network.layer5.register_forward_hook(keep)
    output = network(rainy)
    output.sum().backward()
    gradient = network.unfold(captured["residual"].grad)
    whole = rainy.detach() + network.unfold(captured["residual"].detach()) / 255
    clipped = (whole < 0) | (whole > 1)
    assert 0.01 < clipped.double().mean() < 0.9
    assert gradient[clipped].abs().max() == 0
    torch.testing.assert_close(gradient[~clipped], torch.full_like(gradient[~clipped], 1 / 255))


def test_untrained_it_nearly_gives_the_input_back():
    """Residuals start at about one grey level: 0.88 with normalised features and TensorFlow 1.8's start."""
    torch.manual_seed(0)
    network = MENET()
    rainy = 0.1 + 0.8 * torch.rand(4, 3, 64, 64)
    change = 255 * (network(rainy) - rainy)
    assert 0.3 < change.std().item() < 2


def test_it_starts_as_tensorflow_starts_it():
    """Cut at two standard deviations and not widened for it; 0.0962250 is the number in the authors' graph."""
    torch.manual_seed(0)
    network = MENET()
    cut = 0.8796256610342398  # standard deviation of a standard normal that is cut at -2 and 2
    weights = {name: p for name, p in network.named_parameters() if p.dim() == 4}
    assert len(weights) == 16 + 5 + 5
    for name, weight in weights.items():
        std = weight[0].numel() ** -0.5
        assert weight.abs().max().item() <= 2 * std, name
        assert weight.std().item() == pytest.approx(cut * std, rel=0.05), name
    assert weights["layer1.0.weight"].abs().max().item() == pytest.approx(2 * 0.0962250, rel=0.01)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    assert len(norms) == len(weights) - 1


def test_training_moves_the_running_averages_by_a_hundredth():
    network = MENET(**SMALL).double()
    rainy = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    features = network.layer1[0](fold(255 * rainy))
    network(rainy)
    torch.testing.assert_close(network.layer1[1].running_mean, 0.01 * features.mean((0, 2, 3)))


@torch.no_grad()
def test_in_evaluation_an_image_does_not_depend_on_those_beside_it():
    network = drawn(**SMALL)
    rainy = torch.rand(3, 3, 16, 32, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(network(rainy)[:1], network(rainy[:1]))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_gradients_reach_every_parameter():
    """On pixels that stay inside the range."""
    torch.manual_seed(0)
    network = MENET(**SMALL).double()
    network(0.3 + 0.4 * torch.rand(4, 3, 32, 32, dtype=torch.float64)).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_the_shared_layer_is_the_last_convolution():
    network = MENET()
    shared = network.get_submodule(MENET.shared_layer)
    assert shared is network.layer5
    assert shared.weight.shape == (12, 16, 3, 3)


@torch.no_grad()
def test_under_autocast_the_output_has_the_type_of_the_images():
    network = drawn().float()
    rainy = formula_input()[..., :32, :48].clamp(0, 1)
    exact = network(rainy)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(rainy)
    assert found.dtype == torch.float32
    assert 0 < difference(found, exact) < 0.004  # a grey level; the residual itself is fifteen


@torch.no_grad()
def test_autocast_does_not_round_the_image():
    """Only the residual is computed in half precision: without one the input comes back bit for bit."""
    network = MENET(**SMALL).eval()
    network.layer5.weight.zero_()
    rainy = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(rainy), rainy)


@torch.no_grad()
def test_channels_last_gives_the_same():
    network, rainy = drawn(**SMALL), formula_input().double()
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)(rainy.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, network(rainy))


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    rainy = formula_input()[..., :32, :48].clamp(0, 1)
    check_descent(MENET(16, 2), L1(), rainy, rainy * 0.9)


def test_bf16_gradients_point_where_exact_ones_do():
    torch.manual_seed(0)
    rainy = formula_input()[..., :32, :48].clamp(0, 1)
    check_bf16_gradients(MENET(16, 2), L1(), rainy, rainy * 0.9)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "network.width=0 must be a multiple of 4 from 4 up"),
        ({"width": 30}, "network.width=30 must be a multiple of 4 from 4 up"),
        ({"blocks": 0}, "network.blocks=0 must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError) as refused:
        MENET(**options)
    assert str(refused.value) == sentence
