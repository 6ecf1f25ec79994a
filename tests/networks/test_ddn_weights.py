"""Public weights: of a reproduction of DDN, and of SIRR, whose network is DDN with norms of the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from formula_weights import formula_input
from PIL import Image

from slackoff.metrics.functional import psnr
from slackoff.networks import DDN
from slackoff.networks.weights import ddn_names, reproduction_name

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


def arrays(name: str) -> dict[str, np.ndarray]:
    path = WEIGHTS / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: this test needs public weights")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def reproduction(data: str) -> DDN:
    network = DDN(skip="long")
    stored = arrays(f"ddn-reproduction/rain100{data}_model_best.npz")
    network.load_state_dict({reproduction_name(name): torch.from_numpy(array) for name, array in stored.items()})
    return network.eval()


def sirr() -> DDN:
    """The weights of the supervised pass; TensorFlow's kernels are (height, width, in, out)."""
    network = DDN(norm="batch", eps=1e-5)
    stored = {name: torch.from_numpy(array) for name, array in arrays("sirr/sirr_model.npz").items()}
    network.load_state_dict(ddn_names(stored))
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("load", "recorded"),
    [
        (lambda: reproduction("H"), [0.404272, 0.227959, 0.586571, 0.551458, 0.0798302]),
        (lambda: reproduction("L"), [0.375310, 0.248047, 0.493933, 0.362081, 0.0906233]),
        (sirr, [0.439094, 0.247027, 0.529863, 0.530186, 0.086813]),
    ],
    ids=["rain100h", "rain100l", "sirr"],
)
def test_public_weights_give_the_recorded_output(load, recorded):
    y = load()(formula_input())
    found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
    assert [value.item() for value in found] == pytest.approx(recorded, rel=1e-4)


def crops(folder: Path, name: str, side: int = 160) -> list[torch.Tensor]:
    """The middle of a rainy image and of its background: (1, 3, side, side) in [0, 1]."""

    def middle(kind: str) -> torch.Tensor:
        pixels = np.asarray(Image.open(folder / kind / name).convert("RGB"))
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        cut = pixels[top : top + side, left : left + side].copy()
        return torch.from_numpy(cut).permute(2, 0, 1)[None].float() / 255

    return [middle("rainy"), middle("norain")]


@torch.no_grad()
@pytest.mark.parametrize(
    ("data", "name", "untouched", "restored"),
    [
        ("L", "001.png", 25.294, 34.467),
        ("L", "002.png", 28.713, 35.679),
        ("H", "001.png", 13.253, 26.869),
        ("H", "002.png", 13.728, 27.015),
    ],
)
def test_public_weights_take_rain_off_real_pairs(shared_data, data, name, untouched, restored):
    """RGB PSNR in dB, measured once with this code: input and output."""
    rainy, background = crops(shared_data(f"rain100{data.lower()}"), name)
    output = reproduction(data)(rainy).clamp(0, 1)
    found = [psnr(image, background, "rgb").item() for image in (rainy, output)]
    assert found == pytest.approx([untouched, restored], abs=0.02)
    assert found[1] > found[0] + 6


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("b1.0.weight", "first.0.weight"),
        ("module.b1.1.running_var", "first.1.running_var"),
        ("b2.0.bias", "layers.0.0.bias"),
        ("b2.70.num_batches_tracked", "layers.23.1.num_batches_tracked"),
        ("b3.1.bias", "last.1.bias"),
        ("b2.71.weight", None),
        ("b1.3.weight", None),
        ("b4.0.weight", None),
        ("fc.weight", None),
    ],
)
def test_names_of_the_reproduction(foreign, ours):
    assert reproduction_name(foreign) == ours
