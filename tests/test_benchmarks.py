"""The benchmarks run, and the plain way in them draws the rain that slackoff draws. Nothing here is timed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slackoff.analysis import load
from slackoff.metrics.columns import COLUMNS
from slackoff.rain.ranges import RainParameters
from slackoff.rain.render import streaks_from_noise

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks import fusing, results, tables  # noqa: E402
from benchmarks.frames import measure_loading, section, write_record  # noqa: E402
from benchmarks.fused_cells import FusedRates  # noqa: E402
from benchmarks.fused_worker import FusedCase, difference_after  # noqa: E402
from benchmarks.gate import Stretch  # noqa: E402
from benchmarks.plain_way import RainyPatches, draw_rain  # noqa: E402
from benchmarks.planning import measure_planning  # noqa: E402
from benchmarks.rain_share import RainCase, RainShare  # noqa: E402
from benchmarks.training import Race, Rates, Setting  # noqa: E402
from benchmarks.weighting_overhead import measure_weightings  # noqa: E402


@pytest.mark.parametrize(
    ("quantity", "width", "length", "angle_deg"), [(250, 5, 30, -5), (300, 9, 40, 30), (200, 1, 59, 70)]
)
def test_the_plain_way_draws_the_same_rain(quantity: int, width: int, length: int, angle_deg: int) -> None:
    noise = np.random.default_rng(3).uniform(0, 256, (64, 64))
    theirs = draw_rain(noise, quantity, width, length, angle_deg)
    parameters = RainParameters(*(torch.tensor([value]) for value in (quantity, width, length, angle_deg)))
    ours = streaks_from_noise(torch.from_numpy(noise).float()[None], parameters)[0, 0] * 255
    assert theirs.max() >= 254  # the stretch may end a rounding error below 255, which is then cut off
    assert np.abs(ours.numpy() - theirs).max() <= 1.01


def test_the_plain_way_adds_rain_to_its_backgrounds() -> None:
    patches = np.full((2, 64, 64, 3), 40, np.uint8)
    rain = {"quantity": [200, 300], "width": [5], "length": [30, 31], "angle_deg": [-5, 5]}
    rainy, background = RainyPatches(patches, rain)[1]
    assert rainy.shape == background.shape == (3, 64, 64)
    assert torch.all(background == 40 / 255)
    assert torch.all(rainy >= background)
    assert rainy.max() == 1.0
    assert 20 / 255 < (rainy - background).mean() < 80 / 255


def test_turns_are_counted_for_each_process() -> None:
    race = Race("unet", {"slackoff": Stretch(1, 4)}, rounds=3, settings=(Setting(1), Setting(1, cells=2), Setting(2)))
    assert [race.turns(copy) for copy in (0, 1)] == [9, 3]


def test_ratios_are_taken_round_by_round_and_judged_by_their_median() -> None:
    by_way = {"slackoff": [10.0, 30.0, 21.0], "plain way": [10.0, 10.0, 10.0], "bare loop": [10.0, 40.0, 24.0]}
    rates = Rates("unet", "1 thread", by_way)
    plain, bare = results.against_plain_way([rates]).rows[0], results.against_bare_loop([rates]).rows[0]
    assert (plain.value, plain.low, plain.high, plain.met) == (2.1, 1.0, 3.0, True)
    assert (bare.value, bare.low, bare.high, bare.met) == (0.875, 0.75, 1.0, False)


def test_the_share_of_rain_counts_rendering_once() -> None:
    share = RainShare(
        RainCase("unet", "laptop", 1), "8 of 64x64", 0.100, {"small": 0.002, "medium": 0.005, "large": 0.01}
    )
    assert share.shares() == pytest.approx({"small": 2 / 92, "medium": 5 / 95, "large": 0.1})
    assert not results.rain_shares([share]).rows[0].met


def test_planning_is_judged_by_the_goal_of_its_number_of_cells() -> None:
    rows = results.planning({150: [9.9, 9.5, 12.5], 2_000: [91.0]}).rows
    assert [(row.setting, row.value, row.met) for row in rows] == [("150 rows", 9.9, True), ("2,000 rows", 91.0, False)]


def test_planning_alone_takes_every_row_to_a_cell(tmp_path: Path) -> None:
    (seconds,) = measure_planning(160, 1, tmp_path)  # more than paper150 has: ten get another seed
    assert seconds > 0


def test_fused_cells_draw_the_batches_of_their_cells(tmp_path: Path) -> None:
    streams = [loop.stream for loop in FusedCase("unet_tiny", "smoke", "32-true").loops(3, tmp_path)]
    rainy, background = fusing.joint_batch(streams, 7)
    for cell, stream in enumerate(streams):
        batch = stream.batch(7)
        assert torch.equal(rainy[cell], batch.rainy)
        assert torch.equal(background[cell], batch.background)
    assert not torch.equal(rainy[0], rainy[1])


@pytest.mark.parametrize("way", fusing.WAYS)
def test_fused_cells_take_the_steps_of_their_cells(way: str, tmp_path: Path) -> None:
    case = FusedCase("unet_tiny", "smoke", "32-true")
    fused = fusing.WAYS[way](case.loops(2, tmp_path))
    assert difference_after(3, fused, case.loops(2, tmp_path)) < 1e-3


def test_only_plain_convolutions_are_grouped() -> None:
    with pytest.raises(ValueError, match="BatchNorm2d cannot be grouped"):
        fusing.widened([torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)) for _ in range(2)])


def test_fused_cells_are_judged_by_their_best_way_and_place() -> None:
    by_way = {
        "vmap, 2 x 1 thread": [5.0, 5.0, 5.0],
        "vmap, 1 x 2 threads": [6.0, 6.0, 6.0],
        "grouped, contiguous, 2 x 1 thread": [9.0, 14.0, 13.0],
        "one after another, fused Adam, 2 x 1 thread": [10.0, 11.0, 10.0],
        "apart, 1 x 2 threads": [8.0, 8.0, 8.0],
    }
    case = FusedCase("unet_tiny", "smoke", "32-true")
    rates = FusedRates(case, 4, "4 of 64x64", [10.0, 10.0, 10.0], by_way)
    row = results.fused_cells([rates]).rows[0]
    assert row.setting == "4 x unet_tiny, 32-true, 4 of 64x64"
    assert row.detail == "one after another 1.00, grouped 1.30, vmap 0.60, apart 0.80"
    assert (row.value, row.low, row.high, row.met) == (1.3, 0.9, 1.4, True)


def test_weightings_are_measured_beside_fixed_weights_whatever_the_terms() -> None:
    terms = "~task.terms", "+task.terms={pixel:{_target_:torch.nn.MSELoss},odd:{_target_:torch.nn.L1Loss}}"
    small = "schedule.batch_size=2", "background.patch_size_px=16", "background.patch_count=1"
    batch, seconds = measure_weightings("unet_tiny", [*terms, *small], ["gb"], rounds=2, steps=1)
    assert batch == "2 of 16x16"
    assert {name: len(found) for name, found in seconds.items()} == {"fixed": 2, "gb": 2}
    assert min(seconds["gb"]) > 0


def test_saved_results_name_machine_and_verdicts(tmp_path: Path) -> None:
    facts = tables.machine(load_before=0.0)
    sections = [results.cell_starts({1: [6.0, 7.0, 9.0], 2: [8.5]})]
    page = tables.save(sections, facts, {"starts": {}}, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "| one cell | 3 starts | 7.0 s | 6.0 to 9.0 | met |" in text
    assert "| 2 cells at once | 1 starts | 8.5 s | 8.5 to 8.5 | MISSED |" in text
    assert str(facts["packages"]["torch"]) in text
    assert page.with_suffix(".json").exists()


def test_the_record_that_is_loaded_has_the_shape_that_it_is_asked_for(tmp_path: Path) -> None:
    frames = load(write_record(tmp_path, cells=4, points=10, images=6))
    assert (len(frames.cells), len(frames.steps), len(frames.images)) == (4, 4 * 10, 4 * 6)
    assert list(frames.cells["state"]) == ["done"] * 4
    assert set(COLUMNS) <= set(frames.images)
    assert {f"{part}/{name}" for part in ("test", "final") for name in COLUMNS} <= set(frames.steps)
    assert frames.steps["test/e_r"].notna().sum() == 4 * 2
    numbers = frames.images[list(COLUMNS)].dtypes
    assert set(map(str, numbers)) == set(map(str, frames.steps.dtypes.iloc[2:])) == {"float64"}
    assert str(frames.steps["cell"].dtype) == str(frames.images["image"].dtype) == "category"


def test_a_record_is_loaded_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = measure_loading(write_record(tmp_path, cells=2, points=5, images=2), rounds=1)
    assert found[0].load_mb >= found[0].import_mb > 0
    assert [row.unit for row in section(found, "2 cells").rows] == ["s", "MB"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("unet_tiny, 1 thread", "unet_tiny, 4 of 64x64", "one cell", "150 rows")),
        (["fused"], ("2 x unet_tiny", "one after another", "grouped", "vmap")),
    ],
)
def test_make_bench_runs_on_tiny_cells(arguments: list[str], words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--quick"]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


def test_each_fault_can_be_put_into_the_code() -> None:
    """Where the code has changed, so must ``benchmarks/faults.yaml``."""
    pytest.importorskip("cosmic_ray", reason="needs the extra mutants")
    from benchmarks import faults

    found = faults.read_faults()
    assert len(found) >= 60
    assert {fault.kind for fault in found} == set(faults.KINDS)
    for fault in found:
        path, text, wrong = fault.put_into(ROOT)
        assert wrong != text
        if path.suffix == ".py":
            compile(wrong, str(path), "exec")
