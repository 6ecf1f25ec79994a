"""PSNR and rain of stored pairs: against figures measured elsewhere on the same files, and scikit-image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from slackoff.metrics import functional
from slackoff.metrics.protocol import Protocol

DATA = Path(__file__).parents[3] / "shared" / "data"


def pairs(name: str) -> list[list[np.ndarray]]:
    """Rainy and clean image of each pair, uint8 (H, W, 3); skips the test where the folder is absent."""
    rainy, clean = DATA / name / "rainy", DATA / name / "norain"
    if not rainy.is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    names = sorted(path.name for path in rainy.iterdir())
    return [[np.asarray(Image.open(folder / n).convert("RGB")) for folder in (rainy, clean)] for n in names]


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


def psnr_values(stored: list[list[np.ndarray]], channel: str) -> np.ndarray:
    return np.array([functional.psnr(*map(as_tensor, pair), channel).item() for pair in stored])


@pytest.mark.parametrize(("channel", "dense", "sparse"), [("rgb", 17.82, 23.93), ("y", 19.17, 25.42)])
def test_input_psnr_of_the_sirr_test_set(channel, dense, sparse):
    """Ten dense and ten sparse images of DDN-SIRR, measured independently of this code."""
    values = psnr_values(pairs("sirr"), channel)
    assert values[:10].mean() == pytest.approx(dense, abs=0.006)
    assert values[10:].mean() == pytest.approx(sparse, abs=0.006)


def test_input_psnr_of_rain100l():
    """The whole test set is said to have about 25.5 dB; 60 of its pairs may miss that by chance."""
    stored = pairs("rain100l")
    values = psnr_values(stored, "rgb")
    expected = [peak_signal_noise_ratio(clean, rainy) for rainy, clean in stored]
    np.testing.assert_allclose(values, expected, atol=1e-4)
    standard_error = values.std(ddof=1) / len(values) ** 0.5
    assert standard_error < 0.6
    assert values.mean() == pytest.approx(25.5, abs=2 * standard_error)


def test_untouched_and_perfect_output_of_rain100l():
    for pair in pairs("rain100l")[:4]:
        rainy, background = map(as_tensor, pair)
        rain = functional.rain_from_pair(rainy, background)
        untouched = Protocol().measure(rainy, background, rain, rainy)
        perfect = Protocol().measure(background, background, rain, rainy)
        assert untouched["e_r"] == untouched["e_b_t0"] == untouched["removal_share"] == 0
        assert untouched["e_b"] <= 10
        assert perfect["e_b"] == 0
        assert perfect["e_r"] == perfect["e_r_oracle"] > 20
        assert perfect["removal_share"].item() == pytest.approx(1, abs=0.1)
