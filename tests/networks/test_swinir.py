"""SwinIR: windows, masks and attention against loops over pixels, its start, and official checkpoints."""

import math

import pytest
import torch
from network_tester import fill
from torch import Tensor

from slackoff.networks import SwinIR
from slackoff.networks.swinir import SwinLayer, WindowAttention, relative_positions, shift_mask
from slackoff.networks.weights import start_from

CPU = torch.device("cpu")


SIZES = [(8, 12, 4), (4, 4, 4), (4, 12, 4), (9, 6, 3), (14, 7, 7)]


def shifted_windows(height: int, width: int, window: int) -> list[list[tuple[int, int]]]:
    """Pixels of each window after a cyclic shift by half a window up and left, in reading order."""
    shift = window // 2
    return [
        [((top + y + shift) % height, (left + x + shift) % width) for y in range(window) for x in range(window)]
        for top in range(0, height, window)
        for left in range(0, width, window)
    ]


def tile(pixel: tuple[int, int], window: int, shift: int) -> tuple[int, int]:
    """Where a pixel lies in a tiling of the plane, which does not end at the border as the cyclic shift does."""
    return (pixel[0] - shift) // window, (pixel[1] - shift) // window


@pytest.mark.parametrize(("height", "width", "window"), SIZES)
def test_mask_separates_what_only_the_cyclic_shift_brought_together(height, width, window):
    mask = shift_mask(height, width, window, CPU)
    shift = window // 2
    expected = [
        [[0.0 if tile(a, window, shift) == tile(b, window, shift) else -100.0 for b in pixels] for a in pixels]
        for pixels in shifted_windows(height, width, window)
    ]
    assert mask.tolist() == expected


def by_loops(attention: WindowAttention, tokens: Tensor, shifted: bool) -> Tensor:
    """Attention of every pixel over the pixels of its tile, tile by tile of the plane, head by head."""
    height, width, channels = tokens.shape
    window, heads = attention.window, attention.heads
    size = channels // heads
    shift = window // 2 if shifted else 0
    q, k, v = (tokens @ attention.qkv.weight.T + attention.qkv.bias).split(channels, dim=-1)
    table = attention.relative_position_bias_table
    result = torch.zeros_like(tokens)
    pixels = [(y, x) for y in range(height) for x in range(width)]
    for y, x in pixels:
        seen = [pixel for pixel in pixels if tile(pixel, window, shift) == tile((y, x), window, shift)]
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            rows = [(y - j + window - 1) * (2 * window - 1) + x - i + window - 1 for j, i in seen]
            scores = [
                (q[y, x, part] @ k[j, i, part]).item() / math.sqrt(size) + table[row, head].item()
                for (j, i), row in zip(seen, rows, strict=True)
            ]
            shares = [math.exp(score - max(scores)) for score in scores]
            for (j, i), share in zip(seen, shares, strict=True):
                result[y, x, part] += share / sum(shares) * v[j, i, part]
    return result @ attention.proj.weight.T + attention.proj.bias


@torch.no_grad()
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("height", "width", "window"), [(8, 12, 4), (4, 4, 4), (6, 9, 3)])
def test_attention_is_that_of_loops_over_pixels(height, width, window, shifted):
    attention = WindowAttention(6, 2, window, shifted).double()
    fill(attention, gain=3.0)
    tokens = torch.rand(2, height, width, 6, dtype=torch.float64)
    found = attention(tokens, shift_mask(height, width, window, CPU))
    for image, expected in zip(found, (by_loops(attention, image, shifted) for image in tokens), strict=True):
        torch.testing.assert_close(image, expected, rtol=1e-9, atol=1e-9)


def test_bias_rows_are_query_minus_key_first_by_rows():
    """For a window of 2, key to query: up-left is (-1, -1), row 0 of 9; the same pixel is row 4."""
    assert relative_positions(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_mask_is_made_once_for_a_size():
    assert shift_mask(16, 24, 8, CPU) is shift_mask(16, 24, 8, CPU)
    assert shift_mask(24, 16, 8, CPU).shape == (6, 64, 64)


def test_a_mask_first_made_for_measuring_serves_training():
    shift_mask.cache_clear()
    layer = SwinLayer(4, 2, 4, 2.0, shifted=True, drop_probability=0.0)
    with torch.inference_mode():
        mask = shift_mask(8, 8, 4, CPU)
    layer(torch.rand(1, 8, 8, 4), mask).sum().backward()
    assert not mask.is_inference()
    assert layer.attn.relative_position_bias_table.grad is not None


@torch.no_grad()
def test_stochastic_depth_leaves_out_whole_images_in_training_only():
    torch.manual_seed(0)
    layer = fill(SwinLayer(4, 2, 4, 2.0, shifted=False, drop_probability=0.75), gain=1.0)
    tokens, mask = torch.rand(200, 4, 4, 4), shift_mask(4, 4, 4, CPU)
    changed = (layer.train()(tokens, mask) != tokens).flatten(1)
    assert torch.equal(changed.any(1), changed.float().mean(1) > 0.9)
    # Both branches are dropped with probability 0.75 each: 87.5 of 200 images change, standard deviation 7.
    assert 200 * (1 - 0.75**2) - 28 < changed.any(1).sum() < 200 * (1 - 0.75**2) + 28
    assert (layer.eval()(tokens, mask) != tokens).flatten(1).any(1).all()


SMALL = {"channels": 12, "depths": [2, 2], "heads": 2, "window": 4}


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
    start_from(fresh, tmp_path / "official.pth")
    rainy = torch.rand(1, 3, 8, 8)
    assert torch.equal(fresh.eval()(rainy), trained(rainy))
