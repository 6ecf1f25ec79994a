"""The spread over the test images: against NumPy's quartiles and counts by hand, and what the figures draw of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, image_rows, write_study
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, StepPatch

from slackoff.analysis import Frames, load
from slackoff.analysis.distributions import (
    Distributions,
    boxes,
    distribution_table,
    distributions,
    distributions_caption,
    histograms,
    readable_distributions,
)
from slackoff.analysis.report import build
from slackoff.errors import SlackoffError

BOTH = ["psnr_rgb", "ssim_rgb"]
NAMES = ("plain", "with a very long name that goes on and on", "third")
SETS = ("heavy", "light")


def cells() -> list[Cell]:
    """Three variants in two seeds; the third failed."""
    return [
        Cell({"variant": name, "seed": seed}, psnr=25.2 + place, state="failed" if name == "third" else "done")
        for place, name in enumerate(NAMES)
        for seed in (0, 1)
    ]


def results(cell: Cell, place: int) -> pd.DataFrame:
    """30 images on each test set, with PSNR and SSIM around those of the input and a few far outliers of SSIM."""
    generator, found = np.random.default_rng(place), []
    for name in SETS:
        rows = image_rows(Cell(cell.axes, psnr=cell.psnr, images=30, test_set=name))
        rows["psnr_rgb"] += generator.normal(size=30)
        rows["ssim_rgb"] = rows["ssim_rgb_input"] + generator.normal(0.02, 0.01, size=30)
        rows.loc[[3, 7], "ssim_rgb"] -= 0.4
        found.append(rows)
    return pd.concat(found)


def study(runs: Path, asked: Any = BOTH) -> Path:
    written = cells()
    folder = write_study(runs, written, name="spread", axis="variant", options={"distributions": asked})
    for place, cell in enumerate(written):
        if cell.state == "done":
            results(cell, place).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return folder


def on_disk(frames: Frames, name: str, test_set: str) -> pd.DataFrame:
    """The results of all seeds of a variant, straight from the files."""
    found = [
        pd.read_parquet(frames.study.runs / "cells" / identity / "images.parquet")
        for identity, axes in frames.study.cells
        if axes["variant"] == name
    ]
    rows = pd.concat(found)
    return rows[rows["test_set"] == test_set]


def by_measure(runs: Path) -> dict[str, Distributions]:
    """Those on the heavy test set."""
    return {some.measure: some for some in distributions(load(study(runs))) if some.labels["test set"] == "heavy"}


def test_quartiles_and_harm_against_numpy_and_a_count(runs: Path) -> None:
    frames = load(study(runs))
    table = distribution_table(distributions(frames), "variant").set_index(["measure", "test set", "variant"])
    assert len(table) == 2 * 2 * 4
    for measure in BOTH:
        for test_set in SETS:
            for name in NAMES[:2]:
                rows = on_disk(frames, name, test_set)
                row = table.loc[(measure, test_set, name)]
                values = np.sort(rows[measure].to_numpy())
                assert (row["seeds"], row["images"], len(values)) == (2, 30, 60)
                quartiles = np.quantile(values, [0.25, 0.5, 0.75])
                np.testing.assert_allclose(row[["lower_quartile", "median", "upper_quartile"]].to_list(), quartiles)
                ends = [values.mean(), values[0], values[-1]]
                np.testing.assert_allclose(row[["mean", "minimum", "maximum"]].to_list(), ends)
                harmed = sum(own < other for own, other in zip(rows[measure], rows[f"{measure}_input"], strict=True))
                assert 0 < harmed < 60
                assert row["worse_than_input"] == pytest.approx(harmed / 60)
                assert row["worse_than_input_low"] <= harmed / 60 <= row["worse_than_input_high"]
            untouched = table.loc[(measure, test_set, "rainy input")]
            assert untouched["median"] == pytest.approx(np.median(rows[f"{measure}_input"]))
            assert np.isnan(untouched["worse_than_input"])


def test_an_image_that_comes_out_as_it_was_is_not_worse(runs: Path) -> None:
    cell = Cell({"variant": "same"}, images=10)
    folder = write_study(runs, [cell], axis="variant", options={"distributions": ["psnr_rgb"]})
    rows = image_rows(cell)
    rows["psnr_rgb"] = rows["psnr_rgb_input"] - np.array([1, 1, 0, 0, 0, 0, 0, -1, -1, np.nan])
    rows.to_parquet(runs / "cells" / cell.id / "images.parquet")
    (some,) = distributions(load(folder))
    assert some.variants[0].worse.mean == pytest.approx(2 / 9)
    assert len(some.variants[0].values) == 9


def stairs(figure: Figure, place: int) -> StepPatch:
    return next(patch for patch in figure.axes[place].patches if isinstance(patch, StepPatch))


def test_histograms_share_bins_and_scales(runs: Path) -> None:
    some = by_measure(runs)["psnr_rgb"]
    figure = histograms(some)
    assert len(figure.axes) == 4
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1
    first = stairs(figure, 0).get_data().edges
    for place, one in enumerate(some.shown[:3]):
        drawn = stairs(figure, place).get_data()
        np.testing.assert_array_equal(drawn.edges, first)
        np.testing.assert_allclose(drawn.values, np.histogram(one.values, first)[0] / len(one.values))
        assert drawn.values.sum() == pytest.approx(1)
        medians = [line for line in figure.axes[place].lines if line.get_linestyle() == "-"]
        assert [line.get_xdata()[0] for line in medians] == [pytest.approx(np.median(one.values))]  # type: ignore[index]


def test_histograms_are_named_and_counted(runs: Path) -> None:
    some = by_measure(runs)["psnr_rgb"]
    figure = histograms(some)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels[0] == "rainy input\n30 images"
    assert labels[1] == "plain\n30 images \N{MULTIPLICATION SIGN} 2 seeds"
    assert labels[2].split("\n")[:2] == ["with a very long name that", "goes on and on"]
    assert labels[3] == "third"
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts[0][-2:] == ["median", "worse than input"]
    assert texts[1] == [f"{some.variants[0].quartiles[1]:.2f}", f"{100 * some.variants[0].worse.mean:.1f} %"]
    assert texts[3][0] == "no result: failed"
    colour = [to_rgb(stairs(figure, place).get_facecolor()) for place in range(3)]
    assert colour[0] != colour[1] == colour[2]
    assert max(colour[0]) == min(colour[0])  # grey


def test_boxes_have_whiskers_of_one_and_a_half_quartile_distances(runs: Path) -> None:
    some = by_measure(runs)["ssim_rgb"]
    (ax,) = boxes(some).axes
    faces = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    assert [to_hex(face.get_facecolor()) for face in faces].count("#dcdcdc") == 1
    assert to_hex(faces[0].get_facecolor()) == "#dcdcdc"
    assert len(faces) == 3
    points = [line for line in ax.lines if line.get_marker() == "o"]
    outside = 0
    for place, one in enumerate(some.shown[:3]):
        lower, upper = np.quantile(one.values, [0.25, 0.75])
        reach = 1.5 * (upper - lower)
        inside = one.values[(one.values >= lower - reach) & (one.values <= upper + reach)]
        box = faces[place].get_path().vertices[:, 0]
        assert (box.min(), box.max()) == pytest.approx((lower, upper))
        whiskers = [line for line in ax.lines if _lies(line, place)]
        ends = [x for line in whiskers for x in np.asarray(line.get_xdata())]
        assert (min(ends), max(ends)) == pytest.approx((inside.min(), inside.max()))
        beyond = np.setdiff1d(one.values, inside)
        outside += len(beyond)
        np.testing.assert_allclose(np.sort(np.asarray(points[place].get_xdata())), beyond)
    assert outside >= 8
    assert [text.get_text().split("\n")[0] for text in ax.get_yticklabels()] == [
        "rainy input",
        "plain",
        "with a very long name that",
        "third",
    ]
    assert ax.yaxis.get_inverted()
    assert not any(isinstance(found, LineCollection) for found in ax.collections)


def _lies(line: Line2D, place: int) -> bool:
    """Whether this is a whisker of the row: a line of two points along it."""
    y = np.asarray(line.get_ydata())
    return len(y) == 2 and line.get_linestyle() == "-" and bool((y == place).all())


def test_the_caption_says_how_many(runs: Path) -> None:
    some = by_measure(runs)["psnr_rgb"]
    said = distributions_caption(some)
    assert "Each row: 30 test images, 2 training seeds together." in said


def test_the_page_has_a_figure_per_measure_and_test_set(runs: Path) -> None:
    folder = study(runs)
    page = build(folder).read_text()
    figures = sorted(path.name for path in (folder / "figures").glob("distribution-*.png"))
    assert figures == [f"distribution-{part}-rgb-{name}.png" for part in ("psnr", "ssim") for name in SETS]
    assert page.count('alt="distribution ') == 4
    assert "Each row: 30 test images, 2 training seeds together." in page
    table = pd.read_csv(folder / "tables" / "distributions.csv")
    assert list(table["variant"][:4]) == ["rainy input", *NAMES]
    shown = readable_distributions(distributions(load(folder)), "variant")
    assert list(shown["variant"][:4]) == ["rainy input", *NAMES[:2], "third (failed)"]
    assert shown["worse than input"][1] in page.replace("<small>", "\n").replace("</small>", "")


def test_a_record_without_the_input_has_no_row_of_it(runs: Path) -> None:
    cell = Cell({"patch_count": 8}, images=10)
    folder = write_study(runs, [cell], options={"distributions": ["psnr_y"]})
    image_rows(cell).assign(psnr_y=np.arange(10.0)).to_parquet(runs / "cells" / cell.id / "images.parquet")
    (some,) = distributions(load(folder))
    assert [one.name for one in some.shown] == ["N = 8"]
    assert some.variants[0].quartiles == (2.25, 4.5, 6.75)
    (ax,) = histograms(some).axes
    assert [text.get_text() for text in ax.texts] == ["4.50", "", "median", ""]


def test_networks_of_several_groups_keep_their_labels(runs: Path) -> None:
    several = [Cell({"network": name, "patch_count": n}) for name in ("unet", "resnet") for n in (8, 64)]
    folder = write_study(runs, several, options={"distributions": ["psnr_rgb"]})
    (some,) = distributions(load(folder))
    assert [one.name for one in some.variants] == ["unet, N = 8", "unet, N = 64", "resnet, N = 8", "resnet, N = 64"]
    table = distribution_table([some], "patch_count")
    assert list(table.columns[:3]) == ["measure", "network", "patch_count"]
    assert table["patch_count"].tolist() == ["rainy input", 8, 64, 8, 64]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["psnr"], r"names 'psnr', which cannot be drawn: there are psnr_rgb, ssim_rgb, psnr_y, ssim_y\."),
        (["psnr_y"], r"names 'psnr_y', which no cell has measured: they have psnr_rgb, ssim_rgb\."),
    ],
)
def test_what_cannot_be_drawn_is_named(runs: Path, asked: Any, message: str) -> None:
    frames = load(study(runs, asked))
    with pytest.raises(SlackoffError, match=rf"^study\.options\.distributions of the study 'spread' {message}$"):
        distributions(frames)


def test_a_measure_in_the_place_of_a_list_is_refused(runs: Path) -> None:
    with pytest.raises(SlackoffError, match=r"study\.json is damaged \(options\.distributions: .* valid (array|list)"):
        load(study(runs, "psnr_rgb"))
