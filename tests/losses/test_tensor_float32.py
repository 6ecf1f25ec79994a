"""Losses that take small differences of large numbers keep their gradients where convolutions run in TensorFloat-32."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from slackoff.losses import EdgeAware, NegativeSSIM, PixelMSE, Texture, TotalVariationTerm

LOSSES = {
    "ssim": lambda output, background: NegativeSSIM()(nn.Identity(), output, background),
    "edge": EdgeAware(),
    "gram_mean": Texture(),
    "gram_frobenius": Texture("gram_frobenius"),
    "variation": TotalVariationTerm(),
    "mse": PixelMSE(),
}


def rounded(x):
    """float32 to the 10 bits of mantissa that TensorFloat-32 keeps, half to even."""
    bits = x.detach().contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


class TensorFloat32(TorchDispatchMode):
    """Convolutions and their gradients as a GPU computes them by default: inputs of 10 bits, sums of float32."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            args = [rounded(x) if isinstance(x, torch.Tensor) and x.dtype == torch.float32 else x for x in args]
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def bright_sky():
    """A sky of 0.93 to 0.95 with faint noise, and the same as a network restores it."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(2, 1, 3, 24, 24, generator=generator) / 1020
    ramp = torch.linspace(0.93, 0.95, 24)[:, None].expand(24, 24)
    return (ramp + noise[0]).clamp(0, 1), (ramp + noise[0] + noise[1] / 2).clamp(0, 1)


def gradient(loss, output, background):
    output = output.clone().requires_grad_()
    return torch.autograd.grad(loss(output, background), output)[0].double().flatten()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_on_a_bright_sky_are_those_of_float64(bright_sky, name, monkeypatch):
    background, output = bright_sky
    with TensorFloat32():
        found = gradient(LOSSES[name], output, background)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # losses bring their images to float32
    expected = gradient(LOSSES[name], output.double(), background.double())
    assert F.cosine_similarity(found, expected, dim=0) > 0.999
