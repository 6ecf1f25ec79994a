from pathlib import Path

import pytest
import torch
from descent import check_descent
from formula_weights import count_parameters, fill, formula_input
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import L1
from slackoff.networks import SwinIR

LIGHT = {"channels": 60, "depths": [6] * 4}
SMALL = {"channels": 12, "depths": [2, 2], "heads": 2, "window": 4}


def count_by_hand(channels: int, depths: list[int], heads: int, window: int, convolution: int) -> int:
    """The paper's structure, weights and biases; a convolution of a residual block is given."""
    c = channels
    layer = 8 * c**2 + 7 * c + 4 * c + (2 * window - 1) ** 2 * heads  # matrices, their biases, two norms, table
    ends = (27 * c + c) + (27 * c + 3)
    return ends + 2 * 2 * c + sum(depths) * layer + (len(depths) + 1) * convolution


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 11_504_163),
        ({"window": 7, "img_range": 255.0}, 11_492_067),
        (LIGHT, 905_283),
        ({"channels": 60, "depths": [4] * 4}, 658_803),
        (SMALL, count_by_hand(12, [2, 2], 2, 4, 9 * 144 + 12)),
        ({"residual_conv": "3conv"}, count_by_hand(180, [6] * 6, 6, 8, 2 * 9 * 180 * 45 + 45 * 45 + 45 + 45 + 180)),
    ],
)
def test_parameter_counts(arguments, count):
    with torch.device("meta"):
        assert count_parameters(SwinIR(**arguments)) == count


@pytest.fixture(scope="module")
def light() -> nn.Module:
    return fill(SwinIR(**LIGHT), gain=1.0)


@torch.no_grad()
def test_formula_weights_give_the_recorded_output(light):
    y = light(formula_input())
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    expected = [0.538240, 0.295667, 0.285653, 0.585068, -0.126498]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_formula_weights_give_the_recorded_output_where_the_size_must_be_padded(light):
    y = light(formula_input()[:, :, :37, :53])
    assert y.shape == (1, 3, 37, 53)
    assert [y[0, 0, 0, 0].item(), y[0, 1, 20, 30].item()] == pytest.approx([0.285654, 0.585069], rel=1e-5)


@torch.no_grad()
def test_formula_weights_give_the_recorded_output_of_the_base_configuration():
    y = fill(SwinIR(), gain=1.0)(formula_input())
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    expected = [0.541469, 0.279649, 0.552735, 0.733907, 0.104422]
    assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 2), (4, 4), (5, 13), (16, 7)])
@pytest.mark.parametrize("window", [4, 7])
def test_any_size_is_kept(height, width, window):
    network = SwinIR(**SMALL | {"window": window})
    y = network(torch.rand(2, 3, height, width))
    assert y.shape == (2, 3, height, width)
    assert y.isfinite().all()


@torch.no_grad()
def test_padding_mirrors_the_right_and_lower_border():
    network = fill(SwinIR(**SMALL), gain=1.0)
    rainy = torch.rand(1, 3, 30, 41)
    mirrored = torch.nn.functional.pad(rainy, (0, 3, 0, 2), mode="reflect")
    torch.testing.assert_close(network(rainy), network(mirrored)[..., :30, :41])


@torch.no_grad()
def test_global_residual_adds_the_input_less_its_mean():
    rainy = torch.rand(2, 3, 13, 16)
    residual, direct = (fill(SwinIR(**SMALL, global_residual=flag), 1.0) for flag in (True, False))
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(3, 1, 1)
    torch.testing.assert_close(residual(rainy) - direct(rainy), rainy - mean)


@torch.no_grad()
def test_img_range_multiplies_the_images_inside():
    """With all biases zero but those of the last convolution, that one adds its bias in units of the range."""
    rainy = torch.rand(1, 3, 8, 8)
    network = SwinIR(**SMALL, img_range=255.0)
    for parameter in network.conv_last.parameters():
        parameter.zero_()
    network.conv_last.bias.fill_(51.0)
    torch.testing.assert_close(network(rainy), rainy + 0.2)
    seen = []
    network.conv_first.register_forward_hook(lambda module, inputs, output: seen.extend(inputs))
    network(torch.ones(1, 3, 8, 8))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([255 * (1 - m) for m in (0.4488, 0.4371, 0.4040)])


@pytest.mark.parametrize("residual_conv", ["1conv", "3conv"])
def test_gradients_reach_every_parameter(residual_conv):
    torch.manual_seed(0)
    network = SwinIR(**SMALL, residual_conv=residual_conv, stochastic_depth=0.0)
    network(torch.rand(2, 3, 14, 16)).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    network = SwinIR(**SMALL)
    background = torch.rand(4, 3, 16, 16) * 0.5
    rainy = background + 0.3 * (torch.rand(4, 1, 16, 16) > 0.8)
    check_descent(network, L1(), rainy, background)


