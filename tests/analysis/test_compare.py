"""Cells against each other per image, worst images, error maps: against plain NumPy on the results and pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, EditImages, MakeFrames, write_pictures, write_study
from PIL import Image

from slackoff.analysis import Frames, load
from slackoff.analysis.compare import (
    as_grey_levels,
    cell_names,
    contact_sheet,
    error_map,
    image_pairs,
    image_scatter,
    kept_images,
    read_picture,
    side_by_side,
    worst_images,
    worst_window,
)
from slackoff.analysis.groups import groups
from slackoff.analysis.page import strips
from slackoff.errors import SlackoffError
from slackoff.record.results import picture_folder

FIRST, SECOND = Cell({"patch_count": 8}, e_b=12.0, psnr=25.0), Cell({"patch_count": 64}, e_b=12.3, psnr=25.4)


@pytest.fixture
def frames(frames_of: MakeFrames) -> Frames:
    return frames_of([FIRST, SECOND, Cell({"patch_count": 128}, state="failed")])


def test_cells_are_named_by_what_tells_them_apart(frames: Frames, frames_of: MakeFrames) -> None:
    assert cell_names(frames) == {FIRST.id: "N = 8", SECOND.id: "N = 64"}
    seeds = [Cell({"variant": "plain", "seed": seed}) for seed in (0, 1)]
    assert list(cell_names(frames_of(seeds, "variant")).values()) == ["plain, seed = 0", "plain, seed = 1"]


@pytest.mark.parametrize(("measure", "sign"), [("psnr_rgb", 1), ("e_b", -1)])
def test_pairs_are_sorted_by_what_the_second_cell_loses(frames: Frames, measure: str, sign: int) -> None:
    pairs = image_pairs(frames, FIRST.id, SECOND.id, measure)
    values = frames.images.pivot(index="image", columns="cell", values=measure)
    gain = (sign * (values[SECOND.id] - values[FIRST.id])).sort_values()
    assert list(pairs["image"]) == list(gain.index)
    np.testing.assert_allclose(pairs["gain"], gain)
    assert pairs["gain"].min() < 0 < pairs["gain"].max()


@pytest.mark.parametrize(("measure", "worst_first"), [("psnr_rgb", True), ("e_b", False)])
def test_worst_images_are_the_worst(frames: Frames, measure: str, worst_first: bool) -> None:
    found = worst_images(frames, SECOND.id, measure, 4)
    own = frames.images[frames.images["cell"] == SECOND.id].sort_values(measure, ascending=worst_first)
    assert list(found["image"]) == list(own["image"][:4])
    assert list(found["kept"]) == [image in ("0000-photo", "0003-photo") for image in found["image"]]


def test_mistakes_end_in_a_sentence(frames: Frames) -> None:
    with pytest.raises(SlackoffError, match="cell 'nothing' has no results"):
        image_pairs(frames, FIRST.id, "nothing", "e_b")
    with pytest.raises(SlackoffError, match="has no 'e_x'"):
        image_pairs(frames, FIRST.id, SECOND.id, "e_x")
    with pytest.raises(SlackoffError, match="has no 'e_x'"):
        worst_images(frames, FIRST.id, "e_x")
    with pytest.raises(SlackoffError, match=r"0001-photo.background\.png cannot be read"):
        side_by_side(frames, [FIRST.id], ("R100-like", "0001-photo"))
    with pytest.raises(SlackoffError, match="at least one cell"):
        side_by_side(frames, [], ("R100-like", "0000-photo"))


def test_error_maps_and_the_worst_window() -> None:
    truth = np.zeros((12, 16, 3), np.uint8)
    output = truth.copy()
    output[7, 11] = (30, 0, 40)
    error = error_map(output, truth)
    assert error[7, 11] == pytest.approx(np.sqrt(2500 / 3))
    assert error.sum() == pytest.approx(error[7, 11])
    rng = np.random.default_rng(0)
    error = rng.random((12, 16))
    squares = {(t, left): (error[t : t + 5, left : left + 5] ** 2).sum() for t in range(8) for left in range(12)}
    assert worst_window(error, 5) == max(squares, key=lambda place: squares[place])


def test_side_by_side_draws_pictures_zoom_and_errors(frames: Frames, runs: Path) -> None:
    rng = np.random.default_rng(0)
    path = picture_folder(runs / "cells" / SECOND.id, ("R100-like", "0000-photo")) / "output.png"
    output = rng.integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(output).save(path)
    assert kept_images(frames, [FIRST.id, SECOND.id]) == [("R100-like", "0000-photo"), ("R100-like", "0003-photo")]
    figure = side_by_side(frames, [FIRST.id, SECOND.id], ("R100-like", "0000-photo"), zoom=(4, 6, 8))
    shown = [[np.asarray(ax.get_images()[0].get_array()) for ax in row if ax.get_images()] for row in rows(figure)]
    truth = read_picture(frames, FIRST.id, ("R100-like", "0000-photo"), "background")
    np.testing.assert_array_equal(shown[0][2], output)
    np.testing.assert_array_equal(shown[0][3], truth)
    np.testing.assert_array_equal(shown[1][2], output[4:12, 6:14])
    expected = np.sqrt(((output.astype(float) - truth) ** 2).mean(-1))
    np.testing.assert_allclose(shown[2][2], expected)
    assert len(shown[2]) == 3
    assert rows(figure)[2][2].get_xlabel() == f"RMS {np.sqrt((expected**2).mean()):.1f}"
    assert [ax.get_images()[0].get_clim() for ax in rows(figure)[2][:3]] == [(0, 60)] * 3  # one scale for all figures
    value = frames.images[(frames.images["cell"] == SECOND.id) & (frames.images["image"] == "0000-photo")]["psnr_rgb"]
    assert figure.axes[2].get_title() == f"N = 64\nPSNR {value.iloc[0]:.2f} dB"


def test_the_scatter_names_the_test_set_where_there_are_two(frames: Frames) -> None:
    pairs = image_pairs(frames, FIRST.id, SECOND.id, "psnr_rgb").assign(test_set="b")
    both = pd.concat([pairs.head(1).assign(test_set="a", gain=-99.0), pairs])
    (ax,) = image_scatter(both, ("N = 8", "N = 64"), "psnr_rgb", worst=1).axes
    assert ax.texts[1].get_text().startswith("a, 0")


def test_images_of_the_same_name_show_their_own_pictures(runs: Path, edit_images: EditImages) -> None:
    study = write_study(runs, [FIRST])
    edit_images(FIRST, lambda rows: pd.concat([rows, rows.assign(test_set="real", psnr_rgb=1.0)]))
    write_pictures(runs / "cells" / FIRST.id, FIRST, ("0000-photo",), "real")
    place = picture_folder(runs / "cells" / FIRST.id, ("real", "0000-photo"))
    Image.new("RGB", (24, 16), (7, 7, 7)).save(place / "output.png")
    frames = load(study)
    assert [read_picture(frames, FIRST.id, (name, "0000-photo"), "output").max() for name in ("R100-like", "real")] == [
        round(100 + 100 * (1 - FIRST.share)),
        7,
    ]
    worst = worst_images(frames, FIRST.id, "psnr_rgb", 40).set_index(["test_set", "image"])["kept"]
    assert sorted(worst[worst].index) == kept_images(frames, [FIRST.id])
    assert kept_images(frames, [FIRST.id])[2:] == [("real", "0000-photo")]
    figure = side_by_side(frames, [FIRST.id], ("real", "0000-photo"))
    assert figure.axes[1].get_title().endswith("PSNR 1.00 dB")
    assert figure.get_suptitle() == "0000-photo of real"


def test_a_name_that_two_cells_have_for_different_images_makes_no_pair(runs: Path, edit_images: EditImages) -> None:
    """Two folders of photos, tested under one name: 0000-photo and 0001-photo are others in the second, as the digest
    of each image says.
    """
    study = write_study(runs, [FIRST, SECOND])
    edit_images(FIRST, lambda rows: rows.assign(digest=rows["image"].str[:4]))
    edit_images(SECOND, lambda rows: rows.assign(digest=rows["image"].str[:4].replace({"0000": "x", "0001": "y"})))
    frames = load(study)
    pairs = image_pairs(frames, FIRST.id, SECOND.id, "psnr_rgb")
    assert sorted(pairs["image"]) == [f"{number:04d}-photo" for number in range(2, 20)]
    (group,) = groups(frames)
    assert group.image_names[:4] == ["0000-photo [0000]", "0000-photo [x]", "0001-photo [0001]", "0001-photo [y]"]
    assert group.change(8, 64, "psnr_rgb").images == 18
    assert kept_images(frames, [FIRST.id, SECOND.id]) == [("R100-like", "0003-photo")]
    assert kept_images(frames, [SECOND.id]) == [("R100-like", "0000-photo [x]"), ("R100-like", "0003-photo")]
    assert read_picture(frames, SECOND.id, ("R100-like", "0000-photo [x]"), "rainy").max() == 200
    with pytest.raises(SlackoffError, match=r"was not tested on 0000-photo .x. of R100-like"):
        read_picture(frames, FIRST.id, ("R100-like", "0000-photo [x]"), "rainy")
    assert [strip.image for strip in strips(frames, [group])] == ["0003-photo"]


def test_the_scatter_draws_every_image_and_names_the_worst(frames: Frames) -> None:
    pairs = image_pairs(frames, FIRST.id, SECOND.id, "psnr_rgb")
    (ax,) = image_scatter(pairs, ("N = 8", "N = 64"), "psnr_rgb", worst=2).axes
    drawn = np.concatenate([np.asarray(dots.get_offsets()) for dots in ax.collections])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(pairs[["first", "second"]].to_numpy(), axis=0))
    better = int((pairs["gain"] > 0).sum())
    assert len(ax.collections[0].get_offsets()) == better  # type: ignore[arg-type]
    words = [text.get_text() for text in ax.texts]
    assert words[0] == f"better with N = 64:\n{better} of 20 images"
    assert words[1:] == list(pairs["image"][:2])


def test_a_contact_sheet_shows_pixels_as_they_are() -> None:
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (6, 8), np.uint8), rng.integers(0, 256, (6, 8, 3), np.uint8)
    figure = contact_sheet({"rain": [grey], "rainy": [colour, colour]}, {"rainy": ["a", "b"]}, "title")
    first, empty, third, fourth = figure.axes
    np.testing.assert_array_equal(first.get_images()[0].get_array(), grey)
    assert first.get_images()[0].get_clim() == (0, 255)
    assert not empty.get_images()
    np.testing.assert_array_equal(fourth.get_images()[0].get_array(), colour)
    assert [third.get_xlabel(), fourth.get_xlabel(), third.get_ylabel()] == ["a", "b", "rainy"]
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet({"rain": []})
    with pytest.raises(ValueError, match="1 pictures of 'rain' have 2 captions"):
        contact_sheet({"rain": [grey]}, {"rain": ["a", "b"]})


def test_tensors_become_pixels() -> None:
    image = np.stack([np.full((2, 3), value, np.float32) for value in (0.0, 0.5, 1.2)])
    np.testing.assert_array_equal(as_grey_levels(image), np.full((2, 3, 3), (0, 128, 255)))
    assert as_grey_levels(image[:1]).shape == (2, 3)


def rows(figure):  # type: ignore[no-untyped-def]
    grid = figure.axes[0].get_gridspec()
    return [figure.axes[start : start + grid.ncols] for start in range(0, grid.nrows * grid.ncols, grid.ncols)]
