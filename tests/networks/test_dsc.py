"""DSC's properties: numbers of the authors' cannot be reproduced, for their algorithm file is obfuscated."""

import numpy as np
import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.networks import DSC
from slackoff.networks.layers import guided_smooth
from slackoff.networks.sparse_coding import Settings, separate

SMALL = {"atoms": 96, "rain_atoms": 32, "samples": 600, "rounds": 2, "sweeps": 2}


def smooth_image(side: int = 64) -> torch.Tensor:
    down, right = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    grey = 0.45 + 0.25 * (3 * right + down).sin() * (2 * down).cos()
    return torch.stack([grey, grey * 0.8, grey * 0.6 + 0.2])


def rainy_image(side: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image and nearly vertical bright streaks of 12 px over it."""
    clean, rain = smooth_image(side), torch.zeros(side, side)
    for top, left in np.random.default_rng(seed).integers(0, side - 13, (40, 2)):
        for step in range(12):
            rain[top + step, left + step // 6] = 0.35
    return clean, clean + rain - clean * rain


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


def test_streaks_are_taken_out_of_a_smooth_image():
    clean, rainy = rainy_image()
    output = DSC(**SMALL)(rainy[None])[0]
    assert psnr(output, clean) > psnr(rainy, clean) + 1
    assert output.min() >= 0
    assert output.max() <= 1


def test_an_image_without_rain_is_nearly_unchanged():
    clean = smooth_image()
    assert psnr(DSC(**SMALL)(clean[None])[0], clean) > 35


def test_layers_blend_to_the_image_and_share_no_atom():
    observed = rainy_image()[1].mean(0)
    settings = Settings(background_atoms=96, rain_atoms=32, samples=600, rounds=3, sweeps=2)
    base = guided_smooth(observed[None, None], 7, 1.0)[0, 0]
    shares: list[float] = []
    layers = separate(observed, base, settings, torch.Generator().manual_seed(0), shares.append)
    blended = layers.background + layers.rain - layers.background * layers.rain
    torch.testing.assert_close(blended, observed, atol=1e-6, rtol=0)
    assert layers.rain.min() >= 0
    assert layers.rain.max() > 0.1
    assert layers.background.min() >= 0
    assert (len(layers.background_atoms), len(layers.rain_atoms)) == (96, 32)
    assert (layers.background_atoms @ layers.rain_atoms.T).abs().max() < 1 - 1e-4
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_chroma_is_kept():
    rainy = rainy_image()[1]
    change = DSC(**SMALL)(rainy[None])[0] - rainy
    assert change.abs().max() > 0.03
    torch.testing.assert_close(change[0], change[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(change[0], change[2], atol=1e-6, rtol=0)


def test_equal_for_a_seed_and_for_images_side_by_side():
    torch.manual_seed(1)
    first, second = rainy_image(40, 1)[1], rainy_image(40, 2)[1]
    both = DSC(**SMALL)(torch.stack([first, second]))
    torch.manual_seed(2)
    assert torch.equal(DSC(**SMALL)(second[None])[0], both[1])
    assert not torch.equal(DSC(**SMALL, seed=1)(first[None])[0], both[0])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50), (17, 31)])
def test_any_size(height, width):
    image = torch.rand(1, 3, height, width)
    output = DSC(**SMALL)(image)
    assert output.shape == image.shape
    assert output.isfinite().all()


def test_black_and_white_stay():
    for value in (0.0, 1.0):
        image = torch.full((1, 3, 20, 20), value)
        torch.testing.assert_close(DSC(**SMALL)(image), image, atol=1e-6, rtol=0)


def test_nothing_to_train_and_nothing_to_count():
    network = DSC()
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    assert network.to("meta")(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 3, 9, 9)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"atoms": 4}, "network.atoms=4 must be at least sparsity=5"),
        ({"rain_atoms": 7}, "network.rain_atoms=7 must be at least rain_sparsity=8"),
        ({"step": 3}, "network.step=3 must be 1, 2, 4, 8 or 16"),
        ({"rounds": 0}, "network.rounds=0 must be at least 1"),
        ({"weight": 0.0}, "network.weight=0.0 must be above 0"),
    ],
)
def test_a_number_out_of_its_range_is_one_sentence(option, sentence):
    with pytest.raises(SlackoffError) as refused:
        DSC(**option)
    assert str(refused.value) == sentence
