import pytest
import torch
from torch import nn

from slackoff.networks import JORDERE, RESCAN, DRDNet
from slackoff.networks.layers import DilatedConv2d


@pytest.mark.parametrize(("channels", "dilation", "float32"), [(24, 2, True), (24, 1, False), (32, 2, False)])
def test_only_what_onednn_gets_wrong_runs_in_float32(channels, dilation, float32):
    convolution = DilatedConv2d(channels, 4, dilation).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(torch.rand(1, channels, 32, 32).bfloat16())
    assert found.dtype == (torch.float32 if float32 else torch.bfloat16)
    found.float().square().sum().backward()
    assert convolution.weight.grad.isfinite().all()


@torch.no_grad()
def test_it_is_the_plain_convolution():
    convolution = DilatedConv2d(5, 4, 3).double()
    x = torch.rand(1, 5, 7, 9, dtype=torch.float64)
    expected = nn.functional.conv2d(x, convolution.weight, convolution.bias, padding=3, dilation=3)
    assert torch.equal(convolution(x), expected)


@pytest.mark.parametrize("build", [RESCAN, JORDERE, DRDNet])
def test_every_dilated_convolution_of_a_network_is_one(build):
    with torch.device("meta"):
        modules = [module for module in build().modules() if isinstance(module, nn.Conv2d)]
    dilated = [module for module in modules if module.dilation != (1, 1)]
    assert dilated
    assert all(isinstance(module, DilatedConv2d) for module in dilated)
