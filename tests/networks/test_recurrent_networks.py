"""The PReNet family and RESCAN against their equations, written as plain functions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from network_tester import formula_input
from torch import Tensor

from slackoff.networks import RESCAN, PReNet


def convolve(state: dict[str, Tensor], name: str, *parts: Tensor) -> Tensor:
    return F.conv2d(torch.cat(parts, dim=1), state[f"{name}.weight"], state[f"{name}.bias"], padding=1)


def logistic(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def remember_lstm(state: dict[str, Tensor], f: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, kept, o = (logistic(convolve(state, f"unit.{gate}_gate", f, h)) for gate in ("input", "forget", "output"))
    c = kept * c + i * torch.tanh(convolve(state, "unit.candidate", f, h))
    return o * torch.tanh(c), c


def remember_gru(state: dict[str, Tensor], f: Tensor, h: Tensor) -> Tensor:
    z, b = (logistic(convolve(state, f"unit.{gate}_gate", f, h)) for gate in ("update", "reset"))
    return (1 - z) * h + z * torch.tanh(convolve(state, "unit.candidate", b * h, f))


def prenet_stages(rainy: Tensor, state: dict[str, Tensor], stages: int, uses: int, add_input: bool) -> list[Tensor]:
    """The estimate of every stage; unit, number of blocks and inputs are as in ``state``, each block used ``uses``
    times."""
    h = c = rainy.new_zeros(len(rainy), len(state["head.0.bias"]), *rainy.shape[-2:])
    blocks = sum(name.startswith("blocks.") and name.endswith(".0.0.bias") for name in state)
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
            inner = convolve(state, f"blocks.{number}.0.0", f).clamp(min=0)
            f = (f + convolve(state, f"blocks.{number}.0.2", inner).clamp(min=0)).clamp(min=0)
        x = convolve(state, "output", f) + (rainy if add_input else 0)
        estimates.append(x)
    return estimates


FAMILY = {
    "prenet": {},
    "prenet_r": {"share_blocks": True},
    "prn": {"unit": "none"},
    "prn_r": {"unit": "none", "share_blocks": True},
    "prenet_lstm": {"add_input": False},
    "prenet_gru": {"unit": "gru", "add_input": False},
    "prenet_x": {"add_input": False, "see_rainy": False},
}


@torch.no_grad()
@pytest.mark.parametrize("member", FAMILY)
def test_every_stage_is_that_of_plain_functions(member):
    torch.manual_seed(3)
    network = PReNet(4, 5, 3, **FAMILY[member]).double()
    for parameter in network.parameters():
        parameter.copy_(0.3 * torch.randn_like(parameter))  # large enough that gates and ReLUs matter
    rainy = torch.rand(2, 3, 11, 9, dtype=torch.float64)
    uses = 3 if network.block_uses == 3 else 1
    expected = prenet_stages(rainy, network.state_dict(), 4, uses, network.add_input)
    found = network.stages(rainy).backgrounds
    assert len(found) == len(expected) == 4
    for estimate, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(estimate, reference, rtol=1e-10, atol=1e-10)
    assert (expected[3] - expected[2]).abs().max() > 1e-3


@torch.no_grad()
def test_the_result_is_not_clipped():
    network = PReNet(3, 4, 1)
    torch.nn.init.constant_(network.output.bias, 5.0)
    rainy = formula_input()
    assert network(rainy).min() > 1


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class ByHand:
    """A unit in NumPy for images of one pixel, where only the middle of a padded kernel counts."""

    def __init__(self, kind, unit):
        self.kind = kind
        self.state = None
        self.values = {name: tensor.numpy() for name, tensor in unit.state_dict().items()}

    def conv(self, side, gate, x):
        return self.values[f"{side}.{gate}.weight"][:, :, 1, 1] @ x + self.values[f"{side}.{gate}.bias"]

    def gate(self, gate, x):
        return self.conv("inputs", gate, x) + (0 if self.state is None else self.conv("hidden", gate, self.state))

    def output(self, x):
        v = self.values
        squeezed = np.maximum(v["attention.squeeze.weight"] @ x + v["attention.squeeze.bias"], 0)
        x = x * sigmoid(v["attention.excite.weight"] @ squeezed + v["attention.excite.bias"])
        return np.where(x > 0, x, 0.2 * x)

    def __call__(self, x):
        new = getattr(self, self.kind)(x)
        self.state = self.output(new)
        return self.state

    def rnn(self, x):
        return np.tanh(self.gate("x", x))

    def gru(self, x):
        z = sigmoid(self.gate("z", x))
        if self.state is None:
            return z * np.tanh(self.conv("inputs", "n", x))
        r = sigmoid(self.gate("r", x))
        n = np.tanh(self.conv("inputs", "n", x) + self.conv("hidden", "n", r * self.state))
        return (1 - z) * self.state + z * n

    def lstm(self, x):
        i, o, j = sigmoid(self.gate("i", x)), sigmoid(self.gate("o", x)), np.tanh(self.gate("j", x))
        if self.state is None:
            self.cell = i * j
            return o * self.cell
        self.cell = sigmoid(self.gate("f", x)) * self.cell + i * j
        return o * np.tanh(self.cell)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_recurrent_units_are_their_equations_over_three_stages(kind):
    torch.manual_seed(3)
    unit = RESCAN(7, 4, 3, kind).units[1].double()
    by_hand, state = ByHand(kind, unit), ()
    for x in torch.randn(3, 7, dtype=torch.float64):
        out, state = unit(x[None, :, None, None], state)
        np.testing.assert_allclose(out[0, :, 0, 0].numpy(), by_hand(x.numpy()), rtol=1e-12)


@torch.no_grad()
def test_a_unit_without_recurrence_repeats_itself():
    unit = RESCAN(7, 4, 2, "conv").units[1]
    x = torch.randn(1, 7, 6, 6)
    (first, state), (again, _) = unit(x, ()), unit(x, ())
    assert state == ()
    assert torch.equal(first, again)
    expected = torch.nn.functional.leaky_relu(unit.attention(unit.inputs["x"](x)), 0.2)
    torch.testing.assert_close(first, expected)


@pytest.mark.parametrize("mode", ["full", "add"])
def test_a_stage_that_adds_sends_no_gradient_to_the_rain_before(mode):
    """With a last convolution of zero each stage gives its bias, on top of the rain before if it adds."""
    network = RESCAN(4, 3, 3, mode=mode)
    last = network.decoder[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.1)
    rains = network.stages(torch.rand(1, 3, 4, 4)).rains
    values = [0.1, 0.2, 0.3] if mode == "add" else [0.1] * 3
    assert [rain.mean().item() for rain in rains] == pytest.approx(values)
    found = [torch.autograd.grad(rain[:, 0].mean(), last.bias, retain_graph=True)[0][0].item() for rain in rains]
    assert found == pytest.approx([1, 1, 1])
