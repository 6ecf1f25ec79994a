"""PReNet's published weights in our networks: outputs recorded with the authors' code, and rain taken out of pairs.

The files are not part of the project; without them these tests are skipped.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from slackoff.metrics import functional
from slackoff.networks import PReNet
from slackoff.networks.weights import start_from

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "prenet"
FAMILY = {
    "PReNet6": {},
    "PReNet6_r": {"share_blocks": True},
    "PRN6": {"unit": "none"},
    "PRN6_r": {"unit": "none", "share_blocks": True},
}
CROP_PX = 128


def published(trained_on: str, member: str) -> PReNet:
    path = WEIGHTS / f"{trained_on}__{member}__net_latest.pth"
    if not path.is_file():
        pytest.skip(f"{path} is absent: this test needs published weights")
    network = PReNet(**FAMILY[member]).eval()
    start_from(network, path)
    return network


def waves() -> Tensor:
    """The formula image that outputs were recorded for: float32, (1, 3, 40, 56)."""
    c, i, j = np.meshgrid(np.arange(3), np.arange(40), np.arange(56), indexing="ij")
    values = 0.5 + 0.35 * np.sin(0.3 * i + 0.2 * j + 0.7 * c) + 0.15 * np.cos(0.9 * j - 0.4 * i)
    return torch.from_numpy(values).float()[None]


@torch.no_grad()
@pytest.mark.parametrize(
    ("trained_on", "member", "recorded"),
    [
        ("Rain100H", "PReNet6", [0.349571, 0.243133, 0.382580, 0.413068, 0.020694]),
        ("Rain100L", "PReNet6", [0.354249, 0.254161, 0.480278, 0.353235, 0.077918]),
        ("Rain100H", "PReNet6_r", [0.350343, 0.248269, 0.496426, 0.434938, 0.071853]),
        ("Rain100H", "PRN6", [0.345918, 0.235669, 0.365340, 0.409678, 0.071044]),
        ("Rain100H", "PRN6_r", [0.357299, 0.237742, 0.415564, 0.427802, 0.076579]),
    ],
)
def test_outputs_are_those_of_the_authors_code(trained_on, member, recorded):
    found = published(trained_on, member)(waves())
    values = [found.mean(), found.std(correction=0), found[0, 0, 0, 0], found[0, 1, 20, 30], found[0, 2, 39, 55]]
    assert [value.item() for value in values] == pytest.approx(recorded, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("trained_on", "member", "decibel"),
    [
        ("Rain100H", "PReNet6", 31.133),
        ("Rain100H", "PReNet6_r", 30.204),
        ("Rain100H", "PRN6", 29.436),
        ("Rain100H", "PRN6_r", 28.966),
        ("Rain100L", "PReNet6", 35.521),
        ("Rain100L", "PReNet6_r", 35.617),
        ("Rain100L", "PRN6", 34.915),
        ("Rain100L", "PRN6_r", 35.208),
    ],
)
def test_rain_is_taken_out_of_a_real_pair(trained_on, member, decibel, shared_data):
    """Luma, the middle of the first test pair of the set that the network was trained for; measured once, here."""
    rainy, background = (_middle(shared_data(trained_on.lower()) / kind / "001.png") for kind in ("rainy", "norain"))
    untouched = functional.psnr(rainy, background, "y").item()
    assert untouched == pytest.approx({"Rain100H": 14.338, "Rain100L": 26.962}[trained_on], abs=1e-3)
    output = published(trained_on, member)(rainy).clamp(0, 1)
    assert functional.psnr(output, background, "y").item() == pytest.approx(decibel, abs=0.01)


def _middle(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    top, left = ((side - CROP_PX) // 2 for side in pixels.shape[:2])
    crop = pixels[top : top + CROP_PX, left : left + CROP_PX].copy()
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
