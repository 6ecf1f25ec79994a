"""Test sets: what they are made of, that they stay the same, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.evaluation import Evaluator, PairFolder, RainOnHeldOut, ThinRainOnHeldOut
from slackoff.images import BuiltinSource, FolderSource, split_images
from slackoff.metrics.protocol import Protocol
from slackoff.rain import RainRange, ThinRain, render_streaks


def held_out(count: int = 6) -> list:
    source = BuiltinSource()
    return ThinRainOnHeldOut(count, 128, 0, ThinRain()).load(source, split_images(source, None).test)


def test_held_out_images_are_photos_under_rain_and_the_same_each_time():
    images = held_out()
    for image, again in zip(images, held_out(), strict=True):
        assert torch.equal(image.rainy, again.rainy)
        assert torch.equal(image.rainy, (image.background + image.rain).clamp(0, 1))
        assert image.origin["photograph"] in ("skimage/astronaut.png", "skimage/chelsea.png", "skimage/rocket.jpg")
    assert [image.name for image in held_out(3)] == [image.name for image in images[:3]]
    assert not torch.equal(images[0].rain, images[1].rain)


def test_rain_of_a_training_range_on_the_same_crops():
    """Against the renderer itself; the label keeps the names of two sets apart."""
    source, test = BuiltinSource(), split_images(BuiltinSource(), None).test
    rain_range = RainRange([200, 300], [5], [30, 31], [-5, 5])
    images = RainOnHeldOut(3, 128, 0, rain_range, label="seen").load(source, test)
    for number, (image, thin) in enumerate(zip(images, held_out(3), strict=True)):
        generator = torch.Generator().manual_seed(derive_seed(0, "test rain", number))
        assert torch.equal(image.rain, render_streaks(rain_range, 1, 128, 128, generator)[0])
        assert torch.equal(image.rainy, (image.background + image.rain).clamp(0, 1))
        assert torch.equal(image.background, thin.background)
        assert image.name == f"seen-{thin.name}"


def test_crops_that_are_too_small_for_the_rain_are_refused():
    rain_range = RainRange([200, 300], [5], [50, 60], [-5, 5])
    with pytest.raises(SlackoffError, match=r"size_px=30 is too small for rain\.length"):
        RainOnHeldOut(3, 30, 0, rain_range).load(BuiltinSource(), [0])


def write_pairs(root: Path) -> None:
    generator = np.random.default_rng(0)
    clean = generator.integers(0, 200, (40, 60, 3), dtype=np.uint8)
    for folder in ("rainy", "norain"):
        (root / folder).mkdir(parents=True)
    for number, rain in enumerate((20, 50)):
        rainy = clean.copy()
        rainy[10:20] += np.uint8(rain)
        Image.fromarray(clean).save(root / "norain" / f"{number}.png")
        Image.fromarray(rainy).save(root / "rainy" / f"{number}.png")


def test_pairs_over_one_background_share_their_source_and_rain_is_the_difference(tmp_path: Path):
    write_pairs(tmp_path)
    first, second = PairFolder(str(tmp_path)).load(BuiltinSource(), [])
    assert first.origin == second.origin
    assert second.rain.shape == (1, 40, 60)
    assert (second.rain[0, 10:20] * 255).round().unique().tolist() == [50]
    assert second.rain[0, :10].abs().max() == 0


def test_the_centre_is_cropped_and_a_crop_that_does_not_fit_is_refused(tmp_path: Path):
    write_pairs(tmp_path)
    whole = PairFolder(str(tmp_path), count=1).load(BuiltinSource(), [])
    (crop,) = PairFolder(str(tmp_path), count=1, crop_px=20).load(BuiltinSource(), [])
    assert torch.equal(crop.rainy, whole[0].rainy[:, 10:30, 20:40])
    with pytest.raises(SlackoffError, match=r"40x60, smaller than evaluation\.crop_px=50"):
        PairFolder(str(tmp_path), crop_px=50).load(BuiltinSource(), [])


def test_nothing_held_out_is_refused_with_the_cure():
    with pytest.raises(SlackoffError, match=r"background\.held_out"):
        ThinRainOnHeldOut(2, 128, 0, ThinRain()).load(BuiltinSource(), [])


class Scale(nn.Module):
    """A network that multiplies by one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        return rainy * self.weight


def test_the_identity_scores_nothing_and_pooled_errors_weigh_pixels():
    images = held_out()
    evaluator = Evaluator("set", images, Protocol(), quick_count=2, picture_count=2)
    found = evaluator.evaluate(Scale(1.0))
    assert found.means["e_r"] == 0
    assert found.means["removal_share"] == 0
    assert list(found.rows["photograph"]) == [image.origin["photograph"] for image in images]
    assert len(found.pictures) == 2

    half = evaluator.evaluate(Scale(0.5))
    squares, count = 0.0, 0
    for image in images:
        rainy = np.round(image.rainy.numpy().astype(np.float64) * 255)
        output = np.round(image.rainy.numpy().astype(np.float32) * np.float32(0.5) * 255).astype(np.float64)
        mask = np.broadcast_to(image.rain.numpy() * 255 > 10.5, rainy.shape)
        squares += ((output - rainy)[mask] ** 2).sum()
        count += mask.sum()
    assert half.means["e_r_pooled"] == pytest.approx(np.sqrt(squares / count), rel=1e-4)
    assert half.means["e_r"] == pytest.approx(half.rows["e_r"].mean(), rel=1e-6)


def test_photographs_of_the_same_name_in_two_folders_are_two(tmp_path: Path):
    generator = np.random.default_rng(0)
    for name in ("a/001.png", "b/001.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(generator.integers(0, 256, (140, 300, 3), dtype=np.uint8)).save(tmp_path / name)
    images = ThinRainOnHeldOut(4, 128, 0, ThinRain()).load(FolderSource(tmp_path), [0, 1])
    assert sorted(image.origin["photograph"] for image in images) == ["a/001.png"] * 2 + ["b/001.png"] * 2
    assert len({image.name for image in images}) == 4


def test_pictures_of_two_test_sets_whose_images_have_the_same_names():
    images = held_out(2)
    dark = [image._replace(rainy=image.rainy * 0) for image in images]
    found = Evaluator("first", images, Protocol(), 1, 2, {"second": dark}).evaluate(Scale(1.0))
    assert len(found.pictures) == 4
    for image in images:
        assert found.pictures["first", image.name]["rainy"].max() > 0
        assert found.pictures["second", image.name]["rainy"].max() == 0


def test_training_mode_is_given_back():
    evaluator = Evaluator("set", held_out(2), Protocol(), 1, 0)
    network = Scale(1.0).train()
    assert evaluator.quick_means(network)["e_r"] == 0
    assert network.training


def test_further_test_sets_are_measured_at_the_end_and_do_not_change_the_means():
    network = Scale(0.5)
    images = held_out(4)
    alone = Evaluator("first", images[:2], Protocol(), 1, 1).evaluate(network)
    both = Evaluator("first", images[:2], Protocol(), 1, 1, {"second": images[2:]}).evaluate(network)
    assert both.rows["test_set"].tolist() == ["first"] * 2 + ["second"] * 2
    assert both.rows["image"].tolist() == [image.name for image in images]
    assert both.means == pytest.approx(alone.means, nan_ok=True)
    assert set(both.pictures) == {("first", images[0].name), ("second", images[2].name)}
