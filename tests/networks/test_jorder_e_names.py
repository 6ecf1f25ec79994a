"""The published weights of JORDER-E's practical model, under our names, on formulas and on real pairs."""

from pathlib import Path

import pytest
import torch
from formula_weights import formula_input

from slackoff.images.files import read_rgb
from slackoff.metrics.functional import psnr
from slackoff.networks import JORDERE
from slackoff.networks.weights import jorder_e_name

FILE = Path(__file__).resolve().parents[3] / "shared" / "weights" / "jorder-e" / "model_practical.pt"


def released_names(blocks):
    """Every key of a released file, from the description of its modules."""
    modules = ["encoder", "decoder.0", "decoder.1"]
    modules += [f"updater.res{block}.conv{number}" for block in range(1, blocks + 1) for number in range(1, 7)]
    modules += [f"{what}_estimator{n}" for what in ("mask", "level") for n in (1, 2)]
    modules += [f"{what}_F_{kind}_encoder{n}" for what in ("mask", "level") for kind in "wb" for n in (1, 2)]
    return {f"jorder{stage}.{m}.{tensor}" for stage in (1, 2) for m in modules for tensor in ("weight", "bias")}


@pytest.mark.parametrize("blocks", [3, 11])
def test_every_released_name_has_one_of_ours(blocks):
    released = released_names(blocks)
    ours = [jorder_e_name(key) for key in released]
    assert set(ours) == set(JORDERE(4, blocks).state_dict())
    assert len(ours) == len(set(ours))


@pytest.mark.parametrize(
    "key",
    [
        "jorder3.encoder.weight",
        "jorder1.haze.weight",
        "jorder1.updater.res0.conv1.bias",
        "jorder1.updater.res1.conv7.bias",
        "encoder.weight",
        "stage1.encoder.weight",
    ],
)
def test_other_names_stay_as_they_are(key):
    assert jorder_e_name(key) == key


@pytest.fixture(scope="module")
def practical() -> JORDERE:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is absent: this test needs JORDER-E's published weights")
    released = torch.load(FILE, map_location="cpu", weights_only=True)
    network = JORDERE(32, 3).eval()
    network.load_state_dict({jorder_e_name(key): tensor for key, tensor in released.items()})
    return network


@torch.no_grad()
def test_published_weights_give_the_recorded_estimates(practical):
    recorded = [
        [78.20495, 52.35417, 94.88355, 84.90199, 17.03266],
        [86.13333, 57.41776, 87.50221, 96.18466, 22.87517],
    ]
    for background, expected in zip(practical.stages(formula_input()).backgrounds, recorded, strict=True):
        grey = 255 * background
        found = [grey.mean(), grey.std(correction=0), grey[0, 0, 0, 0], grey[0, 1, 20, 30], grey[0, 2, 39, 55]]
        assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_under_autocast_published_weights_err_by_little_more_than_a_grey_level(practical):
    rainy = formula_input()
    with torch.autocast("cpu", torch.bfloat16):
        found = practical(rainy)
    error = 255 * (found - practical(rainy))
    assert 0 < error.square().mean().sqrt().item() < 0.5  # 0.27; the largest is 1.2


@torch.no_grad()
@pytest.mark.parametrize(("name", "before", "after"), [("001.png", 12.943, 22.545), ("007.png", 7.012, 19.627)])
def test_published_weights_remove_heavy_rain(practical, shared_data, name, before, after):
    """Rain100H, PSNR on RGB of the middle 128 x 128 px, as an 8-bit picture: 9.6 and 12.6 dB better than the input."""
    rainy, background = (_middle(shared_data("rain100h") / folder / name) for folder in ("rainy", "norain"))
    restored = (practical(rainy).clamp(0, 1) * 255).round() / 255
    assert psnr(rainy, background).item() == pytest.approx(before, abs=0.01)
    assert psnr(restored, background).item() == pytest.approx(after, abs=0.05)


def _middle(path, side=128):
    image = torch.from_numpy(read_rgb(path)).permute(2, 0, 1)[None].float() / 255
    top, left = ((size - side) // 2 for size in image.shape[-2:])
    return image[..., top : top + side, left : left + side]
