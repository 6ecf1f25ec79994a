"""What a browser is sent of a picture."""

import threading

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from slackoff.errors import SlackoffError
from slackoff.images.files import read_rgb
from slackoff.user_study.questionnaire import AnonymousCopies


@pytest.fixture
def copies(tmp_path):
    (tmp_path / "copies").mkdir()
    return AnonymousCopies(tmp_path / "copies")


def test_a_copy_has_the_pixels_and_nothing_else(copies, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    info = PngInfo()
    info.add_text("Software", "MOSS")
    Image.fromarray(pixels).save(tmp_path / "moss.png", pnginfo=info)
    copy = copies.of(tmp_path / "moss.png")
    np.testing.assert_array_equal(read_rgb(copy), pixels)
    assert b"MOSS" in (tmp_path / "moss.png").read_bytes()
    assert b"MOSS" not in copy.read_bytes()
    assert "moss" not in copy.name


def test_equal_pictures_have_copies_of_different_names(copies, tmp_path):
    for name in ("one", "two"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    assert copies.of(tmp_path / "one.png").name != copies.of(tmp_path / "two.png").name


def test_many_who_ask_at_once_share_one_copy(copies, tmp_path):
    Image.new("RGB", (400, 400)).save(tmp_path / "one.png")
    together, found = threading.Barrier(6), []

    def ask() -> None:
        together.wait()
        found.append(copies.of(tmp_path / "one.png"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*found}) == len(list((tmp_path / "copies").iterdir())) == 1


def test_a_picture_that_is_gone_is_refused(copies, tmp_path):
    with pytest.raises(SlackoffError, match=r"gone.png cannot be read"):
        copies.of(tmp_path / "gone.png")
