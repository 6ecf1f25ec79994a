"""The report of a runtime study: statistics against NumPy and enumeration, and what the page and the tables say."""

import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from measured import write_record

from report_page import Page
from slackoff.analysis.cost import timing
from slackoff.analysis.text import NO_NUMBER, significant
from slackoff.measurements.runtime_report import (
    TABLE,
    median_interval,
    published,
    ratio,
    reference_of,
    report,
    runtime_table,
)
from slackoff.measurements.study import build, find
from slackoff.record.measurement import load_measurement
from verbs import call

ROUNDS = 8
DRIFT = np.linspace(1, 3, ROUNDS)
"""The machine becomes three times as slow: ratios within a round do not see it."""

SECONDS = {"menet": 0.2 * DRIFT, "unet_tiny": 0.1 * DRIFT, "swinir": np.array([40.0])}


def rows(seconds: dict[str, np.ndarray], device: str = "cpu") -> list[dict[str, object]]:
    """Rows of a study; the rounds of a network are the last ones."""
    counts = {"threads": 2, "parameters": 1_222_147, "gflops": 39.98, "paper": "A paper"}
    common = {"device": device, "failure": "", **counts}
    return [
        common | {"network": name, "round": ROUNDS - len(values) + number, "seconds": value}
        for name, values in seconds.items()
        for number, value in enumerate(values)
    ]


def failed(name: str, device: str = "cpu") -> dict[str, object]:
    counts = {"threads": 2, "parameters": 0, "gflops": math.nan, "paper": "", "round": -1, "seconds": math.nan}
    return {"network": name, "device": device, "failure": "no <room> for it", **counts}


def write(folder: Path, content: list[dict[str, object]], **measure: object) -> Path:
    return write_record(folder, "runtime", pd.DataFrame(content), {"size_px": 224, "reference": None} | measure)


def page_of(folder: Path) -> str:
    return Page(build(folder).read_text(encoding="utf-8")).text


@pytest.mark.parametrize("count", [3, 4, 11])
def test_median_and_quartiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).lognormal(size=count)
    assert timing(values) == pytest.approx((np.median(values), *np.quantile(values, [0.25, 0.75]), count))


def test_two_rounds_have_no_quartiles_and_none_no_median() -> None:
    assert timing([1.0, 2.0]) == pytest.approx((1.5, math.nan, math.nan, 2), nan_ok=True)
    assert math.isnan(timing([]).median)


@pytest.mark.parametrize("count", [6, 8, 9, 12])
def test_the_interval_covers_the_median_in_95_percent_and_no_narrower_one_does(count: int) -> None:
    """All ways in which values can lie below (0) and above (1) the median, each as likely as the other."""
    low, high = median_interval(np.arange(count))
    left_out = int(low)
    assert high == count - 1 - left_out
    below = [count - sum(sides) for sides in product((0, 1), repeat=count)]

    def covered(ends: int) -> float:
        return float(np.mean([ends < number < count - ends for number in below]))

    assert covered(left_out) >= 0.95 > covered(left_out + 1)


def test_five_values_have_no_such_interval() -> None:
    assert np.isnan(median_interval(np.arange(5))).all()
    assert np.isnan(median_interval([])).all()


def test_a_ratio_is_of_the_same_rounds_and_sees_no_drift() -> None:
    slow = pd.Series([8.0, 12.0, 99.0], index=[2, 4, 5])
    fast = pd.Series([1.0, 2.0, 3.0, 4.0], index=[1, 2, 3, 4])
    assert ratio(slow, fast).median == np.median([8 / 2, 12 / 4])
    assert ratio(slow, fast).rounds == 2
    drifting = ratio(pd.Series(0.2 * DRIFT), pd.Series(0.1 * DRIFT))
    assert (drifting.median, drifting.low, drifting.high) == pytest.approx((2, 2, 2))
    assert math.isnan(ratio(slow, fast.iloc[:0]).median)


def test_the_fastest_is_the_reference_unless_another_is_named(tmp_path: Path) -> None:
    study = load_measurement(write(tmp_path / "a", rows(SECONDS)))
    assert reference_of(study) == "unet_tiny"
    assert list(runtime_table(study)["network"]) == ["unet_tiny", "menet", "swinir"]
    assert list(runtime_table(study)["ratio"]) == pytest.approx([1, 2, 40 / 0.3])
    named = load_measurement(write(tmp_path / "b", rows(SECONDS), reference="menet"))
    assert list(runtime_table(named)["ratio"]) == pytest.approx([0.5, 1, 40 / 0.6])


