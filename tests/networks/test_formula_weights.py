import math

import pytest
import torch
from formula_weights import count_parameters, fill, formula_input
from torch import nn


def test_the_input_is_the_one_the_figures_were_recorded_with():
    x = formula_input()
    found = [x.mean(), x.std(correction=0), x.min(), x.max(), x[0, 0, 0, 0], x[0, 2, 39, 55]]
    expected = [0.4992143, 0.2698503, 0.0011696, 0.9992396, 0.65, 0.0807259]
    assert [value.item() for value in found] == pytest.approx(expected, abs=5e-8, rel=1e-6)


@pytest.mark.parametrize("module", [nn.LayerNorm(3), nn.BatchNorm2d(3), nn.PReLU(3)])
def test_scales_lie_around_one_and_biases_around_zero(module):
    waves = [math.sin(1 + 0.7 * k) for k in range(3)]
    filled = dict(fill(nn.Sequential(module), gain=7.0).named_parameters())
    assert filled["0.weight"].tolist() == pytest.approx([1 + 0.05 * wave for wave in waves])
    if "0.bias" in filled:
        assert filled["0.bias"].tolist() == pytest.approx([0.05 * wave for wave in waves])


def test_weights_of_several_dimensions_are_divided_by_the_root_of_their_fan():
    filled = fill(nn.Conv2d(2, 3, 5), gain=0.3)
    assert filled.weight[0, 0, 0, 1].item() == pytest.approx(0.3 * math.sin(1.7) / math.sqrt(50))
    assert filled.weight[2, 1, 4, 4].item() == pytest.approx(0.3 * math.sin(1 + 0.7 * 149) / math.sqrt(50))
    table = fill(nn.Embedding(4, 6), gain=1.0)
    assert table.weight[3, 5].item() == pytest.approx(math.sin(1 + 0.7 * 23) / math.sqrt(6))


def test_statistics_keep_their_start_and_the_network_is_left_in_evaluation_mode():
    norm = fill(nn.BatchNorm2d(4), gain=1.0)
    assert (norm.running_mean.tolist(), norm.running_var.tolist()) == ([0.0] * 4, [1.0] * 4)
    assert not norm.training
    assert count_parameters(norm) == 8
    assert torch.equal(norm.weight, fill(nn.LayerNorm(4), gain=1.0).weight)
