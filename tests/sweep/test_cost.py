"""What a sweep costs: the dry run announces it and writes nothing but step times, the pace tells what is left."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.cli.hydra_app import run
from slackoff.config.counting import count_step
from slackoff.measurements import timing
from slackoff.measurements.timing import StepTime
from slackoff.record.environment import describe_environment
from slackoff.record.status import State, Status
from slackoff.sweep import cost
from slackoff.sweep.backend import Slot
from slackoff.sweep.cost import (
    CACHE,
    estimate_cost,
    show_dry_run,
    step_parts,
    step_rates,
)
from slackoff.sweep.display import Pace, status_table
from slackoff.sweep.manifest import Row
from slackoff.sweep.plan import Cell

SLOTS = [Slot({"OMP_NUM_THREADS": "1"})] * 2
PARTS = {"network", "task", "images", "precision"}
PCGRAD = ("task=multitask", "weighting@task.weighting=pcgrad")


@pytest.fixture
def cells(planned: Callable[..., list[Cell]]) -> list[Cell]:
    """Two cells of 20 steps, as they are planned."""
    return planned(["seed=0"], ["seed=1"])


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement takes no time and finds 36 s a step; the networks that were measured."""
    networks: list[str] = []

    def measure(config: DictConfig, threads: int, budget_s: float) -> StepTime:
        networks.append(config.network.name)
        return StepTime(36.0, "measured")

    monkeypatch.setattr(timing, "measure_step", measure)
    return networks


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=160, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Iterator[Callable[..., str]]:
    """Runs a command in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def run_command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["slackoff", *arguments, "logger.wandb=false"])
        run()
        return capsys.readouterr().out

    return run_command


def record(cell: Cell, state: str, step: int, train_seconds: float = 0.0) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    status = Status(cell.id, cell.label, 20, step=step, train_seconds=train_seconds)
    replace(status, state=state).write(cell.folder)  # type: ignore[arg-type]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def lines_with(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_a_dry_run_writes_the_cache_of_step_times_and_nothing_else(command, measured, tmp_path) -> None:
    output = command("+experiment=patchcount", "-m", "--dry-run", "size=smoke")
    assert "2 cells: 0 done, 2 to train." in output
    assert lines_with(output, "unet_tiny", "2", "40", "36", "measured")
    assert measured == ["unet_tiny"]
    assert files(tmp_path) == {"runs/step_rates.json"}
    (entry,) = json.loads((tmp_path / "runs/step_rates.json").read_text())["rates"]
    assert (entry["seconds"], entry["hardware"]["threads"], set(entry["parts"])) == (36.0, 1, PARTS)
    again = command("+experiment=patchcount", "-m", "size=smoke", "--dry-run")
    assert measured == ["unet_tiny"]
    assert lines_with(again, "unet_tiny", "36", "measured")


def test_a_manifest_is_shown_with_what_its_rows_serve(command) -> None:
    output = command("+experiment=paper150", "-m", "size=smoke", "--dry-run")
    assert len(lines_with(output, "missing", "Figs 4, 7, 10", "small")) == 2
    assert lines_with(output, "Figs 4, 7, 10", "ours", "2", "0")
    assert "3 cells: 0 done, 3 to train." in output


def test_one_cell_can_be_looked_at_too(command, tmp_path) -> None:
    assert "1 cell: 0 done, 1 to train." in command("size=smoke", "network=unet_tiny", "--dry-run")
    assert files(tmp_path) == {"runs/step_rates.json"}


def test_missing_folders_are_named_once_each_and_stop_nothing(command, tmp_path) -> None:
    (tmp_path / "data" / "urban100").mkdir(parents=True)
    output = command(
        "-m",
        "--dry-run",
        "size=smoke",
        "network=unet_tiny",
        "background=celeba,urban100,builtin",
        "seed=0,1",
        "evaluation=streaks,r100like",
    )
    assert lines_with(output, "missing: roots.celeba=data/celeba does not exist: give it the path")
    assert lines_with(output, "missing: roots.rain100l=data/rain100l does not exist: give it the path")
    assert lines_with(output, "missing: roots.urban100=data/urban100 holds no image: put files")
    assert len(lines_with(output, "missing: roots.")) == 4  # and DIV2K, of streaks
    assert len(lines_with(output, " ~")) == 10  # all but builtin with r100like
    assert "12 cells: 0 done, 12 to train." in output


def test_states_are_done_partly_and_missing(planned, console) -> None:
    cells = planned(["seed=0"], ["seed=1"], ["seed=9"])
    show_dry_run(cells, [], SLOTS, console)
    assert "3 cells: 0 done, 3 to train." in console.export_text()
    record(cells[0], "done", 20)
    record(cells[1], "failed", 5)
    show_dry_run(cells, [], SLOTS, console)
    output = console.export_text()
    assert lines_with(output, cells[0].id, "done")
    assert lines_with(output, cells[1].id, "partly, 5/20")
    assert "3 cells: 1 done, 2 to train (1 of them partly trained)." in output
    assert lines_with(output, "in all", "2", "35")


def finish(cell: Cell, train_seconds: float, **changed: Any) -> None:
    """Leave the record of a done cell of 20 steps."""
    record(cell, "done", 20, train_seconds)
    environment = {**describe_environment(), "threads": 1, **changed}
    (cell.folder / "environment.json").write_text(json.dumps(environment))
    OmegaConf.save(cell.config, cell.folder / "config.yaml")


def test_done_cells_on_the_same_machine_give_the_time_of_a_step(cells, console, measured) -> None:
    """Of 20 steps in 40 s: 2 s a step; 20 steps left in one of two slots are 20 machine-seconds."""
    finish(cells[0], 40.0)
    statuses = {cell.id: cell.status() for cell in cells}
    (found,) = estimate_cost(cells[1:], statuses, SLOTS, console).costs
    assert (found.steps, found.seconds_per_step, found.how) == (20, pytest.approx(2.0), "1 done cell")
    assert found.hours == pytest.approx(20 * 2.0 / 2 / 3600)
    assert not measured
    finish(cells[0], 40.0, cpu="another")
    assert estimate_cost(cells[1:], statuses, SLOTS, console).costs[0].how == "measured"


def test_cells_of_one_network_and_another_weighting_have_rates_of_their_own(planned, console, measured) -> None:
    """A plain cell takes 1 s a step, a PCGrad cell 3 s; a second seed of each is announced with its own."""
    plain, hard, *left = planned([], PCGRAD, ["seed=1"], [*PCGRAD, "seed=1"])
    finish(plain, 20.0)
    finish(hard, 60.0)
    show_dry_run([plain, hard, *left], [], SLOTS, console)
    output = console.export_text()
    assert not measured
    assert lines_with(output, "unet_tiny", "supervised", "20", "1 ", "1 done cell")
    assert lines_with(output, "unet_tiny", "multitask (pcgrad)", "20", "3 ", "1 done cell")
    costs = estimate_cost(left, {cell.id: cell.status() for cell in left}, SLOTS, console).costs
    assert [found.seconds_per_step for found in costs] == pytest.approx([1.0, 3.0])


@pytest.mark.parametrize("reason", ["no time is left", "torch cannot take the step"])
def test_what_is_not_measured_is_guessed_from_the_nearest_rate_by_operations(planned, console, monkeypatch, reason):
    """Of the networks that are known, the one of the same name is nearer than one with as many operations."""
    plain, other, guessed = planned([], ["network=resnet_small"], PCGRAD)
    finish(plain, 20.0)
    finish(other, 20.0)
    if reason == "no time is left":
        monkeypatch.setattr(cost, "_BUDGET_S", -1.0)
    else:
        monkeypatch.setattr(timing, "measure_step", out_of_memory)
    rate = step_rates([guessed], 1, console)[guessed.id]
    assert rate is not None
    assert rate.seconds == pytest.approx(1.0 * count_step(guessed.config) / count_step(plain.config))
    assert rate.how == "a guess, from the operations of a step"
    assert not (guessed.folder.parents[1] / CACHE).exists()


def out_of_memory(*_: object) -> StepTime:
    raise torch.OutOfMemoryError("not enough memory\nand a long story")


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("seed=5", True),
        ("schedule.steps=99", True),
        ("network.name=mine", True),
        ("rain=large", True),
        ("task.learning_rate=0.1", True),
        ("network.width=6", False),
        ("schedule.batch_size=5", False),
        ("background.patch_size_px=32", False),
        ("trainer.precision=bf16-mixed", False),
        ("task=rcdnet", False),
        ("weighting@task.weighting=pcgrad", False),
        ("terms@task.terms=pixel_edge", False),
        ("task.log_gradient_norms=true", False),
        ("unlabelled=synthesised", False),
    ],
)
def test_a_step_takes_as_long_as_its_network_batch_patch_losses_and_precision_say(planned, override, same) -> None:
    (first,), (other,) = planned(["task=multitask"]), planned(["task=multitask", override])
    assert (step_parts(first.content) == step_parts(other.content)) is same


def test_gpu_hours_are_summed_over_the_gpus(cells, console, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    slots = [Slot({"CUDA_VISIBLE_DEVICES": str(number), "OMP_NUM_THREADS": "1"}) for number in range(2)]
    estimate = estimate_cost(cells, {cell.id: cell.status() for cell in cells}, slots, console)
    assert estimate.unit == "GPU-hours (Card)"
    assert estimate.hours == pytest.approx(2 * 20 * 36 / 3600)


def test_what_cannot_be_measured_is_not_counted_and_said(cells, console, monkeypatch) -> None:
    monkeypatch.setattr(timing, "measure_step", out_of_memory)
    show_dry_run(cells, [], SLOTS, console)
    output = console.export_text()
    assert "It cannot be measured: not enough memory" in output
    assert lines_with(output, "unet_tiny", "?", "cannot be measured")
    assert "and more" in output


def test_cells_without_steps_cost_nothing_and_are_not_timed(planned, console, measured) -> None:
    show_dry_run(planned(["network=dsc", "schedule.steps=0"], ["seed=0"]), [], SLOTS, console)
    output = console.export_text()
    assert lines_with(output, "dsc", "1", "0", "under 0.01", "nothing to train")
    assert lines_with(output, "unet_tiny", "1", "20", "36", "measured")
    assert measured == ["unet_tiny"]
    assert "?" not in output


def test_where_nothing_is_trained_no_step_is_timed(cells, console, measured) -> None:
    record(cells[0], "interrupted", step=20)
    record(cells[1], "interrupted", step=20)
    show_dry_run(cells, [], SLOTS, console)
    assert measured == []
    assert lines_with(console.export_text(), "unet_tiny", "2", "0", "nothing to train")
    record(cells[1], "interrupted", step=15)
    estimate = estimate_cost(cells, {cell.id: cell.status() for cell in cells}, SLOTS, console)
    assert measured == ["unet_tiny"]
    assert [(found.cells, found.steps, found.seconds) for found in estimate.costs] == [(2, 5, 5 * 36.0)]


def test_many_cells_are_summed_up(cells, console) -> None:
    rows = [Row("my.yaml", number, number, {}, f"Fig {number % 2}", "ours") for number in range(300)]
    many = [replace(cells[0], id=f"{number:012x}", row=row) for number, row in enumerate(rows)]
    show_dry_run(many, [], SLOTS, console)
    output = console.export_text()
    assert "... and 280 more." in output
    assert [len(lines_with(output, f"Fig {number}", "ours", "150")) for number in (0, 1)] == [1, 1]
    assert "300 cells: 0 done, 300 to train." in output


def test_a_damaged_cache_is_measured_anew(cells, console, measured) -> None:
    cache = cells[0].folder.parents[1] / CACHE
    cache.parent.mkdir(parents=True)
    cache.write_text('{"rates": [{"kind": 3')
    estimate_cost(cells, {cell.id: cell.status() for cell in cells}, SLOTS, console)
    assert len(measured) == 1
    assert len(json.loads(cache.read_text())["rates"]) == 1


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def status(name: str, step: int, state: State = "running", steps: int = 100) -> Status:
    return Status(name, {"patch_count": 8, "seed": name}, steps, state, step=step)


def test_a_cell_is_judged_by_its_own_steps_since_it_was_first_seen():
    clock = Clock()
    pace = Pace(clock=clock)
    pace.see([status("slow", 20), status("fast", 0)])
    clock.now = 10.0
    pace.see([status("slow", 30), status("fast", 50)])
    assert pace.left(status("slow", 30)) == pytest.approx(70.0)
    assert pace.left(status("fast", 50)) == pytest.approx(10.0)
    assert pace.left(status("new", 5)) is None


@pytest.mark.parametrize(
    ("operations", "other", "expected"),
    [
        ({"a": 1.0, "b": 10.0}, status("b", 0, "pending"), 50 / 5 + 1000 / 5),  # 50 steps in 10 s: 5 units a second
        ({}, status("b", 40, "failed"), 50 / 5),  # failed cells are not waited for
    ],
)
def test_the_time_of_all_counts_steps_by_their_operations(operations, other, expected):
    clock = Clock()
    pace = Pace(operations, clock)
    pace.see([status("a", 0), other])
    clock.now = 10.0
    found = [status("a", 50), other]
    pace.see(found)
    assert pace.all_left(found) == pytest.approx(expected)


def test_a_table_without_room_shows_running_and_failed_cells_in_their_order():
    states: list[State] = ["done"] * 5 + ["failed"] + ["pending"] * 5 + ["running"]
    statuses = [status(f"cell{number:02}", 0, state) for number, state in enumerate(states)]
    console = Console(record=True, width=120)
    console.print(*status_table(statuses, most_rows=3), sep="\n")
    lines = console.export_text().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["cell05", "cell06", "cell11"]
    assert lines[4] == "... and 9 more (5 done, 4 pending): slackoff status --json lists all"


def test_a_long_note_leaves_the_rest_of_its_line_whole():
    failed = status("cell00000001", 50, "failed")
    failed.last_error = "no space is left " * 20
    console = Console(record=True, width=80)
    console.print(*status_table([failed, status("cell00000002", 0, "pending")]), sep="\n")
    line = console.export_text().splitlines()[1]
    assert line.split()[:3] == ["cell00000001", "8", "cell00000001"]
    assert "failed" in line
    assert "50/100" in line