def test_published_rows_are_found_by_the_beginning_of_a_preset() -> None:
    rows = {"MENET": ["menet", "menet_deep"], "JORDER-E": ["jorder_e"], "RESCAN": ["rescan"], "DDN": ["ddn"]}
    for name, presets in (rows | {"DSC": ["dsc"]}).items():
        assert {found.name for preset in presets if (found := published(preset))} == {name}
    assert not any(map(published, ("menet_small", "menetwork", "unet")))  # smaller than the paper's, or another


def test_the_published_table_is_the_papers() -> None:
    cpu = {"MENET": 0.6578, "DSC": 70.43, "DDN": 1.8226, "JORDER-E": 27.64, "RESCAN": 4.2296}
    cuda = {"MENET": 0.0030, "DSC": math.nan, "DDN": 0.0084, "JORDER-E": 0.0151, "RESCAN": 0.0403}
    assert {row.name: row.seconds["cpu"] for row in TABLE} == cpu
    assert {row.name: row.seconds["cuda"] for row in TABLE} == pytest.approx(cuda, nan_ok=True, rel=0)


def test_three_significant_digits() -> None:
    values = [0.025123, 0.5, 3.14159, 104.47, 1310.2, math.nan]
    assert [*map(significant, values)] == ["0.0251", "0.500", "3.14", "104", "1,310", NO_NUMBER]


def test_the_page_has_table_figure_hardware_and_the_published_seconds(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(SECONDS) + rows({name: values / 10 for name, values in SECONDS.items()}, "cuda"))
    page = page_of(folder)
    assert (
        "On the CPU (Some CPU, 2 threads, torch 2.99) an image of 224x224 takes from 0.200 s (unet_tiny) to 40.0 s "
        "(swinir, 133 times as long)." in page
    )
    assert "On the GPU (Some GPU, torch 2.99) an image of 224x224 takes from 0.0200 s" in page
    assert "from other hardware, a Pentium G645 and a GTX TITAN X" in page
    assert "DSC, DDN, JORDER-E and RESCAN: no preset of these is measured here" in page
    assert "No GPU was measured" not in page
    assert (folder / "figures" / "runtime.png").stat().st_size > 10_000
    assert [entry.main for entry in report(load_measurement(folder)).rows[1]] == [
        *("menet", "1,222,147", "40.0", "0.400", "2.00", "0.0400", "2.00", "0.6578", "0.003")
    ]
    quartiles = np.quantile(SECONDS["menet"], [0.25, 0.75])
    assert report(load_measurement(folder)).rows[1][3].note == f"{quartiles[0]:.3f} to {quartiles[1]:.3f}, 8 rounds"
    ((figure, _),) = report(load_measurement(folder)).figures.values()
    bar = figure.axes[0].containers[1][2][0].get_segments()[0]  # type: ignore[index]
    np.testing.assert_allclose(bar[:, 0], quartiles)
    assert report(load_measurement(folder)).rows[2][3].note == "1 round"
    assert [row[-2].note for row in report(load_measurement(folder)).rows[4:]] == [
        "2.77 times MENET",
        "42.0 times MENET",
        "6.43 times MENET",
    ]
    table = pd.read_csv(folder / "tables" / "runtime.csv")
    medians = [float(np.median(values)) for name, values in SECONDS.items() if name != "menet"]
    assert table.groupby("network")["seconds"].max()[["unet_tiny", "swinir"]].tolist() == pytest.approx(medians)
    assert "menet" in (folder / "tables" / "runtime.tex").read_text()


def test_what_failed_is_told_of_and_stands_last(tmp_path: Path) -> None:
    folder = write(tmp_path, [failed("broken"), *rows(SECONDS)])
    assert list(runtime_table(load_measurement(folder))["network"]) == ["unet_tiny", "menet", "swinir", "broken"]
    page = page_of(folder)
    assert "network=broken on the CPU: no <room> for it" in page
    assert "No GPU was measured" in page
    assert [entry.main for entry in report(load_measurement(folder)).rows[3][:5]] == [
        *("broken", NO_NUMBER, NO_NUMBER, "failed", NO_NUMBER)
    ]


def test_a_study_in_which_all_failed_still_has_a_page(tmp_path: Path) -> None:
    assert "no network could be timed" in page_of(write(tmp_path, [failed("broken")]))


def test_a_study_is_found_and_shown_by_its_kind(tmp_path: Path) -> None:
    folder = write(tmp_path / "studies" / "menet_runtime-x", rows(SECONDS))
    assert find(folder) == find("menet_runtime-x", tmp_path) == folder
    assert find("elsewhere", tmp_path) is None
    other = tmp_path / "studies" / "patchcount"
    other.mkdir()
    (other / "study.json").write_text(json.dumps({"axis": "patch_count", "cells": []}))
    assert find("patchcount", tmp_path) is None
    shown = call("report", "menet_runtime-x", "--runs", tmp_path).output
    assert "swinir" in shown
    assert str(folder / "index.html") in shown.replace("\n", "")
