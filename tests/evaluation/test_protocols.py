"""Protocols by name: from the config to the figures of real pairs, against scikit-image."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from slackoff.config import build
from slackoff.errors import SlackoffError
from slackoff.images import five_crops

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


class Brighter(nn.Module):
    """Adds a fraction of a grey level and leaves the range where the image is nearly white."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(7.3 / 255))

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        return rainy + self.shift


def measured(config, network: nn.Module):
    return build.build_evaluator(config, build.build_backgrounds(config)).evaluate(network)


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Of one channel, over the windows that fit: scikit-image's map without the border that it pads."""
    _, values = structural_similarity(first, second, full=True, **GAUSSIAN)
    return values[5:-5, 5:-5].mean()


def read(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.float64)


@pytest.mark.parametrize("name", ["rain100l", "rain100h"])
def test_menet_crop_rgb_is_scikit_images_on_each_crop(composed, shared_data, name):
    root = shared_data(name)
    config = composed(f"evaluation={name}_crops", f"roots.{name}={root}", "evaluation.count=2")
    rows = measured(config, Brighter()).rows.set_index("image")
    assert len(rows) == 20
    for file in sorted((root / "rainy").iterdir())[:2]:
        clean = read(root / "norain" / file.name)
        output = np.clip(read(file) + 7.3, 0, 255)
        for crop in five_crops(*clean.shape[:2], 224):
            square = np.s_[crop.top : crop.top + 224, crop.left : crop.left + 224]
            b, o = (x[square][:, ::-1] if crop.mirrored else x[square] for x in (clean, output))
            row = rows.loc[f"{file.stem}-{crop.name}"]
            assert (row["height"], row["width"]) == (224, 224)
            assert row["psnr_rgb"] == pytest.approx(peak_signal_noise_ratio(b, o, data_range=255), abs=1e-4)
            expected = np.mean([ssim(b[..., c], o[..., c]) for c in range(3)])
            assert row["ssim_rgb"] == pytest.approx(expected, abs=1e-5)


def test_full_y_is_scikit_images_on_luma_of_whole_8_bit_images(composed, shared_data):
    root = shared_data("rain100l")
    named = ["evaluation=rain100l", "protocol@evaluation.protocol=full_y", f"roots.rain100l={root}"]
    rows = measured(composed(*named, "evaluation.count=2"), Brighter()).rows.set_index("image")
    assert len(rows) == 2
    weights = np.array([65.481, 128.553, 24.966]) / 255
    for file in sorted((root / "rainy").iterdir())[:2]:
        clean, rainy = (16 + read(root / folder / file.name) @ weights for folder in ("norain", "rainy"))
        output = 16 + np.clip(read(file) + 7, 0, 255) @ weights  # 7.3 grey levels, saved as 8 bit
        row = rows.loc[file.stem]
        for column, image in (("", output), ("_input", rainy)):
            expected = peak_signal_noise_ratio(clean, image, data_range=255)
            assert row[f"psnr_y{column}"] == pytest.approx(expected, abs=1e-4)
            assert row[f"ssim_y{column}"] == pytest.approx(ssim(clean, image), abs=1e-5)


def test_the_mean_is_one_of_crops_and_not_the_psnr_of_the_mean_error(composed, shared_data):
    root = shared_data("rain100h")
    config = composed("evaluation=rain100h_crops", f"roots.rain100h={root}", "evaluation.count=4")
    found = measured(config, Brighter())
    mean = found.rows["psnr_rgb"].mean()
    pooled = -10 * np.log10((10 ** (-found.rows["psnr_rgb"] / 10)).mean())
    assert found.means["psnr_rgb"] == pytest.approx(mean, abs=1e-4)
    assert mean - pooled > 0.1
    assert sorted(found.rows.groupby("source").size()) == [10, 10, 20]  # 003 and 004 are one photo


def test_small_splits_are_measured_alike(composed, shared_data):
    for name, count in (("rain100l", 10), ("rain100h", 6)):
        config = composed(f"evaluation={name}_last_crops", f"roots.{name}={shared_data(name)}", "evaluation.count=null")
        evaluator = build.build_evaluator(config, build.build_backgrounds(config))
        assert evaluator.protocol.name == "menet_crop_rgb"
        assert len(evaluator.images) == 10 * count


def test_e_r_of_a_clipped_output_is_the_same_pooled_over_one_image(composed, shared_data):
    """The pooled figures see the output as the others do."""
    config = composed("evaluation=rain100h_crops", f"roots.rain100h={shared_data('rain100h')}")
    evaluator = build.build_evaluator(config, build.build_backgrounds(config))
    evaluator.images, network = evaluator.images[:1], Brighter()
    with torch.no_grad():
        network.shift.mul_(20)  # most of the image leaves the range
    means = evaluator.evaluate(network).means
    assert means["e_r_pooled"] == pytest.approx(means["e_r"], rel=1e-4)
    assert means["e_b_pooled"] == pytest.approx(means["e_b"], rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["evaluation=rain100l", "protocol@evaluation.protocol=menet_crop_rgb"],
            r"^The protocol menet_crop_rgb is for",
        ),
        (["evaluation=rain100l_crops", "protocol@evaluation.protocol=full_y"], r"^The protocol full_y is for whole"),
        (
            ["evaluation=r100like", "protocol@evaluation.protocol=full_y"],
            r"the test set r100like has others: take pairs",
        ),
    ],
)
def test_a_protocol_gives_its_name_to_no_other_images(composed, shared_data, overrides, message):
    config = composed(*overrides, f"roots.rain100l={shared_data('rain100l')}")
    with pytest.raises(SlackoffError, match=message):
        build.build_evaluator(config, build.build_backgrounds(config))


def test_the_usual_protocol_is_what_it_was(composed):
    for choice in ("pairs", "r100like", "rain200h", "streaks"):
        config = composed(f"evaluation={choice}")
        assert dict(config.evaluation.protocol) == {
            "_target_": "slackoff.metrics.protocol.Protocol",
            "name": "slackoff-v1",
            "thresholds": [0, 10, 20, 50],
            "headline": 10,
            "quantise": True,
        }
