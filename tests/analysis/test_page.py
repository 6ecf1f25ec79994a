"""What a page gathers: configurations, machines and pictures; and its banner."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import ENVIRONMENT, Cell, EditImages, write_pictures, write_study
from PIL import Image

from slackoff.analysis import load
from slackoff.analysis.groups import groups
from slackoff.analysis.page import (
    MOST_OUTPUTS,
    cell_files,
    compare_configs,
    data_uri,
    environment,
    environments,
    photo_uri,
    strips,
    terms,
)
from slackoff.analysis.report import build
from slackoff.analysis.text import WARNING
from slackoff.record.config import read_config
from slackoff.record.results import picture_folder

CELLS = [Cell({"patch_count": count}) for count in (1024, 8, 64)]


@pytest.mark.usefixtures("without_figures")
def test_a_config_of_somebody_else_may_hold_anything_for_a_threshold(runs: Path) -> None:
    study = write_study(runs, CELLS)
    for cell in CELLS:
        path = runs / "cells" / cell.id / "config.yaml"
        path.write_text(path.read_text().replace("headline: 10", "headline: [1, x]"))
    assert "[1, &#34;x&#34;]" in build(study).read_text()


def test_configs_are_told_apart_by_dotted_keys(runs: Path) -> None:
    study = write_study(runs, CELLS)
    with (runs / "cells" / CELLS[0].id / "config.yaml").open("a") as file:
        file.write("extra: {depth: 3}\n")
    same, different = compare_configs(cell_files(load(study), read_config))
    assert different == {
        "background.patch_count": ["8", "64", "1024"],
        "extra.depth": ["3", "(not set)"],
    }
    assert same["rain.width"] == "[5, 7, 9]"
    assert same["evaluation.protocol.quantise"] == "true"
    assert same["network._target_"] == "slackoff.networks.UNet"
    assert "background.patch_count" not in same


def test_a_config_that_cannot_be_read_is_left_out(runs: Path) -> None:
    study = write_study(runs, CELLS)
    (runs / "cells" / CELLS[0].id / "config.yaml").write_text("a: [1, ")
    (runs / "cells" / CELLS[1].id / "config.yaml").unlink()
    assert list(cell_files(load(study), read_config)) == [CELLS[2].id]


def test_a_config_of_other_bytes_is_left_out(runs: Path) -> None:
    study = write_study(runs, CELLS)
    (runs / "cells" / CELLS[0].id / "config.yaml").write_bytes(b"a: \xff\xfe")
    assert list(cell_files(load(study), read_config)) == [cell.id for cell in CELLS[1:]]


def test_a_damaged_picture_costs_its_own_image_alone(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = load(write_study(runs, PAIR))
    for cell in runs.glob("cells/*"):
        (picture_folder(cell, ("R100-like", "0000-photo")) / "rainy.png").write_bytes(b"no picture")
    assert [strip.image for strip in strips(frames, groups(frames))] == ["0003-photo"]
    assert "The pictures of 0000-photo are not shown" in caplog.text


def test_environments_are_counted(runs: Path) -> None:
    study = write_study(runs, CELLS)
    other = ENVIRONMENT | {"gpu": "H100", "packages": {"torch": "2.16.0"}}
    (runs / "cells" / CELLS[0].id / "environment.json").write_text(json.dumps(other))
    found = environments(load(study))
    assert [(machine["gpu"], machine["packages.torch"], count) for machine, count in found] == [
        ("null", "2.15.0", 2),
        ("H100", "2.16.0", 1),
    ]


PAIR = [Cell({"patch_count": 64}, share=0.6), Cell({"patch_count": 8}, share=0.9)]


def picture(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_strips_put_the_outputs_of_all_counts_side_by_side(runs: Path) -> None:
    frames = load(write_study(runs, PAIR))
    found = strips(frames, groups(frames))
    assert [strip.image for strip in found] == ["0000-photo", "0003-photo"]
    strip = found[0]
    assert (strip.width, strip.height) == (24, 16)
    assert [output.name for output in strip.outputs] == ["N = 8", "N = 64"]
    assert picture(strip.rainy).getpixel((0, 0)) == (200, 200, 200)
    assert picture(strip.background).getpixel((0, 0)) == (100, 100, 100)
    assert [picture(output.picture).getpixel((0, 0))[0] for output in strip.outputs] == [110, 140]  # type: ignore[index]
    row = frames.images[(frames.images["patch_count"] == 8) & (frames.images["image"] == "0000-photo")].iloc[0]
    assert strip.outputs[0].numbers == (
        f"E_R {row['e_r']:.1f}, removal share {row['removal_share']:.2f}, PSNR {row['psnr_rgb']:.1f} dB"
    )


def test_only_images_that_every_cell_kept_are_shown(runs: Path) -> None:
    study = write_study(runs, PAIR)
    (picture_folder(runs / "cells" / PAIR[0].id, ("R100-like", "0000-photo")) / "output.png").unlink()
    frames = load(study)
    assert [strip.image for strip in strips(frames, groups(frames))] == ["0003-photo"]


def test_images_of_the_same_name_are_shown_under_their_own_test_set(runs: Path, edit_images: EditImages) -> None:
    """Each with its own pictures and numbers; joined test sets find those of their parts."""
    study = write_study(runs, PAIR, options={"joined_test_sets": {"both": ["R100-like", "real"]}})
    for cell in PAIR:
        edit_images(cell, lambda rows: pd.concat([rows, rows.assign(test_set="real", e_r=1.0)]))
        place = runs / "cells" / cell.id
        write_pictures(place, replace(cell, share=0.0), test_set="real")
    frames = load(study)
    found = strips(frames, groups(frames))
    assert [(strip.test_set, strip.image) for strip in found] == [
        *(("R100-like", "0000-photo"), ("R100-like", "0003-photo"), ("real", "0000-photo"), ("real", "0003-photo")),
        *(("both", f"{part}/{name}") for part in ("R100-like", "real") for name in ("0000-photo", "0003-photo")),
    ]
    grey = [picture(strip.outputs[0].picture).getpixel((0, 0))[0] for strip in found]  # type: ignore[index]
    assert grey == [110, 110, 200, 200, 110, 110, 200, 200]
    assert [strip.outputs[0].numbers.startswith("E_R 1.0,") for strip in found] == [grey > 150 for grey in grey]


def test_unfinished_cells_and_cells_without_pictures_are_no_obstacle(runs: Path) -> None:
    frames = load(write_study(runs, [*PAIR, Cell({"patch_count": 16}, state="failed")]))
    assert len(strips(frames, groups(frames))[0].outputs) == 2
    nothing = load(write_study(runs, [Cell({"patch_count": 32}, state="pending")], "other"))
    assert strips(nothing, groups(nothing)) == []


def test_many_cells_show_fewer_images(runs: Path) -> None:
    cells = [Cell({"patch_count": count}, images=4) for count in range(8, 8 + MOST_OUTPUTS // 2 + 1)]
    study = write_study(runs, cells)
    frames = load(study)
    assert len(strips(frames, groups(frames))) == 1


@pytest.mark.parametrize(("outputs", "columns"), [(1, 2), (3, 4), (4, 5), (5, 3), (9, 5)])
def test_pictures_fill_their_rows(runs: Path, outputs: int, columns: int) -> None:
    frames = load(write_study(runs, [Cell({"patch_count": 8 + count}) for count in range(outputs)]))
    assert strips(frames, groups(frames))[0].columns == columns


def test_seeds_show_one_of_them(runs: Path) -> None:
    frames = load(write_study(runs, [Cell({"patch_count": 8, "seed": seed}) for seed in (0, 1)]))
    assert len(strips(frames, groups(frames))[0].outputs) == 1


def test_a_cell_with_results_on_other_test_sets_only_is_not_shown(runs: Path, edit_images: EditImages) -> None:
    """Though it has the same value and comes first."""
    pair = [Cell({"patch_count": 8, "seed": 0}, share=0.6), Cell({"patch_count": 8, "seed": 1}, share=0.9)]
    study = write_study(runs, pair)
    edit_images(pair[0], lambda rows: rows.assign(test_set="other"))
    frames = load(study)
    shown = [strip for strip in strips(frames, groups(frames)) if strip.test_set == "R100-like"]
    assert shown
    for strip in shown:
        assert [picture(output.picture).getpixel((0, 0))[0] for output in strip.outputs] == [110]  # type: ignore[index]


def test_small_pictures_are_embedded_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path)
    assert base64.b64decode(photo_uri(path).removeprefix("data:image/png;base64,")) == path.read_bytes()


def test_large_pictures_are_made_lighter(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    ramp = np.add.outer(np.arange(800), np.arange(1200)) % 256
    noise = np.random.default_rng(0).integers(0, 8, size=(800, 1200))
    Image.fromarray(np.stack([ramp, ramp // 2, noise * 8], -1).astype(np.uint8)).save(path)
    uri = photo_uri(path)
    assert uri.startswith("data:image/webp;base64,")
    assert picture(uri).size == (640, 427)
    assert len(uri) < path.stat().st_size


@pytest.mark.parametrize(("name", "kind"), [("a.svg", "svg+xml"), ("a.png", "png")])
def test_data_uri_names_the_kind(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"content")
    assert data_uri(tmp_path / name) == f"data:image/{kind};base64,Y29udGVudA=="


def test_symbols_of_the_field_are_set_and_all_else_is_escaped() -> None:
    assert terms("E_R, E_B & C_k, not E_k or SE_R") == (
        "<i>E<sub>R</sub></i>, <i>E<sub>B</sub></i> &amp; <i>C<sub>k</sub></i>, not E_k or SE_R"
    )


@pytest.mark.parametrize("page", ["report", "measurement"])
def test_every_page_has_the_banner_above_everything_else(page: str) -> None:
    source = (Path(environment().loader.searchpath[0]) / f"{page}.html.j2").read_text()  # type: ignore[union-attr]
    assert source.index('{% include "smoke.html.j2" %}') < source.index("<section")
    for size, warned in (("smoke", True), ("laptop", False), ("", False)):
        banner = environment().get_template("smoke.html.j2").render(study={"size": size})
        assert (WARNING in banner, 'class="warning"' in banner) == (warned, warned)
