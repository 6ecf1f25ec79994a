"""The PReNet family in plain functions, written from the description of its steps: float64, (N, 3, H, W) in [0, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def convolve(state: State, name: str, *parts: Tensor) -> Tensor:
    return F.conv2d(torch.cat(parts, dim=1), state[f"{name}.weight"], state[f"{name}.bias"], padding=1)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def remember_lstm(state: State, f: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, kept, o = (sigmoid(convolve(state, f"unit.{gate}_gate", f, h)) for gate in ("input", "forget", "output"))
    c = kept * c + i * torch.tanh(convolve(state, "unit.candidate", f, h))
    return o * torch.tanh(c), c


def remember_gru(state: State, f: Tensor, h: Tensor) -> Tensor:
    z, b = (sigmoid(convolve(state, f"unit.{gate}_gate", f, h)) for gate in ("update", "reset"))
    return (1 - z) * h + z * torch.tanh(convolve(state, "unit.candidate", b * h, f))


def restore(rainy: Tensor, state: State, stages: int, uses: int, add_input: bool) -> list[Tensor]:
    """The estimate of every stage; unit, number of blocks and inputs are as in ``state``, each block used ``uses``
    times."""
    h = c = rainy.new_zeros(len(rainy), len(state["head.0.bias"]), *rainy.shape[-2:])
    blocks = sum(name.startswith("blocks.") and name.endswith(".conv1.bias") for name in state)
    sees_rainy = state["head.0.weight"].shape[1] == 6
    x, estimates = rainy, []
    for _ in range(stages):
        f = convolve(state, "head.0", *([rainy] if sees_rainy else []), x).clamp(min=0)
        if "unit.input_gate.bias" in state:
            f, c = remember_lstm(state, f, h, c)
            h = f
        elif "unit.update_gate.bias" in state:
            f = h = remember_gru(state, f, h)
        for number in [block for block in range(blocks) for _ in range(uses)]:
            inner = convolve(state, f"blocks.{number}.conv1", f).clamp(min=0)
            f = (f + convolve(state, f"blocks.{number}.conv2", inner).clamp(min=0)).clamp(min=0)
        x = convolve(state, "output", f) + (rainy if add_input else 0)
        estimates.append(x)
    return estimates
