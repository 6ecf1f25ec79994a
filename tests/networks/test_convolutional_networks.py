"""What is particular to ResNet, DDN, DRD-Net, MENET and Syn2Real: their equations, written out, and their start."""

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_tester import fill, formula_input
from scipy.ndimage import correlate, uniform_filter
from torch import Tensor, nn

from slackoff.networks import DDN, MENET, DRDNet, Syn2Real
from slackoff.networks.syn2real import Res2Block


def ddn_layer(x: np.ndarray, state: Mapping[str, np.ndarray], name: str, batch: bool, eps: float) -> np.ndarray:
    """Convolution and norm of (N, C, H, W)."""
    kernels, bias = state[f"{name}.0.weight"], state[f"{name}.0.bias"]
    y = np.stack([[correlate(image, k, mode="constant")[len(k) // 2] for k in kernels] for image in x])
    y += bias[:, None, None]
    if batch:
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3))
    else:
        mean, variance = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
    scale = state[f"{name}.1.weight"] / np.sqrt(variance + eps)
    return (y - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.1.bias"][:, None, None]


def box(x: np.ndarray, radius: int) -> np.ndarray:
    side = (1, 1, 2 * radius + 1, 2 * radius + 1)
    return uniform_filter(x, side, mode="constant") / uniform_filter(np.ones_like(x), side, mode="constant")


def ddn(
    rainy: np.ndarray,
    state: Mapping[str, np.ndarray],
    pairs: int,
    skip: str = "pairwise",
    batch: bool = False,
    eps: float = 1e-3,
) -> np.ndarray:
    """(N, 3, H, W) in [0, 1] to the same; the guided filter has radius 15 and eps 1."""
    mean = box(rainy, 15)
    a = (variance := box(rainy**2, 15) - mean**2) / (variance + 1)
    detail = rainy - (box(a, 15) * rainy + box(mean - a * mean, 15))
    s = start = np.maximum(ddn_layer(detail, state, "first", batch, eps), 0)
    for pair in range(pairs):
        inner = s
        for number in (2 * pair, 2 * pair + 1):
            inner = np.maximum(ddn_layer(inner, state, f"layers.{number}", batch, eps), 0)
        s = s + inner if skip == "pairwise" else inner
    if skip == "long":
        s = s + start
    return rainy + ddn_layer(s, state, "last", batch, eps)


State = Mapping[str, Tensor]


def convolve_dilated(x: Tensor, state: State, name: str, dilation: int = 1) -> Tensor:
    kernel = state[f"{name}.weight"]
    border = dilation * (kernel.shape[-1] // 2)
    return F.conv2d(x, kernel, state[f"{name}.bias"], padding=border, dilation=dilation)


def normalise(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt()
    return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def prelu(x: Tensor, slopes: Tensor) -> Tensor:
    return torch.where(x > 0, x, slopes[:, None, None] * x)


def aggregate(x: Tensor, state: State, name: str) -> Tensor:
    dilated = [convolve_dilated(x, state, f"{name}.branches.{k}", dilation) for k, dilation in enumerate((1, 3, 5))]
    return convolve_dilated(torch.cat(dilated, 1), state, f"{name}.merge")


def excite(x: Tensor, state: State, name: str) -> Tensor:
    v = F.relu(x.mean((2, 3)) @ state[f"{name}.squeeze.weight"].T) @ state[f"{name}.excite.weight"].T
    return x * torch.minimum(torch.maximum(0.2 * v + 0.5, torch.zeros_like(v)), torch.ones_like(v))[:, :, None, None]


def sub_network(image: Tensor, state: State, name: str, training: bool) -> Tensor:
    detail = name == "detail"
    operation = aggregate if detail else convolve_dilated
    x = start = prelu(convolve_dilated(image, state, f"{name}.head.0"), state[f"{name}.head.1.weight"])
    blocks = len({key.split(".")[2] for key in state if key.startswith(f"{name}.blocks.")})
    for body in (f"{name}.blocks.{number}" for number in range(blocks)):
        y = normalise(operation(x, state, f"{body}.0"), state, f"{body}.1", training)
        y = operation(prelu(y, state[f"{body}.2.weight"]), state, f"{body}.3")
        y = normalise(y, state, f"{body}.4", training)
        x = x + (y if detail else excite(y, state, f"{body}.5"))
    x = normalise(convolve_dilated(x, state, f"{name}.tail.0"), state, f"{name}.tail.1", training)
    return convolve_dilated(start + x, state, f"{name}.output")


def drd_net(rainy: Tensor, state: State, detail_input: str = "sum", training: bool = False) -> tuple[Tensor, Tensor]:
    """The two backgrounds of (N, 3, H, W) in [0, 1]."""
    first = rainy - sub_network(rainy, state, "rain", training)
    seen = first + rainy if detail_input == "sum" else rainy
    return first, first + sub_network(seen, state, "detail", training)


def fold(x: Tensor) -> Tensor:
    """Channel c * 4 + dy * 2 + dx of the result is pixel (dy, dx) of each 2x2 square of channel c."""
    places = [(dy, dx) for dy in (0, 1) for dx in (0, 1)]
    stacked = torch.stack([x[:, :, dy::2, dx::2] for dy, dx in places], dim=2)
    return stacked.flatten(1, 2)


def unfold(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    result = x.new_empty(n, channels // 4, 2 * height, 2 * width)
    for place in range(4):
        result[:, :, place // 2 :: 2, place % 2 :: 2] = x[:, place::4]
    return result


def convolve(x: Tensor, state: State, name: str) -> Tensor:
    kernel = state[f"{name}.weight"]
    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)


def menet(rainy: Tensor, state: State, training: bool = False) -> Tensor:
    """(N, 3, H, W) in [0, 1] to the same; attention and the number of blocks are as in ``state``."""

    def layer(x: Tensor, name: str) -> Tensor:
        return normalise(convolve(x, state, f"{name}.0"), state, f"{name}.1", training)

    image = 255 * rainy
    n1 = layer(fold(image), "layer1")
    n2 = layer(fold(F.relu(n1)), "layer2")
    x = F.relu(n2)
    if "attention.excitation.0.weight" in state:
        a = F.relu(layer(F.relu(layer(fold(x), "attention.squeeze1")), "attention.layer1"))
        a = F.relu(layer(F.relu(layer(fold(a), "attention.squeeze2")), "attention.layer2"))
        a = 1 / (1 + torch.exp(-layer(a, "attention.excitation").mean((2, 3), keepdim=True)))
        x = x + x * a
    blocks = sum(name.startswith("blocks.") and name.endswith(".0.0.weight") for name in state)
    for number in range(blocks):
        inner = F.relu(layer(x, f"blocks.{number}.0"))
        x = x + layer(inner, f"blocks.{number}.2")
        if number < blocks - 1:
            x = F.relu(x)
    x = unfold(layer(n2 + x, "layer3"))
    x = layer(n1 + x, "layer4")
    x = unfold(convolve(x, state, "layer5"))
    return (image + x).clamp(0, 255) / 255


def disturbed_ddn(network: DDN) -> DDN:
    """With scales, biases and averages that are all different, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.bias, std=0.2, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
            if module.running_mean is not None:
                nn.init.normal_(module.running_mean, std=0.2, generator=generator)
                nn.init.uniform_(module.running_var, 0.2, 2, generator=generator)
    return network


@torch.no_grad()
@pytest.mark.parametrize("skip", ["pairwise", "long"])
@pytest.mark.parametrize(("norm", "training"), [("running", False), ("running", True), ("batch", False)])
def test_ddn_equals_a_build_in_numpy(skip, norm, training):
    torch.manual_seed(0)
    network = disturbed_ddn(DDN(5, 3, skip=skip, norm=norm, eps=0.01)).train(training)
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
    rainy = torch.rand(2, 3, 20, 33)
    batch = training or norm == "batch"
    expected = ddn(rainy.numpy().astype(np.float64), state, 3, skip, batch, eps=0.01)
    np.testing.assert_allclose(network(rainy).numpy(), expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_the_chain_of_ddn_sees_the_detail_alone():
    """A flat image has none: whatever its colour, the same is added to it."""
    network = disturbed_ddn(DDN(4, 1)).eval()
    levels = torch.tensor([0.1, 0.8]).view(2, 1, 1, 1).expand(2, 3, 40, 40)
    dark, bright = network(levels) - levels
    torch.testing.assert_close(dark, bright, rtol=0, atol=1e-5)


def disturbed_drd_net(network: DRDNet) -> DRDNet:
    """With slopes, gates, biases and averages that are all different, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in network.named_parameters():
        if tensor.dim() == 1 or ".excite." in name:
            nn.init.uniform_(tensor, -1.0, 1.5, generator=generator)
    for name, tensor in network.named_buffers():
        if "running" in name:
            nn.init.uniform_(tensor, 0.2, 2.0, generator=generator)
    return network.double()


@torch.no_grad()
@pytest.mark.parametrize("detail_input", ["sum", "rainy"])
@pytest.mark.parametrize("training", [False, True])
def test_drd_net_equals_another_build(detail_input, training):
    torch.manual_seed(0)
    network = disturbed_drd_net(DRDNet(6, 2, detail_input)).train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rainy = torch.rand(2, 3, 13, 17, dtype=torch.float64)
    found = network.stages(rainy)
    expected = drd_net(rainy, state, detail_input, training)
    for y, reference in zip(found.backgrounds, expected, strict=True):
        torch.testing.assert_close(y, reference, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.rains[0], rainy - expected[0], rtol=1e-9, atol=1e-9)


SMALL, PLAIN = {"width": 8, "blocks": 2}, {"attention": False}


@torch.no_grad()
def drawn_menet(**options) -> MENET:
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


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, PLAIN, SMALL, SMALL | PLAIN, {"width": 16, "blocks": 1}])
@pytest.mark.parametrize("training", [False, True])
def test_menet_equals_its_reference(options, training):
    """In training mode the norms use the batch; else their running averages."""
    network = drawn_menet(**options).train(training)
    rainy = formula_input()[..., :32, :48].double().clamp(0, 1)
    rainy = torch.cat([rainy, 0.6 * rainy.flip(2)])
    expected = menet(rainy, copy.deepcopy(network.state_dict()), training)
    assert (expected - rainy).abs().mean() > 0.02
    assert ((expected > 0) & (expected < 1)).double().mean() > 0.4
    torch.testing.assert_close(network(rainy), expected, rtol=0, atol=1e-10)


def test_untrained_menet_nearly_gives_the_input_back():
    """Residuals start at about one grey level: 0.88 with normalised features and TensorFlow 1.8's start."""
    torch.manual_seed(0)
    network = MENET()
    rainy = 0.1 + 0.8 * torch.rand(4, 3, 64, 64)
    change = 255 * (network(rainy) - rainy)
    assert 0.3 < change.std().item() < 2


@torch.no_grad()
def test_autocast_does_not_round_the_image_in_menet():
    """Only the residual is computed in half precision: without one the input comes back bit for bit."""
    network = MENET(**SMALL).eval()
    network.layer5.weight.zero_()
    rainy = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(rainy), rainy)


@torch.no_grad()
def test_the_block_of_syn2real_is_that_of_the_description():
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
@pytest.mark.parametrize(("height", "width"), [(1, 9), (33, 40)])
def test_the_latent_has_an_eighth_of_any_size(height, width):
    network, rainy = Syn2Real(8, 2).eval(), torch.rand(2, 3, height, width)
    image, latent = network.restored(rainy)
    assert latent.shape == (2, 16, -(-height // 8), -(-width // 8))
    assert torch.equal(network(rainy), image)
    assert torch.equal(network.latent(rainy), latent)


@torch.no_grad()
@pytest.mark.parametrize(
    ("network", "convolution", "norm", "share"),
    [
        (lambda: DDN(4, 1, momentum=0.25), "first.0", "first.1", 0.25),
        (lambda: DRDNet(4, 1), "rain.tail.0", "rain.tail.1", 0.01),
        (lambda: MENET(**SMALL), "layer1.0", "layer1.1", 0.01),
    ],
)
def test_training_moves_running_averages_by_a_share(network, convolution, norm, share):
    made, seen = network().train(), []
    made.get_submodule(convolution).register_forward_hook(lambda _, x, y: seen.append(y))
    made(torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(made.get_submodule(norm).running_mean, share * seen[0].mean((0, 2, 3)))
    assert {module.eps for module in made.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


def test_a_pixel_beyond_the_range_has_no_gradient_in_menet():
    network = MENET(**SMALL).train()
    nn.init.zeros_(network.layer5.weight)  # the output is the clipped input
    rainy = torch.linspace(-0.5, 1.5, 2 * 3 * 16 * 16).view(2, 3, 16, 16).requires_grad_()
    network(rainy).sum().backward()
    assert torch.equal(rainy.grad, ((rainy >= 0) & (rainy <= 1)).float())
