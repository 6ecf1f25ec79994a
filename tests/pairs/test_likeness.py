"""Copies of a picture are known for what they are, other pictures are not."""

import io

import numpy as np
import pytest
from PIL import Image

from slackoff.images.pairs import shown_in, thumbnail


def picture(seed: int) -> np.ndarray:
    """A smooth scene of a few shapes: uint8, (120, 180, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((180, 120), Image.Resampling.BICUBIC))


def saved_with_loss(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


COPIES = {
    "the same": lambda pixels: pixels,
    "a row and a column less": lambda pixels: pixels[:-1, :-1],
    "saved with a loss": saved_with_loss,
    "half as large": lambda pixels: np.asarray(Image.fromarray(pixels).resize((90, 60))),
    "darker": lambda pixels: (pixels * 0.7).astype(np.uint8),
    "mirrored": lambda pixels: pixels[:, ::-1],
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_scene(copy):
    scenes = np.stack([thumbnail(picture(seed)) for seed in range(4)])
    changed = np.stack([thumbnail(np.ascontiguousarray(copy(picture(seed)))) for seed in (2, 9)])
    assert shown_in(changed, scenes).tolist() == [True, False]


def test_thumbnails_correlate_as_numpy_says():
    first, second = thumbnail(picture(1)), thumbnail(saved_with_loss(picture(1)))
    assert float(first @ second) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-5)
    assert float(first @ first) == pytest.approx(1.0)


def test_an_image_of_one_grey_level_is_like_no_other():
    flat = thumbnail(np.full((20, 30, 3), 128, dtype=np.uint8))
    assert not shown_in(flat[None], np.stack([flat, thumbnail(picture(1))])).any()
