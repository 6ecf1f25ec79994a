"""DRD-Net written as its description reads, in functions on a state dict of our names."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def convolve(x: Tensor, state: State, name: str, dilation: int = 1) -> Tensor:
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


def context(x: Tensor, state: State, name: str) -> Tensor:
    dilated = [convolve(x, state, f"{name}.branches.{k}", dilation) for k, dilation in enumerate((1, 3, 5))]
    return convolve(torch.cat(dilated, 1), state, f"{name}.merge")


def excite(x: Tensor, state: State, name: str) -> Tensor:
    v = F.relu(x.mean((2, 3)) @ state[f"{name}.squeeze.weight"].T) @ state[f"{name}.excite.weight"].T
    return x * torch.minimum(torch.maximum(0.2 * v + 0.5, torch.zeros_like(v)), torch.ones_like(v))[:, :, None, None]


def sub_network(image: Tensor, state: State, name: str, training: bool) -> Tensor:
    detail = name == "detail"
    operation = context if detail else convolve
    x = start = prelu(convolve(image, state, f"{name}.head.0"), state[f"{name}.head.1.weight"])
    blocks = sum(key.startswith(f"{name}.blocks.") and key.endswith("body.2.weight") for key in state)
    for body in (f"{name}.blocks.{number}.body" for number in range(blocks)):
        y = normalise(operation(x, state, f"{body}.0"), state, f"{body}.1", training)
        y = operation(prelu(y, state[f"{body}.2.weight"]), state, f"{body}.3")
        y = normalise(y, state, f"{body}.4", training)
        x = x + (y if detail else excite(y, state, f"{body}.5"))
    x = normalise(convolve(x, state, f"{name}.tail.0"), state, f"{name}.tail.1", training)
    return convolve(start + x, state, f"{name}.output")


def restore(rainy: Tensor, state: State, detail_input: str = "sum", training: bool = False) -> tuple[Tensor, Tensor]:
    """The two backgrounds of (N, 3, H, W) in [0, 1]."""
    first = rainy - sub_network(rainy, state, "rain", training)
    seen = first + rainy if detail_input == "sum" else rainy
    return first, first + sub_network(seen, state, "detail", training)
