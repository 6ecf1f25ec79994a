"""``derain`` from the command line, on the tiny network of a record."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from slackoff.cli.app import app
from slackoff.deraining import photos as work
from slackoff.deraining.tiles import derain_array
from slackoff.networks import UNet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three PNGs of noise, 40 x 50 px, one of them in a folder below."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "more/c.png")):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder


@pytest.fixture
def derain(runs: Path, tmp_path: Path):
    """Derain with the record's cell into out/."""

    def call(*arguments: object) -> Result:
        options = ["--cell", "abc", "--runs", runs, "-o", tmp_path / "out", "--device", "cpu"]
        return CliRunner().invoke(app, ["derain", *map(str, [*arguments, *options])])

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_derained_by_the_network_of_the_cell(derain, photos, runs, tmp_path):
    result = derain(photos)
    assert result.exit_code == 0, result.output
    assert "3 derained in" in result.output
    network = UNet(width=4, levels=2)
    network.load_state_dict(load_file(runs / "cells" / "abcdef012345" / "network.safetensors"))
    for name in ("a.png", "b.png", "more/c.png"):
        rainy = torch.from_numpy(np.array(Image.open(photos / name))).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = (network(rainy)[0].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8)
        found = Image.open(tmp_path / "out" / name)
        assert np.array_equal(np.asarray(found), expected.numpy())
        assert found.text["Software"] == "slackoff, cell abcdef012345"


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
    assert image.getexif()[305] == "slackoff, cell abcdef012345"


def test_small_tiles_give_the_picture_of_one_tile(derain, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (130, 170, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    assert derain(tmp_path / "photo.png").exit_code == 0
    whole = (tmp_path / "out" / "photo.png").read_bytes()
    result = derain(tmp_path / "photo.png", "--tile", 96, "--overlap", 48, "--overwrite")
    assert "tiles of 96 px" in result.output
    assert (tmp_path / "out" / "photo.png").read_bytes() == whole


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "one of the two"),
        (["--cell", "abc", "--model", "x.pth"], "one of the two"),
        (["--cell", "abc", "--network", "unet"], "--network is for --model"),
        (["--model", "x.pth", "--teacher"], "--teacher is for --cell"),
        (["--model", "x.pth", "--network", "unet"], "x.pth is not there"),
        (["--cell", "fff"], "There is no cell 'fff'"),
        (["--cell", "abc", "--tile", "100"], "--tile=100 must be a multiple of 16"),
        (["--cell", "abc", "--tile", "64", "--overlap", "48"], "--overlap=48 must be"),
        (["--cell", "abc", "--overlap", "-16"], "--overlap=-16 must be"),
        (["--cell", "abc", "--device", "abacus"], "--device=abacus cannot be used here"),
        (["--cell", "abc", "--device", "cuda:99"], "--device=cuda:99 cannot be used here"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(arguments, sentence, photos, runs, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["derain", str(photos), "-o", str(out), "--runs", str(runs), *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()
