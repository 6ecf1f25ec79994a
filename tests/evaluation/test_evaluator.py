"""The evaluator: rows, means and pictures; protocols by name, on real pairs, against scikit-image."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

from slackoff.config import build
from slackoff.errors import SlackoffError
from slackoff.evaluation import EvaluationImage, Evaluator, RainOnHeldOut
from slackoff.images import BuiltinSource, five_crops, read_pair, split_images
from slackoff.metrics.protocol import Protocol
from slackoff.rain import ThinRain

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


class Affine(nn.Module):
    """A network that multiplies by one weight and adds another, whatever range that leaves."""

    def __init__(self, factor: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift = (nn.Parameter(torch.tensor(value)) for value in (factor, shift))

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        return rainy * self.factor + self.shift


BRIGHTER = 7.3 / 255
"""A shift by a fraction of a grey level that leaves the range where the image is nearly white."""


def held_out(count: int = 6) -> list[EvaluationImage]:
    source = BuiltinSource()
    return RainOnHeldOut(count, 128, 0, ThinRain()).load(source, split_images(source, None).test)


def test_images_of_one_name_in_a_set_keep_rows_and_pictures_of_their_own():
    """As pairs of the stems a.png and a.jpg have it, or x-on-y of a pair and a photo that can be parted in two ways."""
    images = [image._replace(name="a") for image in held_out(3)]
    found = Evaluator("set", images, Protocol(), quick_count=1, picture_count=3).evaluate(Affine(1.0))
    names = [f"a [{image.origin['digest']}]" for image in images]
    assert list(found.rows["image"]) == names
    assert list(found.pictures) == [("set", name) for name in names]


def test_a_row_has_the_size_of_its_image():
    (image,) = held_out(1)
    low = image._replace(**{key: getattr(image, key)[..., :64, :] for key in ("background", "rain", "rainy")})
    row = Evaluator("set", [low], Protocol(), 1, 0).evaluate(Affine()).rows.iloc[0]
    assert (row["height"], row["width"]) == (64, 128)


def test_the_identity_scores_nothing_and_pooled_errors_weigh_pixels():
    images = held_out()
    evaluator = Evaluator("set", images, Protocol(), quick_count=2, picture_count=2)
    found = evaluator.evaluate(Affine(1.0))
    assert found.means["e_r"] == 0
    assert found.means["removal_share"] == 0
    assert list(found.rows["photograph"]) == [image.origin["photograph"] for image in images]
    assert len(found.pictures) == 2

    half = evaluator.evaluate(Affine(0.5))
    squares, count = 0.0, 0
    for image in images:
        rainy = np.round(image.rainy.numpy().astype(np.float64) * 255)
        output = np.round(image.rainy.numpy().astype(np.float32) * np.float32(0.5) * 255).astype(np.float64)
        mask = np.broadcast_to(image.rain.numpy() * 255 > 10.5, rainy.shape)
        squares += ((output - rainy)[mask] ** 2).sum()
        count += mask.sum()
    assert half.means["e_r_pooled"] == pytest.approx(np.sqrt(squares / count), rel=1e-4)
    assert half.means["e_r"] == pytest.approx(half.rows["e_r"].mean(), rel=1e-6)


def test_pictures_of_two_test_sets_whose_images_have_the_same_names():
    images = held_out(2)
    dark = [image._replace(rainy=image.rainy * 0) for image in images]
    found = Evaluator("first", images, Protocol(), 1, 2, {"second": dark}).evaluate(Affine(1.0))
    assert len(found.pictures) == 4
    for image in images:
        assert found.pictures["first", image.name]["rainy"].max() > 0
        assert found.pictures["second", image.name]["rainy"].max() == 0


def test_training_mode_is_given_back():
    evaluator = Evaluator("set", held_out(2), Protocol(), 1, 0)
    network = Affine(1.0).train()
    assert evaluator.quick_look(network, 0).means["e_r"] == 0
    assert network.training


def test_further_test_sets_are_measured_at_the_end_and_do_not_change_the_means():
    network = Affine(0.5)
    images = held_out(4)
    alone = Evaluator("first", images[:2], Protocol(), 1, 1).evaluate(network)
    both = Evaluator("first", images[:2], Protocol(), 1, 1, {"second": images[2:]}).evaluate(network)
    assert both.rows["test_set"].tolist() == ["first"] * 2 + ["second"] * 2
    assert both.rows["image"].tolist() == [image.name for image in images]
    assert both.means == pytest.approx(alone.means, nan_ok=True)
    assert set(both.pictures) == {("first", images[0].name), ("second", images[2].name)}


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
    rows = measured(config, Affine(shift=BRIGHTER)).rows.set_index("image")
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
    rows = measured(composed(*named, "evaluation.count=2"), Affine(shift=BRIGHTER)).rows.set_index("image")
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
    found = measured(config, Affine(shift=BRIGHTER))
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
    evaluator.images = evaluator.images[:1]
    means = evaluator.evaluate(Affine(shift=20 * BRIGHTER)).means  # most of the image leaves the range
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


@pytest.fixture
def sirr(composed, shared_data):
    return composed("evaluation=sirr", f"roots.sirr={shared_data('sirr')}", "evaluation.count=null")


@pytest.mark.slow
def test_the_input_is_as_good_as_measured_before(sirr):
    """RGB PSNR and SSIM, in scikit-image's own window as the method's authors measure: 17.82 dB and 0.787 dense."""
    evaluator = build.build_evaluator(sirr, build.build_backgrounds(sirr))
    rows = evaluator.evaluate(Affine()).rows
    assert rows["image"].tolist() == [f"{number:02d}" for number in range(1, 21)]
    assert rows["test_set"].tolist() == ["dense"] * 10 + ["sparse"] * 10
    means = rows.groupby("test_set")[["psnr_rgb", "psnr_rgb_input"]].mean()
    sets = build.build_test_sets(sirr)
    for name, psnr, ssim in (("dense", 17.82, 0.787), ("sparse", 23.93, 0.858)):
        assert means.loc[name].tolist() == pytest.approx([psnr, psnr], abs=0.005)
        found = [structural_similarity(*read_pair(pair), channel_axis=2) for pair in sets[name].chosen()]
        measured = rows.loc[rows["test_set"] == name, "ssim_rgb"]
        assert measured.tolist() == pytest.approx(found, abs=1e-4)
        assert measured.mean() == pytest.approx(ssim, abs=0.0006)


def test_half_a_test_set_is_refused(composed, tmp_path):
    for folder in ("rainy", "norain"):
        (tmp_path / folder).mkdir()
        for number in range(12):
            pixels = np.full((16, 16, 3), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    config = composed("evaluation=sirr", f"evaluation.root={tmp_path}")
    with pytest.raises(SlackoffError, match=r"^numbers=\[11, 20\] of roots\.sirr: there are only 12 pairs"):
        build.build_evaluator(config, build.build_backgrounds(config))
