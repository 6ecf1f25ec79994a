"""The demo page: what it shows of a photo, what it says when it cannot, and its endpoint."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cell_record import IDENTITY, write_photo
from PIL import Image
from torch import nn

from slackoff.deraining import demo
from slackoff.deraining.demo import FULL_SCALE, change_map
from slackoff.deraining.model import Model, from_cell
from slackoff.deraining.tiles import derain_array
from verbs import mistake

gradio = pytest.importorskip("gradio", reason="needs the extra demo")


@pytest.fixture
def models(runs: Path) -> list[Model]:
    """A cell's network and its teacher."""
    return [from_cell(IDENTITY, runs, which) for which in ("last", "teacher")]


@pytest.fixture
def page(models: list[Model], tmp_path: Path, monkeypatch) -> tuple[Any, dict[str, Any]]:
    """The page, and the functions behind it by name."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored afterwards")
    (tmp_path / "shown").mkdir()
    made = demo.make_page(models, tmp_path / "shown")
    return made, {function.api_name: function.fn for function in made.fns.values()}


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


NAMES = [f"unet_tiny {IDENTITY}", f"unet_tiny {IDENTITY} teacher"]


def test_a_photo_comes_back_without_rain_beside_itself(page, trained: nn.Module, tmp_path: Path):
    rainy = write_photo(tmp_path / "my photo.png")
    sides, removed, words, button = page[1]["derain_0"](str(tmp_path / "my photo.png"), NAMES)
    with torch.inference_mode():
        expected = trained(torch.from_numpy(rainy).permute(2, 0, 1)[None] / 255)[0].clamp(0, 1) * 255
    np.testing.assert_array_equal(pixels(sides[0]), rainy)
    np.testing.assert_allclose(pixels(sides[1]), expected.permute(1, 2, 0).numpy(), atol=0.51)
    np.testing.assert_array_equal(pixels(button["value"]), pixels(sides[1]))
    assert Path(button["value"]).name == "my photo_derained.png"
    assert pixels(removed).shape == rainy.shape
    change = np.abs(rainy.astype(float) - pixels(sides[1])).mean()
    assert "50 x 37 px in " in words
    assert f"changed by {change:.1f} grey levels on average" in words


def test_networks_side_by_side_are_their_own(page, tmp_path: Path):
    write_photo(tmp_path / "photo.png")
    first, second = (page[1][f"derain_{place}"](str(tmp_path / "photo.png"), NAMES) for place in (0, 1))
    assert not np.array_equal(pixels(first[0][1]), pixels(second[0][1]))
    assert "teacher" in second[2]


def test_a_network_that_is_not_chosen_shows_nothing(page, tmp_path: Path):
    assert page[1]["derain_1"](str(tmp_path / "not read.png"), NAMES[:1])[:3] == [None, None, ""]


def test_the_map_has_one_scale_for_all():
    colours = change_map(np.array([[0.0, FULL_SCALE, FULL_SCALE + 100]]))[0]
    assert colours[0].max() < 10  # nothing: black
    np.testing.assert_array_equal(colours[1], colours[2])  # 64 and above: the end of the scale
    assert colours[1].min() > 150


def test_a_large_photo_goes_through_in_tiles_and_is_shown_smaller(models: list[Model], tmp_path: Path):
    Image.new("RGB", (1700, 40), (90, 120, 60)).save(tmp_path / "wide.png")
    sides, _, words, file = demo.derain_file(models[0], tmp_path / "wide.png", tmp_path)
    assert pixels(sides[1]).shape == (38, 1600, 3)
    assert pixels(file).shape == (40, 1700, 3)
    assert "Shown smaller; the download has every pixel." in words
    np.testing.assert_array_equal(pixels(file), derain_array(models[0], pixels(tmp_path / "wide.png")))


@pytest.mark.parametrize(("content", "part"), [(b"no picture", "photo.png"), (None, "There is no photo yet")])
def test_what_is_no_photo_is_one_sentence_on_the_page(content, part, page, tmp_path: Path, capsys):
    photo = None
    if content is not None:
        (tmp_path / "photo.png").write_bytes(content)
        photo = str(tmp_path / "photo.png")
    with pytest.raises(gradio.Error, match=part) as told:
        page[1]["derain_0"](photo, NAMES)
    assert str(tmp_path) not in told.value.message
    assert "\n" not in told.value.message
    assert not list((tmp_path / "shown").rglob("after.png"))


def test_a_full_disk_is_told(page, tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "after.png")

    write_photo(tmp_path / "photo.png")
    monkeypatch.setattr(demo, "write_photo", full)
    with pytest.raises(gradio.Error, match=r"cannot be written \(No space left on device\): free some space"):
        page[1]["derain_0"](str(tmp_path / "photo.png"), NAMES)


def test_the_cells_own_test_pictures_are_examples_once(models: list[Model], runs: Path):
    assert demo.examples(models) == [runs / "cells" / IDENTITY / "pictures" / "easy" / "0000-photo" / "rainy.png"]


def test_the_page_reports_to_nobody_and_names_no_address_outside(page):
    made, _ = page
    assert made.analytics_enabled is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    sliders = {component.label for component in made.blocks.values() if type(component).__name__ == "ImageSlider"}
    assert sliders == {*NAMES}


@pytest.fixture
def ask(page) -> Callable[[Path], dict[str, Any]]:
    """Upload a file to the page's own server and ask its first endpoint about it, as a browser does."""
    from fastapi.testclient import TestClient

    page[0].max_file_size = None  # which launching sets
    browser = TestClient(gradio.routes.App.create_app(page[0]))

    def asked(photo: Path) -> dict[str, Any]:
        with photo.open("rb") as file:
            (uploaded,) = browser.post("/gradio_api/upload", files={"files": file}).json()
        sent = {"data": [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}, NAMES[:1]]}
        answer = browser.post("/gradio_api/run/derain_0", json=sent).json()
        for shown in (*answer["data"][0], answer["data"][1]) if "data" in answer else ():
            picture = browser.get(f"/gradio_api/file={shown['path']}")
            assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        return answer

    return asked


def test_the_endpoint_answers_a_browser_with_pictures_and_words_or_what_is_wrong(ask, tmp_path: Path):
    pixels = write_photo(tmp_path / "upright.png")
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[274] = 6  # to be turned by a quarter
    turned.save(tmp_path / "photo.jpg", exif=exif)
    words = ask(tmp_path / "photo.jpg")["data"][2]
    assert words.startswith(f"cell {IDENTITY}")
    assert "37 x 50 px" in words
    (tmp_path / "broken.png").write_bytes(b"no picture")
    error = ask(tmp_path / "broken.png")["error"]
    assert error.startswith("broken.png ")
    assert str(tmp_path) not in error


def test_mistakes_of_the_verb_are_one_sentence(runs: Path, monkeypatch):
    assert "Give --cell ID or --model FILE" in mistake("demo", "--runs", runs)
    assert "There is no cell 'beef'" in mistake("demo", "--cell", "beef", "--runs", runs)
    monkeypatch.setitem(sys.modules, "gradio", None)
    needs = "The demo needs Gradio: in the checkout, .venv/bin/pip install -e '.[demo]'"
    assert needs in mistake("demo", "--cell", IDENTITY, "--runs", runs)
