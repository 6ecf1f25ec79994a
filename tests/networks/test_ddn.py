import numpy as np
import pytest
import torch
from ddn_reference import restore
from formula_weights import count_parameters
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import MSE
from slackoff.networks import DDN


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ((16, 12), 57_369),
        # First, inner and last convolutions with their biases, and two numbers of a norm for each channel.
        ((4, 2), (27 * 4 + 4) + 4 * (9 * 16 + 4) + (9 * 4 * 3 + 3) + 2 * (4 + 4 * 4 + 3)),
    ],
)
def test_parameter_counts(sizes, count):
    with torch.device("meta"):
        assert count_parameters(DDN(*sizes)) == count


def test_with_its_averages_it_has_the_numbers_that_the_authors_script_counts():
    with torch.device("meta"):
        averages = [buffer for name, buffer in DDN().named_buffers() if "running" in name]
    assert 57_369 + sum(buffer.numel() for buffer in averages) == 58_175


def disturbed(network: DDN) -> DDN:
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
def test_it_equals_a_build_in_numpy(skip, norm, training):
    torch.manual_seed(0)
    network = disturbed(DDN(5, 3, skip=skip, norm=norm, eps=0.01)).train(training)
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
    rainy = torch.rand(2, 3, 20, 33)
    batch = training or norm == "batch"
    expected = restore(rainy.numpy().astype(np.float64), state, 3, skip, batch, eps=0.01)
    np.testing.assert_allclose(network(rainy).numpy(), expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_running_averages_move_by_the_momentum():
    network = DDN(4, 1, momentum=0.25).train()
    seen = []
    network.first[0].register_forward_hook(lambda _, x, y: seen.append(y))
    network(torch.rand(2, 3, 12, 12))
    torch.testing.assert_close(network.first[1].running_mean, 0.25 * seen[0].mean((0, 2, 3)))


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (31, 20), (33, 65)])
def test_any_size_is_kept(height, width):
    assert DDN(4, 1).eval()(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)


@torch.no_grad()
def test_the_chain_sees_the_detail_alone():
    """A flat image has none: whatever its colour, the same is added to it."""
    network = disturbed(DDN(4, 1)).eval()
    levels = torch.tensor([0.1, 0.8]).view(2, 1, 1, 1).expand(2, 3, 40, 40)
    dark, bright = network(levels) - levels
    torch.testing.assert_close(dark, bright, rtol=0, atol=1e-5)


def test_it_starts_from_xavier_uniform():
    torch.manual_seed(0)
    network = DDN()
    bound = (6 / (2 * 9 * 16)) ** 0.5
    kernel = network.layers[3][0].weight
    assert kernel.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert kernel.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert all((module.bias == 0).all() for module in network.modules() if isinstance(module, nn.Conv2d))


def test_gradients_reach_every_kernel():
    torch.manual_seed(0)
    network = DDN(8, 3)
    MSE()(network, torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)).backward()
    kernels = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(kernels) == 8
    assert all(kernel.grad is not None and kernel.grad.abs().sum() > 0 for kernel in kernels)


def test_it_trains_in_bf16_and_channels_last():
    torch.manual_seed(0)
    network = DDN(8, 2).to(memory_format=torch.channels_last)
    rainy = torch.rand(2, 3, 19, 22).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = MSE()(network, rainy, rainy)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(MSE()(network, rainy, rainy).item(), rel=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": 0}, r"network\.channels=0 must be at least 1"),
        ({"pairs": -1}, r"network\.pairs=-1"),
        ({"radius": 0}, r"network\.radius=0"),
        ({"skip": "short"}, r"network\.skip=short is not known: choose pairwise or long"),
        ({"norm": "layer"}, r"network\.norm=layer is not known: choose running or batch"),
        ({"eps": 0.0}, r"network\.eps=0\.0 must be above 0"),
        ({"smoothing": -1.0}, r"network\.smoothing=-1\.0 must be above 0"),
        ({"momentum": 1.5}, r"network\.momentum=1\.5"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        DDN(**options)
