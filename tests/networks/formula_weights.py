"""Weights and an input from formulas: any two builds of one network must then agree, whatever their names are.

The expected figures in the tests were recorded with other builds of the same networks. Same-shaped layers get equal
weights, so two of them in the wrong order go unseen.
"""

import torch
from torch import Tensor, nn


def formula_input() -> Tensor:
    """float32, (1, 3, 40, 56), about 0..1."""
    c, i, j = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (3, 40, 56)), indexing="ij")
    waves = 0.5 + 0.35 * torch.sin(0.3 * i + 0.2 * j + 0.7 * c) + 0.15 * torch.cos(0.9 * j - 0.4 * i)
    return waves.float()[None]


@torch.no_grad()
def fill(network: nn.Module, gain: float) -> nn.Module:
    """Fill every parameter with a wave t = sin(1 + 0.7 k) over its elements.

    Weights of two or more dimensions get gain * t / sqrt(fan), scales (one-dimensional weights: those of LayerNorm,
    BatchNorm and PReLU) 1 + 0.05 t, biases 0.05 t. Buffers keep their values.
    """
    for name, tensor in network.named_parameters():
        count = tensor.numel()
        wave = torch.sin(1 + 0.7 * torch.arange(count, dtype=torch.float64)).view(tensor.shape)
        if tensor.dim() > 1:
            tensor.copy_(gain * wave / (count / len(tensor)) ** 0.5)
        else:
            tensor.copy_(0.05 * wave + name.endswith("weight"))
    return network.eval()


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
