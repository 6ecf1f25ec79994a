"""Tiles against the whole image, and their weights against what they must add up to."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import nn

from pictures import noise
from slackoff.deraining.model import Model
from slackoff.deraining.tiles import (
    UNKNOWN_BYTES,
    Tiling,
    bytes_per_pixel,
    choose_tiling,
    derain_array,
    derained_strips,
    spans,
    weights,
)
from slackoff.errors import SlackoffError
from slackoff.networks import ResNet, UNet


def whole(network: nn.Module, rainy: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(rainy).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0)


def tiled(network: nn.Module, rainy: np.ndarray, tiling: Tiling) -> torch.Tensor:
    return torch.cat(list(derained_strips(network, rainy, tiling)))


class Far(nn.Module):
    """The sum of the pixels `radius` px away on both diagonals, with black around the image."""

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, x):
        r = self.radius
        padded = F.pad(x, (r, r, r, r))
        height, width = x.shape[-2:]
        return sum(padded[..., a : a + height, b : b + width] for a in (0, 2 * r) for b in (0, 2 * r))


@given(size=st.integers(1, 5000), side=st.integers(2, 40), overlap=st.integers(0, 20))
@settings(max_examples=200)
def test_tiles_cover_an_axis_and_their_weights_add_up_to_one(size, side, overlap):
    tiling = Tiling(16 * side, 16 * min(overlap, side // 2))
    tiles = spans(size, tiling)
    total = torch.zeros(size)
    for tile, weight in zip(tiles, weights(tiles), strict=True):
        assert tile.start % 16 == 0
        assert 0 < tile.stop - tile.start <= tiling.side
        assert weight.min() >= 0
        total[tile.start : tile.stop] += weight
    assert torch.allclose(total, torch.ones(size), atol=1e-6)
    assert tiles[-1].stop == size
    assert all(a.stop - b.start == tiling.overlap for a, b in pairwise(tiles))
    assert len(tiles) == 1 or size > tiling.side


@pytest.mark.parametrize(("radius", "equal"), [(8, True), (24, True), (25, False)])
def test_a_network_that_sees_no_farther_than_the_overlap_leaves_gives_the_whole_image(radius, equal):
    """Of an overlap of 64 px the outer 24 are not used; beyond that, a network lacks surroundings."""
    network, rainy = Far(radius), noise(150, 210)
    difference = (tiled(network, rainy, Tiling(128, 64)) - whole(network, rainy)).abs().max()
    assert (difference < 1e-6) == equal


def test_pooling_and_mirrored_borders_meet_the_same_pixels():
    torch.manual_seed(0)
    network = UNet(width=4, levels=3).requires_grad_(False)
    rainy = noise(147, 203)
    assert (tiled(network, rainy, Tiling(128, 64)) - whole(network, rainy)).abs().max() < 1e-6


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (129, 1)])
def test_tiny_images_and_thin_ones(size):
    torch.manual_seed(0)
    result = tiled(UNet(width=4, levels=5).requires_grad_(False), noise(*size), Tiling(128, 32))
    assert result.shape == (*size, 3)
    assert result.isfinite().all()


def test_grey_levels_are_rounded_and_kept_in_range():
    class Shift(nn.Module):
        def forward(self, x):
            return x + 100.4 / 255

    model = Model(Shift(), OmegaConf.create(), "shift", Path("none"))
    rainy = noise(70, 150)
    shares: list[float] = []
    result = derain_array(model, rainy, Tiling(64, 32), shares.append)
    assert np.array_equal(result, np.minimum(rainy.astype(int) + 100, 255))
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == len(spans(70, Tiling(64, 32))) * len(spans(150, Tiling(64, 32)))
    assert np.array_equal(derain_array(model, rainy), result)


def test_memory_of_a_network_is_that_of_its_live_tensors():
    """A residual block of 8 channels: image, skip, input and output of a convolution, all float32."""
    assert bytes_per_pixel(ResNet(channels=8, blocks=2)) == pytest.approx(4 * (3 + 4 * 8), rel=0.02)

    class Stubborn(nn.Module):
        def forward(self, x):
            return x * float(x.mean())

    assert bytes_per_pixel(Stubborn()) == UNKNOWN_BYTES


def test_tiles_are_chosen_by_the_memory_of_the_network():
    network = ResNet(channels=8, blocks=2)
    assert choose_tiling(network, 32, 35 * 4 * 500**2) == Tiling(496, 32)
    assert choose_tiling(network, 32, 1) == Tiling(128, 32)
    assert choose_tiling(network, 96, 1) == Tiling(192, 96)
    assert choose_tiling(network, 32, 1e12) == Tiling(1024, 32)


@pytest.mark.parametrize(
    ("side", "overlap", "key"), [(100, 16, "tile=100"), (0, 0, "tile=0"), (64, 48, "overlap=48"), (64, 8, "overlap=8"),
                                 (64, -16, "overlap=-16")]
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(side, overlap, key):
    with pytest.raises(SlackoffError, match=key):
        Tiling(side, overlap)
