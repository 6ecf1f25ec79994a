"""``derain`` from the command line: the tiny network of a record, and dsc, which takes photos as a whole."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from cell_record import IDENTITY, write_photo
from PIL import Image
from torch import nn
from typer.testing import Result

from pictures import noise
from slackoff.config.presets import compose_preset
from slackoff.deraining import photos as work
from slackoff.deraining.model import Model, from_preset
from slackoff.deraining.tiles import Tiling, derain_array
from slackoff.errors import SlackoffError
from slackoff.networks import DSC
from verbs import call, mistake


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three PNGs of noise, 40 x 50 px, one of them in a folder below."""
    for seed, name in enumerate(("a.png", "b.png", "more/c.png")):
        write_photo(tmp_path / "photos" / name, 40, 50, seed)
    return tmp_path / "photos"


@pytest.fixture
def derain(runs: Path, tmp_path: Path):
    """Derain with the record's cell into out/."""

    def derained(*arguments: object) -> Result:
        return call("derain", *arguments, "--cell", "abc", "--runs", runs, "-o", tmp_path / "out", "--device", "cpu")

    return derained


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(network: nn.Module, photo: Path) -> np.ndarray:
    """What a network makes of a photo that it sees as a whole."""
    rainy = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return (network(rainy)[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def test_a_folder_is_derained_by_the_network_of_the_cell(derain, photos, trained, tmp_path):
    result = derain(photos)
    assert result.exit_code == 0, result.output
    assert "3 derained in" in result.output
    for name in ("a.png", "b.png", "more/c.png"):
        found = Image.open(tmp_path / "out" / name)
        assert np.array_equal(np.asarray(found), whole(trained, photos / name))
        assert found.text["Software"] == f"slackoff, cell {IDENTITY}"


def test_the_same_command_again_does_what_is_not_there_yet(derain, photos, tmp_path):
    assert derain(photos).exit_code == 0
    first = files(tmp_path / "out")
    (tmp_path / "out" / "b.png").unlink()
    (tmp_path / "out" / "a.png").write_bytes(b"mine")
    result = derain(photos)
    assert result.exit_code == 0
    assert "1 derained in" in result.output
    assert "2 were there already and kept" in result.output
    assert files(tmp_path / "out") == {**first, "a.png": b"mine"}
    assert "3 derained in" in derain(photos, "--overwrite").output
    assert files(tmp_path / "out") == first


def test_what_fails_is_one_sentence_each_and_the_others_go_on(derain, photos, tmp_path):
    (photos / "a.png").write_text("no image")
    (photos / "more" / "d.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "out" / "b.png").mkdir(parents=True)
    result = derain(photos)
    assert result.exit_code == 13
    errors = [line for line in result.stderr.splitlines() if line]
    assert len(errors) == 3
    for name, sentence in zip(("a.png", "b.png", "d.jpg"), errors, strict=True):
        assert sentence.startswith("error: ")
        assert name in sentence
    assert "1 derained in" in result.output
    assert "3 failed" in result.output
    assert list(files(tmp_path / "out")) == ["more/c.png"]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("out of memory")])
def test_a_photo_that_is_too_large_for_the_memory_fails_alone(error, derain, photos, tmp_path, monkeypatch):
    def hungry(model, pixels, *arguments):
        if np.array_equal(pixels, np.asarray(Image.open(photos / "b.png"))):
            raise error
        return derain_array(model, pixels, *arguments)

    monkeypatch.setattr(work, "derain_array", hungry)
    result = derain(photos)
    assert result.exit_code == 11
    assert f"{photos / 'b.png'} cannot be derained" in result.stderr
    assert "try a smaller --tile" in result.stderr
    assert sorted(files(tmp_path / "out")) == ["a.png", "more/c.png"]


ACCENTS = ["é.png", "e\N{COMBINING ACUTE ACCENT}.png"]
NAMES = ["巴黎.png", *ACCENTS, "[bold]#1 50%? $x$.png", "A.png", b"\xff\xfe.png", "x" * 251 + ".png"]


def test_photos_may_have_any_name(derain, photos, tmp_path):
    for seed, name in enumerate(NAMES):
        Image.fromarray(noise(24, 24, seed)).save(photos / os.fsdecode(name))
    result = derain(photos, "--sheet", tmp_path / "[sheet] #1.png")
    assert result.exit_code == 0, result.output
    assert {*files(tmp_path / "out")} == {"a.png", "b.png", "more/c.png", *map(os.fsdecode, NAMES)}
    assert f"Contact sheet: {tmp_path}/[sheet] #1.png" in result.output
    assert derain(photos / os.fsdecode(b"\xff\xfe.png"), photos / NAMES[-1]).exit_code == 0


def test_a_name_that_is_too_long_with_an_ending_fails_alone(derain, photos, tmp_path):
    write_photo(tmp_path / "photo.png", 24, 24, 0)
    (tmp_path / "photo.png").rename(tmp_path / ("y" * 254))
    result = derain(tmp_path / ("y" * 254), photos)
    assert result.exit_code == 11, result.output
    assert "File name too long" in result.stderr
    assert sorted(files(tmp_path / "out")) == ["a.png", "b.png", "more/c.png"]


def test_ctrl_c_leaves_nothing_half_written_and_the_next_call_goes_on(derain, photos, tmp_path, monkeypatch):
    calls = []

    def stopped(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return derain_array(*arguments)

    monkeypatch.setattr(work, "derain_array", stopped)
    result = derain(photos)
    assert result.exit_code == 130
    assert "the same command again goes on" in result.stderr
    assert list(files(tmp_path / "out")) == ["a.png"]
    monkeypatch.undo()
    assert "2 derained in" in derain(photos).output


def test_ctrl_c_while_a_file_is_written_leaves_no_half(derain, photos, tmp_path, monkeypatch):
    save = Image.Image.save

    def half(image, path, *arguments, **options):
        save(image, path, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", half)
    assert derain(photos).exit_code == 130
    assert files(tmp_path / "out") == {}


def test_a_contact_sheet_shows_what_is_there(derain, photos, tmp_path):
    sheet = tmp_path / "out" / "sheet.png"
    assert derain(photos, "--sheet", sheet).exit_code == 0
    picture = np.asarray(Image.open(sheet))
    left = np.asarray(Image.open(photos / "a.png"))
    right = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert (picture[26 : 26 + 40, 8 : 8 + 50] == left).all()
    assert (picture[26 : 26 + 40, 316 : 316 + 50] == right).all()
    before = sheet.read_bytes()
    sheet.write_bytes(b"mine")
    assert f"{sheet} was there already and kept" in derain(photos, "--sheet", sheet).output.replace("\n", "")
    assert sheet.read_bytes() == b"mine"
    assert derain(photos, "--sheet", sheet, "--overwrite").exit_code == 0
    assert sheet.read_bytes() == before


def test_formats_are_chosen(derain, photos, tmp_path):
    assert derain(photos / "a.png", "--format", "jpg").exit_code == 0
    image = Image.open(tmp_path / "out" / "a.jpg")
    assert image.format == "JPEG"
    assert image.getexif()[305] == f"slackoff, cell {IDENTITY}"


def test_small_tiles_give_the_picture_of_one_tile(derain, tmp_path):
    write_photo(tmp_path / "photo.png", 130, 170)
    assert derain(tmp_path / "photo.png").exit_code == 0
    one = (tmp_path / "out" / "photo.png").read_bytes()
    result = derain(tmp_path / "photo.png", "--tile", 96, "--overlap", 48, "--overwrite")
    assert "tiles of 96 px" in result.output
    assert (tmp_path / "out" / "photo.png").read_bytes() == one


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "one of the two"),
        (["--cell", "abc", "--model", "x.pth"], "one of the two"),
        (["--cell", "abc", "--network", "unet"], "--network is for --model"),
        (["--model", "x.pth", "--weights", "ema"], "--weights ema is for --cell"),
        (["--model", "x.pth", "--network", "unet"], "x.pth is not there"),
        (["--cell", "fff"], "There is no cell 'fff'"),
        (["--cell", "abc", "--tile", "100"], "--tile=100 must be a multiple of 16"),
        (["--cell", "abc", "--tile", "64", "--overlap", "48"], "--overlap=48 must be"),
        (["--cell", "abc", "--overlap", "-16"], "--overlap=-16 must be"),
        (["--cell", "abc", "--device", "abacus"], "--device=abacus cannot be used here"),
        (["--cell", "abc", "--device", "cuda:99"], "--device=cuda:99 cannot be used here"),
        (["--network", "dcs"], "did you mean 'dsc'?"),
        (["--network", "dsc", "--tile", "64"], "--tile is not for dsc"),
        (["--network", "dsc", "--weights", "teacher"], "one of the two"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(arguments, sentence, photos, runs, tmp_path):
    assert sentence in mistake("derain", photos, "-o", tmp_path / "out", "--runs", runs, *arguments)
    assert not (tmp_path / "out").exists()


SMALL = {"atoms": 20, "rain_atoms": 10, "samples": 200, "sweeps": 1, "rounds": 1, "step": 4}


def test_the_verb_writes_what_dsc_makes_of_the_photo(tmp_path, monkeypatch):
    write_photo(tmp_path / "a.png", 21, 40)
    node = compose_preset("dsc")
    node.update(SMALL)
    monkeypatch.setattr("slackoff.deraining.model.compose_preset", lambda preset: node)
    command = ["derain", tmp_path / "a.png", "--network", "dsc", "-o", tmp_path / "b.png", "--device", "cpu"]
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert "dsc: 1 photos, each as a whole" in result.output
    found = Image.open(tmp_path / "b.png")
    assert np.array_equal(np.asarray(found), whole(DSC(**SMALL), tmp_path / "a.png"))
    assert found.text["Software"] == "slackoff, dsc"

    def out_of_memory(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("not enough memory")

    monkeypatch.setattr(DSC, "derain", out_of_memory)
    result = call(*command, "--overwrite")
    assert result.exit_code == 11
    assert "a.png cannot be derained (not enough memory): try a smaller photo" in result.stderr


def test_a_photo_larger_than_a_tile_is_one_whole_and_tells_its_progress():
    photo = noise(70, 40, 1)
    model = Model(DSC(**SMALL), compose_preset("dsc"), "dsc", None)
    shares: list[float] = []
    found = derain_array(model, photo, Tiling(32, 16), shares.append)
    assert np.array_equal(found, derain_array(model, photo))
    assert len(shares) == 3  # K-SVD, and each layer coded once
    assert sum(shares) == pytest.approx(1)


def test_a_method_without_weights_says_so():
    model = from_preset("dsc")
    assert (model.weights, model.cell, model.name) == (None, None, "dsc")
    with pytest.raises(SlackoffError, match="needs its weights"):
        from_preset("moss_small")
