import numpy as np
import pytest
import torch
from descent import check_descent
from formula_weights import count_parameters, fill, formula_input

from slackoff.errors import SlackoffError
from slackoff.losses import L1, RESCANLoss
from slackoff.networks import RESCAN

UNITS = ("conv", "rnn", "gru", "lstm")
GATES = {"conv": 1, "rnn": 1, "gru": 3, "lstm": 4}


def closed_form_count(width, depth, unit):
    """Parameters, added up by hand: k is a 3x3 convolution of the features, s squeeze-and-excitation."""
    k, s = 9 * width**2 + width, 6 * width + 6 + 6 * width + width
    hidden = 0 if unit == "conv" else k
    first = GATES[unit] * (27 * width + width + hidden) + s
    return first + (depth - 3) * (GATES[unit] * (k + hidden) + s) + k + s + 3 * width + 3


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("width", "depth"), [(24, 7), (5, 3), (8, 4)])
def test_parameter_counts(width, depth, unit):
    with torch.device("meta"):
        assert count_parameters(RESCAN(width, depth, 2, unit)) == closed_form_count(width, depth, unit)


def test_the_release_has_the_recorded_number_of_parameters():
    with torch.device("meta"):
        assert count_parameters(RESCAN()) == 149_823


def figures(image):
    found = [image.mean(), image.std(correction=0), image[0, 0, 0, 0], image[0, 1, 20, 30], image[0, 2, 39, 55]]
    return [value.item() for value in found]


@torch.no_grad()
def test_formula_weights_give_the_recorded_rain_layers():
    recorded = [
        [0.0413108, 0.0301987, 0.0822454, 0.0304698, 0.0108412],
        [0.0413126, 0.0301588, 0.0816087, 0.0304596, 0.0104851],
        [0.0413135, 0.0301457, 0.0812040, 0.0304568, 0.0103713],
        [0.0413137, 0.0301423, 0.0810045, 0.0304562, 0.0103401],
    ]
    rainy = formula_input()
    found = fill(RESCAN(), gain=1.0).stages(rainy)
    for rain, background, expected in zip(found.rains, found.backgrounds, recorded, strict=True):
        assert figures(rain) == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(background + rain, rainy)


@torch.no_grad()
def test_formula_weights_give_the_recorded_rain_layer_where_stages_add():
    last = fill(RESCAN(mode="add"), gain=1.0).stages(formula_input()).rains[-1]
    assert figures(last) == pytest.approx([0.165251, 0.120642, 0.326063, 0.121842, 0.0420377], rel=1e-4)


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


@torch.no_grad()
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 5)])
def test_any_size_is_kept(height, width, unit):
    network = RESCAN(4, 7, 3, unit)
    rainy = torch.rand(2, 3, height, width)
    found = network.stages(rainy)
    assert [image.shape for image in (*found.backgrounds, *found.rains)] == [rainy.shape] * 6
    assert torch.equal(network(rainy), found.backgrounds[-1])


@pytest.mark.parametrize(("mode", "slopes"), [("full", [1, 1, 1]), ("add", [1, 1, 1])])
def test_a_stage_that_adds_sends_no_gradient_to_the_rain_before(mode, slopes):
    """With a last convolution of zero each stage gives its bias, on top of the rain before if it adds."""
    network = RESCAN(4, 3, 3, mode=mode)
    last = network.decoder[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.1)
    rains = network.stages(torch.rand(1, 3, 4, 4)).rains
    values = [0.1, 0.2, 0.3] if mode == "add" else [0.1] * 3
    assert [rain.mean().item() for rain in rains] == pytest.approx(values)
    found = [torch.autograd.grad(rain[:, 0].mean(), last.bias, retain_graph=True)[0][0].item() for rain in rains]
    assert found == pytest.approx(slopes)


@pytest.mark.parametrize("loss", [L1(), RESCANLoss()])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("attention", [False, True])
def test_gradients_reach_every_parameter(unit, attention, loss):
    torch.manual_seed(0)
    network = RESCAN(8, 5, 2, unit, attention=attention).double()
    rainy, background = torch.rand(2, 2, 3, 12, 12, dtype=torch.float64)
    loss(network, rainy, background).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    assert attention == any("attention" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize("unit", UNITS)
def test_training_lowers_the_loss(unit):
    torch.manual_seed(0)
    network = RESCAN(8, 4, 2, unit)
    background = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (12, 12), mode="bilinear")
    rainy = (background + 0.3 * torch.rand(2, 1, 12, 1)).clamp(max=1.0)
    check_descent(network, RESCANLoss(), rainy, background)


@torch.no_grad()
def test_bf16_and_channels_last_give_about_the_same():
    network, rainy = fill(RESCAN(), gain=1.0), formula_input()
    expected = network(rainy)
    last = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(rainy.contiguous(memory_format=torch.channels_last)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = last(rainy)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_bf16_and_channels_last_give_about_the_same_gradient():
    """At the paper's 24 channels; oneDNN's own bf16 gradient of the dilated convolutions is NaN on AVX-512."""
    torch.manual_seed(0)
    network = RESCAN(24, 5, 2).to(memory_format=torch.channels_last)
    background, rainy = torch.rand(2, 1, 3, 32, 32)
    RESCANLoss()(network, rainy, background).backward()
    expected = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        RESCANLoss()(network, rainy, background).backward()
    for parameter, exact in zip(network.parameters(), expected, strict=True):
        assert (parameter.grad - exact).norm() < 0.1 * exact.norm() + 1e-4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, r"network\.width=0 must be at least 1"),
        ({"depth": 2}, r"network\.depth=2 must be at least 3"),
        ({"stages": 0}, r"network\.stages=0 must be at least 1"),
        ({"unit": "gated"}, r"network\.unit=gated is not known: choose conv, rnn, gru, lstm"),
        ({"mode": "both"}, r"network\.mode=both is not known: choose full or add"),
        ({"stages": 1}, r"network\.stages=1 leaves unit=gru nothing to remember: choose network\.unit=conv"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        RESCAN(**options)


@torch.no_grad()
def test_one_stage_takes_units_without_recurrence():
    assert len(RESCAN(4, 3, 1, "conv").stages(torch.rand(1, 3, 5, 5)).rains) == 1
