"""``derain --network dsc``: a method without weights takes photos as a whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from slackoff.cli.app import app
from slackoff.config.presets import compose_preset
from slackoff.deraining.model import Model, from_preset
from slackoff.deraining.tiles import Tiling, derain_array
from slackoff.errors import SlackoffError
from slackoff.networks import DSC

SMALL = {"atoms": 20, "rain_atoms": 10, "samples": 200, "sweeps": 1, "rounds": 1, "step": 4}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (21, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def derain(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["derain", *map(str, arguments), "--device", "cpu"])


def test_the_verb_writes_what_dsc_makes_of_the_photo(photo, tmp_path, monkeypatch):
    node = compose_preset("dsc")
    node.update(SMALL)
    monkeypatch.setattr("slackoff.deraining.model.compose_preset", lambda preset: node)
    result = derain(photo, "--network", "dsc", "-o", tmp_path / "b.png")
    assert result.exit_code == 0, result.output
    assert "dsc: 1 photos, each as a whole" in result.output
    rainy = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
    expected = (DSC(**SMALL)(rainy)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    found = Image.open(tmp_path / "b.png")
    assert np.array_equal(np.asarray(found), expected.numpy())
    assert found.text["Software"] == "slackoff, dsc"


def test_a_photo_larger_than_a_tile_is_one_whole_and_tells_its_progress():
    noise = np.random.default_rng(1).integers(0, 256, (70, 40, 3), dtype=np.uint8)
    model = Model(DSC(**SMALL), compose_preset("dsc"), "dsc", None)
    shares: list[float] = []
    found = derain_array(model, noise, Tiling(32, 16), shares.append)
    assert np.array_equal(found, derain_array(model, noise))
    assert len(shares) == 3  # K-SVD, and each layer coded once
    assert sum(shares) == pytest.approx(1)


def test_want_of_memory_is_not_answered_with_tiles(photo, tmp_path, monkeypatch):
    def out_of_memory(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("not enough memory")

    monkeypatch.setattr(DSC, "derain", out_of_memory)
    result = derain(photo, "--network", "dsc", "-o", tmp_path / "b.png")
    assert result.exit_code == 11
    assert "a.png cannot be derained (not enough memory): try a smaller photo" in result.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--network", "unet_tiny"], "--network unet_tiny needs its weights"),
        (["--network", "dcs"], "did you mean 'dsc'?"),
        (["--network", "dsc", "--tile", "64"], "--tile is not for dsc"),
        (["--network", "dsc", "--teacher"], "one of the two"),
    ],
)
def test_mistakes_are_one_sentence(photo, tmp_path, options, sentence):
    result = derain(photo, "-o", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_method_without_weights_says_so():
    model = from_preset("dsc")
    assert (model.weights, model.cell, model.name) == (None, None, "dsc")
    with pytest.raises(SlackoffError, match="needs its weights"):
        from_preset("moss_small")