def test_bfloat16_autocast_stays_close_and_trains():
    torch.manual_seed(0)
    network = fill(SwinIR(**SMALL), gain=1.0)
    rainy = torch.rand(1, 3, 16, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = network(rainy)
    y.float().mean().backward()
    torch.testing.assert_close(y.float(), network(rainy), rtol=0.05, atol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_start_is_the_papers():
    torch.manual_seed(0)
    network = SwinIR(channels=96, depths=[2], heads=6)
    for name, value in network.named_parameters():
        last = name.rsplit(".", 2)[-2:]
        if "table" in name or (value.dim() == 2):
            assert value.std().item() == pytest.approx(0.02, rel=0.1), name
            assert value.abs().max() < 0.12, name
        elif last[0].startswith("norm"):
            assert set(value.tolist()) == {1.0 if last[1] == "weight" else 0.0}, name
        elif last[0] in ("qkv", "proj", "fc1", "fc2"):
            assert value.abs().max() == 0, name
    assert network.conv_after_body.weight.abs().max().item() == pytest.approx((9 * 96) ** -0.5, rel=0.01)


def test_stochastic_depth_rises_linearly_over_all_layers():
    rates = [
        module.drop_prob for module in SwinIR(**SMALL, stochastic_depth=0.3).modules() if hasattr(module, "drop_prob")
    ]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_every_second_layer_is_shifted():
    network = SwinIR(channels=4, depths=[3, 2], heads=1, window=7)
    assert [module.shift for module in network.modules() if hasattr(module, "shift")] == [0, 3, 0, 0, 3]


def test_state_holds_parameters_only_under_the_official_names():
    names = list(SwinIR(**SMALL).state_dict())
    assert names == [name for name, _ in SwinIR(**SMALL).named_parameters()]
    for name in (
        "conv_first.weight",
        "patch_embed.norm.bias",
        "layers.1.residual_group.blocks.0.attn.relative_position_bias_table",
        "layers.0.residual_group.blocks.1.attn.qkv.weight",
        "layers.0.residual_group.blocks.1.attn.proj.bias",
        "layers.0.residual_group.blocks.1.norm2.weight",
        "layers.0.residual_group.blocks.1.mlp.fc1.weight",
        "layers.0.residual_group.blocks.1.mlp.fc2.bias",
        "layers.1.conv.weight",
        "norm.weight",
        "conv_after_body.bias",
        "conv_last.weight",
    ):
        assert name in names


@torch.no_grad()
@pytest.mark.parametrize("key", ["params", "params_ema"])
def test_an_official_checkpoint_is_taken_without_its_buffers(tmp_path, key):
    trained, fresh = fill(SwinIR(**SMALL), gain=1.0), SwinIR(**SMALL)
    block = "layers.0.residual_group.blocks.1"
    buffers = {f"{block}.attn_mask": torch.zeros(16, 16, 16), f"{block}.attn.relative_position_index": torch.zeros(2)}
    torch.save({key: trained.state_dict() | buffers}, tmp_path / "official.pth")
    fresh.load_official(tmp_path / "official.pth")
    rainy = torch.rand(1, 3, 8, 8)
    assert torch.equal(fresh.eval()(rainy), trained(rainy))


@pytest.mark.parametrize("held", ["another configuration", "no weights", "no dictionary", "no file"])
def test_what_is_no_fitting_checkpoint_is_refused(tmp_path, held):
    contents = {
        "another configuration": {"params": SwinIR(**SMALL | {"channels": 8}).state_dict()},
        "no weights": {"weights": {}},
        "no dictionary": [1, 2],
    }
    if held in contents:
        torch.save(contents[held], tmp_path / "wrong.pth")
    with pytest.raises(SlackoffError, match=r"wrong\.pth") as refused:
        SwinIR(**SMALL).load_official(tmp_path / "wrong.pth")
    assert len(str(refused.value).splitlines()) == 1


class RunsOnLoading:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save({"params": RunsOnLoading(tmp_path / "ran")}, tmp_path / "wrong.pth")
    with pytest.raises(SlackoffError, match=r"wrong\.pth"):
        SwinIR(**SMALL).load_official(tmp_path / "wrong.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 10, "heads": 3}, r"network\.channels=10 .* network\.heads=3"),
        ({"channels": 0}, r"network\.channels=0"),
        ({"heads": 0}, r"network\.heads=0"),
        ({"depths": []}, r"network\.depths=\[\]"),
        ({"depths": [2, 0]}, r"network\.depths=\[2, 0\]"),
        ({"window": 1}, r"network\.window=1"),
        ({"mlp_ratio": 0}, r"network\.mlp_ratio=0"),
        ({"img_range": 0}, r"network\.img_range=0"),
        ({"residual_conv": "2conv"}, r"network\.residual_conv=2conv .*1conv, 3conv"),
        ({"stochastic_depth": 1.0}, r"network\.stochastic_depth=1\.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(SlackoffError, match=message):
        SwinIR(**SMALL | arguments)
