"""What a run in W&B shows of a cell: its marker, tags, pictures and the digest of its record."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from slackoff.record.results import picture_folder
from slackoff.record.status import Status
from slackoff.wandb_view.content import (
    error_map,
    headline_threshold,
    pictures,
    rain_mask,
    read_pictures,
    record_digest,
    run_options,
)

CONFIG = {
    "study": {"name": "patchcount", "axis": "background.patch_count", "variant": ""},
    "background": {"name": "builtin", "patch_count": 64},
    "evaluation": {"protocol": {"headline": 20}},
}
STATUS = Status("0123456789ab", {"network": "unet", "rain": "small", "patch_count": 64, "seed": 0}, 20, "running")


def grey(value: int) -> np.ndarray:
    return np.full((2, 3, 3), value, np.uint8)


def test_a_run_says_which_cell_of_which_study_it_is():
    options = run_options(CONFIG, STATUS)
    assert options["group"] == "patchcount"
    assert options["tags"] == ["study=patchcount", "network=unet", "rain=small", "patch_count=64", "seed=0"]
    assert options["config"]["background"] == CONFIG["background"]
    assert options["config"]["slackoff"] == {
        "id": "0123456789ab",
        "label": STATUS.label,
        "study": "patchcount",
        "axis": "patch_count",
        "axes": {"patch_count": 64},
        "status": asdict(STATUS),
    }
    replayed = run_options(CONFIG, STATUS, "patchcount-laptop-x", {"patch_count": 64, "rain": "small"})
    assert replayed["config"]["slackoff"]["study"] == "patchcount-laptop-x"
    assert replayed["config"]["slackoff"]["axes"] == {"patch_count": 64, "rain": "small"}


def test_runs_of_a_study_of_variants_have_names_of_their_own():
    status = Status("0123456789ab", {"network": "moss_small", "patch_count": 64, "seed": 0}, 20)
    names = {
        variant: run_options({"study": CONFIG["study"] | {"variant": variant}}, status)["name"]
        for variant in ("without skip", "")
    }
    assert names == {"without skip": "without skip moss_small 64 0", "": "moss_small 64 0"}


def test_no_tag_is_longer_than_wandb_takes():
    status = Status("0123456789ab", {"background": "b" * 80}, 20)
    _, tag = run_options(CONFIG, status)["tags"]
    assert tag == "background=" + "b" * 53


def test_an_error_map_is_four_times_the_mean_absolute_error_of_the_channels():
    output, truth = grey(100), grey(100)
    output[0, 0] = (103, 100, 94)
    output[1, 2] = (255, 255, 255)
    truth[1, 2] = (0, 100, 200)
    found = error_map(output, truth)
    assert found.tolist() == [[12, 0, 0], [0, 0, 255]]


def test_the_rain_mask_is_where_the_largest_channel_is_above_the_threshold():
    rainy, truth = grey(50), grey(50)
    rainy[0, 1] = (71, 50, 50)
    rainy[1, 0] = (70, 70, 70)
    rainy[1, 1] = (0, 0, 0)
    assert rain_mask(rainy, truth, headline_threshold(CONFIG)).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_pictures_have_captions_and_a_mask_and_large_ones_are_shrunk(tmp_path: Path):
    rainy = np.zeros((100, 640, 3), np.uint8)
    rainy[:, :320] = 90
    each = {"rainy": rainy, "output": rainy, "background": 0 * rainy}
    shown = pictures({("set", "07"): each, ("other", "07"): each}, 10)
    assert sorted(shown) == [f"pictures/{kind}" for kind in ("error", "output", "rain_mask", "rainy", "truth")]
    assert [image._caption for image in shown["pictures/output"]] == ["07 of set: output", "07 of other: output"]
    assert {image.image.size for image in shown["pictures/output"]} == {(320, 50)}
    masked, _ = shown["pictures/rain_mask"]
    mask = np.asarray(Image.open(masked._masks["rain"]._path))
    assert mask.shape == (50, 320)
    assert (mask[:, :160] == 1).all()
    assert (mask[:, 160:] == 0).all()


def test_pictures_are_read_from_the_record_where_they_are_complete(tmp_path: Path):
    for name, kinds in (("a", ("rainy", "output", "background")), ("b", ("rainy", "output"))):
        place = picture_folder(tmp_path, ("set", name))
        place.mkdir(parents=True)
        for value, kind in enumerate(kinds):
            Image.fromarray(grey(value)).save(place / f"{kind}.png")
    pd.DataFrame({"test_set": "set", "image": ["a", "b"]}).to_parquet(tmp_path / "images.parquet")
    found, expected = read_pictures(tmp_path), {"rainy": 0, "output": 1, "background": 2}
    assert list(found) == [("set", "a")]
    assert {kind: int(pixels.max()) for kind, pixels in found["set", "a"].items()} == expected


@pytest.mark.parametrize("changed", ["steps.parquet", "images.parquet"])
def test_the_digest_of_a_record_changes_with_its_results_alone(tmp_path: Path, changed: str):
    assert record_digest(tmp_path) == ""
    (tmp_path / "steps.jsonl").write_text("{}")
    unfinished = record_digest(tmp_path)
    for name in ("steps.parquet", "images.parquet"):
        (tmp_path / name).write_text(name)
    done = record_digest(tmp_path)
    (tmp_path / "steps.jsonl").write_text("{}\n{}")
    assert record_digest(tmp_path) == done != unfinished
    (tmp_path / changed).write_text("other")
    assert record_digest(tmp_path) != done


def test_each_picture_shows_what_its_name_says():
    each = {"rainy": grey(200), "output": grey(120), "background": grey(100)}
    shown = pictures({("set", "07"): each}, 10)
    found = {kind: int(np.asarray(images[0].image).max()) for kind, images in shown.items()}
    truth = {"pictures/rainy": 200, "pictures/output": 120, "pictures/truth": 100, "pictures/rain_mask": 200}
    assert found == truth | {"pictures/error": 80}  # four times the difference
