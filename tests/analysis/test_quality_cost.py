"""What a study cost, and quality against the networks' cost: against NumPy, the front by hand, figure and page."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import INPUT_PSNR, ORACLE_SHARE, Cell, Change, MakeFrames, image_rows, write_study
from matplotlib.collections import PathCollection
from rich.console import Console

from slackoff.analysis import Frames, load
from slackoff.analysis.cost import (
    NETWORK_COSTS,
    cost,
    network_costs,
    print_quality_cost,
    quality_cost_answers,
    quality_cost_figure,
    quality_cost_table,
    readable_quality_cost,
)
from slackoff.analysis.report import build
from slackoff.errors import SlackoffError
from slackoff.record.measurement import write_measurement

SECONDS = {"fast": [0.01, 0.02, 0.03], "slow": [1.0, 3.0, 2.0], "poor": [0.5] * 3, "broken": []}
PSNR = {"fast": 24.0, "slow": 28.0, "poor": 23.0, "broken": 26.0}


def cells() -> list[Cell]:
    """Four networks at two counts; PSNR and the removal share are higher by 1 dB and 0.1 with 1024 patches."""
    return [
        Cell({"network": name, "patch_count": count}, psnr=PSNR[name] + more, share=0.5 + more / 10, e_b=10 - more)
        for name in SECONDS
        for count, more in ((64, 0.0), (1024, 1.0))
    ]


def write_costs(study: Path) -> None:
    """What a sweep keeps of its networks."""
    common = {"device": "cpu", "threads": 2, "parameters": 1000, "paper": ""}
    rows = [
        common | {"network": name, "round": number, "seconds": value, "gflops": 2.5, "failure": ""}
        for name, seconds in SECONDS.items()
        for number, value in enumerate(seconds)
    ]
    rows.append(common | {"network": "broken", "round": -1, "seconds": np.nan, "gflops": 2.5, "failure": "Boom"})
    frame = pd.DataFrame(rows)
    frame.loc[frame["network"] == "slow", "gflops"] = np.nan
    content = {"measure": {"size_px": 64}, "environment": {"cpu": "Some CPU", "gpu": None, "packages": {"torch": "2"}}}
    write_measurement(study / NETWORK_COSTS, "runtime", frame, content)


@pytest.fixture
def frames(runs: Path) -> Frames:
    folder = write_study(runs, cells(), "zoo", "network", claims=["zoo"])
    write_costs(folder)
    return load(folder)


def rows(frames: Frames) -> pd.DataFrame:
    return quality_cost_table(frames).set_index("network")


def test_means_are_over_all_settings_and_the_ends_are_settings(frames: Frames) -> None:
    table = rows(frames)
    assert list(table.index) == ["rainy input", *SECONDS]
    for name, psnr in PSNR.items():
        assert table.loc[name, ["psnr_rgb", "psnr_rgb_worst", "psnr_rgb_best"]].tolist() == pytest.approx(
            [psnr + 0.5, psnr, psnr + 1]
        )
        own = [cell.id for cell in cells() if cell.axes["network"] == name]
        images = frames.images[frames.images["cell"].isin(own)]
        assert table.loc[name, "e_b"] == pytest.approx(images.groupby("image")["e_b"].mean().mean())
        assert table.loc[name, ["e_b_worst", "e_b_best"]].tolist() == pytest.approx([10, 9])
        assert table.loc[name, "e_b_low"] < table.loc[name, "e_b"] < table.loc[name, "e_b_high"]
    assert table.loc["fast", "removal_share_oracle"] == pytest.approx(ORACLE_SHARE)
    assert table.loc["rainy input", ["psnr_rgb", "removal_share"]].tolist() == pytest.approx([INPUT_PSNR, 0])


def test_seconds_are_medians_and_quartiles_of_the_rounds(frames: Frames) -> None:
    table = rows(frames)
    for name in ("fast", "slow"):
        expected = np.percentile(SECONDS[name], [25, 50, 75])
        assert table.loc[name, ["seconds_low", "seconds", "seconds_high"]].tolist() == pytest.approx(expected.tolist())
    assert np.isnan(table.loc["broken", "seconds"])
    assert np.isnan(table.loc["slow", "gflops"])


def test_the_front_is_of_those_that_no_faster_one_beats(frames: Frames) -> None:
    table = rows(frames)
    assert table.index[table["front"]].tolist() == ["fast", "slow"]


def made(runs: Path, written: list[Cell], edit: Mapping[int, Change] | None = None) -> pd.DataFrame:
    """The table of a study of these cells, some of whose results are changed."""
    folder = write_study(runs, written, "zoo", "network")
    write_costs(folder)
    for place, change in (edit or {}).items():
        path = runs / "cells" / written[place].id / "images.parquet"
        change(pd.read_parquet(path)).to_parquet(path)
    return quality_cost_table(load(folder))


def hard(lead: float = 2.0) -> list[Cell]:
    """'fast' is worse than 'slow' by `lead` dB in both settings, of which 64 patches is by 6 dB the harder one."""
    psnr = {"fast": 24.0, "slow": 24.0 + lead}
    return [
        Cell({"network": name, "patch_count": count}, psnr=psnr[name] + easier, share=0.5 + easier / 100)
        for name in psnr
        for count, easier in ((64, 0.0), (256, 6.0), (1024, 6.0))
    ]


def test_a_network_whose_hard_cell_failed_does_not_win_by_that(runs: Path) -> None:
    """Over its own cells 'fast' would have 30 dB and 'slow' 30 on two of three, 28 on all."""
    written = hard()
    written[0].state = "failed"
    table = made(runs, written)
    found = table.set_index("network")
    assert found.loc[["fast", "slow"], "psnr_rgb"].tolist() == pytest.approx([30, 32])
    assert found.loc[["fast", "slow"], "psnr_rgb_worst"].tolist() == pytest.approx([30, 32])
    assert found.loc[["fast", "slow"], ["done", "compared", "settings"]].to_numpy().tolist() == [[2, 2, 3], [3, 2, 3]]
    (answer,) = quality_cost_answers(table)
    assert "slow has the highest PSNR, 32.00 dB" in answer
    assert "Compared in 2 of 3 settings, those in which all that are compared have results." in answer
    assert {"fast (2 of 3 settings)", "slow"} < set(readable_quality_cost(table)["network"])


def test_a_network_with_few_results_is_left_out_and_that_is_said(runs: Path) -> None:
    written = hard()
    for cell in written[:2]:
        cell.state = "failed"
    table = made(runs, written)
    found = table.set_index("network")
    assert np.isnan(found.loc["fast", "psnr_rgb"])
    assert found.loc["slow", "psnr_rgb"] == pytest.approx(30)
    assert found.index[found["front"]].tolist() == ["slow"]
    (answer,) = quality_cost_answers(table)
    assert answer.endswith("1 of 1 networks have more. Left out for want of results: fast (results in 1).")
    assert "fast (1 of 3 settings, left out)" in set(readable_quality_cost(table)["network"])


def test_networks_without_a_setting_in_common_are_not_compared(runs: Path) -> None:
    written = [cell for cell in hard() if cell.axes["patch_count"] != 256]
    written[0].state = written[3].state = "failed"
    table = made(runs, written)
    (answer,) = quality_cost_answers(table)
    assert answer == "On R100-like there is no setting in which all networks have results: none are compared."
    folder = runs / "studies" / "zoo"
    assert answer in build(folder).read_text()
    assert not (folder / "figures" / "quality_cost.png").exists()


def test_settings_may_have_test_images_of_their_own(runs: Path) -> None:
    """Six images with 64 patches and twenty with the others: settings still weigh alike, images are paired by name."""
    written = hard()
    few = [place for place, cell in enumerate(written) if cell.axes["patch_count"] == 64]
    table = made(runs, written, dict.fromkeys(few, lambda rows: rows.head(6).assign(psnr_rgb_input=20.0))).set_index(
        "network"
    )
    rows = {
        name: image_rows(cell)["psnr_rgb"].head(6).mean() for name, cell in (("fast", written[0]), ("slow", written[3]))
    }
    for name, others in (("fast", 30.0), ("slow", 32.0)):
        assert table.loc[name, "psnr_rgb"] == pytest.approx((rows[name] + 2 * others) / 3)
    assert table.loc["rainy input", "psnr_rgb"] == pytest.approx((20 + 2 * INPUT_PSNR) / 3)


def test_an_image_that_one_network_lacks_counts_for_none(runs: Path) -> None:
    """The first ten images are easier by 10 dB, and 'slow' lacks them in one setting."""
    written = hard()
    easier = {
        place: lambda rows: rows.assign(psnr_rgb=rows["psnr_rgb"] + np.where(rows.index < 10, 10, 0))
        for place in range(len(written))
    }
    easier[3] = lambda rows: rows.tail(10)
    table = made(runs, written, easier).set_index("network")
    lead = [
        image_rows(slow)["psnr_rgb"].tail(10).mean() - image_rows(fast)["psnr_rgb"].tail(10).mean()
        for fast, slow in zip(written[:3], written[3:], strict=True)
    ]
    assert table.loc["slow", "psnr_rgb"] - table.loc["fast", "psnr_rgb"] == pytest.approx(np.mean(lead))


def test_the_figure_has_a_dot_for_each_network_that_was_timed(frames: Frames) -> None:
    found = network_costs(frames.study.folder)
    assert found is not None
    figure = quality_cost_figure(quality_cost_table(frames), found)
    share, psnr = figure.axes
    means = (dict.fromkeys(PSNR, 0.55), {name: value + 0.5 for name, value in PSNR.items()})
    for ax, expected in zip((share, psnr), means, strict=True):
        (dots,) = (item for item in ax.collections if isinstance(item, PathCollection))
        placed = [(float(np.median(SECONDS[name])), expected[name]) for name in ("fast", "slow", "poor")]
        np.testing.assert_allclose(np.asarray(dots.get_offsets()), placed)
        assert {text.get_text() for text in ax.texts} == {"fast", "slow", "poor"}
    assert psnr.get_xscale() == "log"


def test_the_report_has_it_and_answers(frames: Frames) -> None:
    (answer,) = quality_cost_answers(quality_cost_table(frames))
    assert "slow has the highest PSNR, 28.50 dB" in answer
    assert "the untouched input has 25.50; 2 of 4 networks have more" in answer
    page = build(frames.study.folder).read_text()
    assert 'id="quality-cost"' in page
    assert "Some CPU, 2 threads" in page
    written = pd.read_csv(frames.study.folder / "tables" / "quality_cost.csv")
    assert written["network"].tolist() == ["rainy input", *SECONDS]
    assert (frames.study.folder / "figures" / "quality_cost.png").stat().st_size > 20_000


def test_a_terminal_has_every_number_whole(frames: Frames) -> None:
    console = Console(width=80, record=True, file=StringIO())
    print_quality_cost(quality_cost_table(frames), console)
    text = console.export_text()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "28.50" in text
    assert "1,000" in text


def test_without_costs_there_is_nothing_of_it(runs: Path) -> None:
    folder = write_study(runs, cells(), "zoo", "network")
    assert quality_cost_table(load(folder)).empty


def test_a_damaged_record_is_named(frames: Frames) -> None:
    (frames.study.folder / NETWORK_COSTS / "study.json").write_text("{")
    with pytest.raises(SlackoffError, match=r"study\.json is missing or damaged .*: remove .*network_costs and run"):
        quality_cost_table(frames)


COUNTS = [Cell({"patch_count": count}) for count in (1024, 8, 64)]


def test_cost_adds_up_over_cells(frames_of: MakeFrames) -> None:
    cells = [*COUNTS, Cell({"patch_count": 16}, state="failed"), Cell({"patch_count": 32}, state="missing")]
    spent = cost(frames_of(cells))
    assert spent.device_hours == pytest.approx((3 * 108 + 100) / 3600)
    assert spent.wall_hours == pytest.approx(120 / 3600)
    assert spent.per_cell["steps_per_second"].tolist()[:3] == [4.0, 4.0, 4.0]
    assert len(spent.per_cell) == 5


def test_cost_of_a_study_that_has_not_begun_is_nothing(frames_of: MakeFrames) -> None:
    spent = cost(frames_of([Cell({"patch_count": 8}, state="missing")]))
    assert spent.device_hours == 0
    assert spent.wall_hours != spent.wall_hours


def test_a_clock_that_was_set_back_gives_no_negative_hours(runs: Path) -> None:
    study = write_study(runs, COUNTS)
    for cell in COUNTS:
        path = runs / "cells" / cell.id / "status.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": "2026-01-01T03:04:05+00:00"}))
    spent = cost(load(study))
    assert spent.wall_hours != spent.wall_hours
    assert spent.device_hours > 0
