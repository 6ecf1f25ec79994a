"""MENET in plain functions, written from the table of its operations: float64, 0..255 inside, sizes that fit."""

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


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


def convolve_and_normalise(x: Tensor, state: State, name: str, training: bool) -> Tensor:
    x = convolve(x, state, f"{name}.0")
    mean, variance = state[f"{name}.1.running_mean"], state[f"{name}.1.running_var"]
    if training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    norm = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-3).sqrt()
    return norm * state[f"{name}.1.weight"][:, None, None] + state[f"{name}.1.bias"][:, None, None]


def restore(rainy: Tensor, state: State, training: bool = False) -> Tensor:
    """(N, 3, H, W) in [0, 1] to the same; attention and the number of blocks are as in ``state``."""

    def layer(x: Tensor, name: str) -> Tensor:
        return convolve_and_normalise(x, state, name, training)

    image = 255 * rainy
    n1 = layer(fold(image), "layer1")
    n2 = layer(fold(F.relu(n1)), "layer2")
    x = F.relu(n2)
    if "attention.excitation.0.weight" in state:
        a = F.relu(layer(F.relu(layer(fold(x), "attention.squeeze1")), "attention.layer1"))
        a = F.relu(layer(F.relu(layer(fold(a), "attention.squeeze2")), "attention.layer2"))
        a = 1 / (1 + torch.exp(-layer(a, "attention.excitation").mean((2, 3), keepdim=True)))
        x = x + x * a
    blocks = sum(name.startswith("blocks.") and name.endswith(".first.0.weight") for name in state)
    for number in range(blocks):
        inner = F.relu(layer(x, f"blocks.{number}.first"))
        x = x + layer(inner, f"blocks.{number}.second")
        if number < blocks - 1:
            x = F.relu(x)
    x = unfold(layer(n2 + x, "layer3"))
    x = layer(n1 + x, "layer4")
    x = unfold(convolve(x, state, "layer5"))
    return (image + x).clamp(0, 255) / 255
