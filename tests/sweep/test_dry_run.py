"""A dry run shows cells, states and cost, and writes nothing but the cache of step times."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from slackoff.cli.hydra_app import run
from slackoff.record.environment import describe_environment
from slackoff.record.status import Status
from slackoff.sweep import step_rate, step_rates
from slackoff.sweep.backend import Slot
from slackoff.sweep.dry_run import show_dry_run
from slackoff.sweep.estimate import estimate_cost
from slackoff.sweep.manifest import Row
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.step_rate import StepTime, measure_step

SLOTS = [Slot({"OMP_NUM_THREADS": "1"})] * 2


@pytest.fixture
def cells(composed: Callable[..., DictConfig]) -> list[Cell]:
    """Two cells of 20 steps, as they are planned."""
    overrides = [["seed=0"], ["seed=1"]]
    return plan([composed(*job) for job in overrides], overrides)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement takes no time and finds 36 s a step; the networks that were measured."""
    networks: list[str] = []

    def measure(config: DictConfig, threads: int, budget_s: float) -> StepTime:
        networks.append(config.network.name)
        return StepTime(36.0, "measured")

    monkeypatch.setattr(step_rates, "measure_step", measure)
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
    assert (entry["network"], entry["patch_size_px"], entry["batch_size"]) == ("unet_tiny", 64, 4)
    assert entry["hardware"]["threads"] == 1
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


def test_states_are_done_partly_and_missing(cells, console) -> None:
    show_dry_run([*cells, *plan_one_more(cells)], [], SLOTS, console)
    assert "3 cells: 0 done, 3 to train." in console.export_text()
    record(cells[0], "done", 20)
    record(cells[1], "failed", 5)
    show_dry_run([*cells, *plan_one_more(cells)], [], SLOTS, console)
    output = console.export_text()
    assert lines_with(output, cells[0].id, "done")
    assert lines_with(output, cells[1].id, "partly, 5/20")
    assert "3 cells: 1 done, 2 to train (1 of them partly trained)." in output
    assert lines_with(output, "in all", "2", "35")


def plan_one_more(cells: list[Cell]) -> list[Cell]:
    content = {**cells[0].content, "seed": 9}
    return plan([content], [["seed=9"]])


def test_done_cells_on_the_same_machine_give_the_time_of_a_step(cells, console, measured) -> None:
    """Of 20 steps in 40 s: 2 s a step; 20 steps left in one of two slots are 20 machine-seconds."""
    record(cells[0], "done", 20, train_seconds=40.0)
    environment = {**describe_environment(), "threads": 1}
    (cells[0].folder / "environment.json").write_text(json.dumps(environment))
    OmegaConf.save(cells[0].config, cells[0].folder / "config.yaml")
    statuses = {cell.id: cell.status() for cell in cells}
    (cost,) = estimate_cost(cells[1:], statuses, SLOTS, console).networks
    assert (cost.steps, cost.seconds_per_step, cost.how) == (20, pytest.approx(2.0), "1 done cells")
    assert cost.hours == pytest.approx(20 * 2.0 / 2 / 3600)
    assert not measured
    (cells[0].folder / "environment.json").write_text(json.dumps({**environment, "cpu": "another"}))
    assert estimate_cost(cells[1:], statuses, SLOTS, console).networks[0].how == "measured"


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("seed=5", True),
        ("schedule.steps=99", True),
        ("network.name=mine", True),
        ("rain=large", True),
        ("network.width=6", False),
        ("schedule.batch_size=5", False),
        ("background.patch_size_px=32", False),
        ("trainer.precision=bf16-mixed", False),
        ("task=rcdnet", False),
        ("unlabelled=synthesised", False),
    ],
)
def test_a_step_takes_as_long_as_its_network_batch_patch_loss_and_precision_say(composed, override, same) -> None:
    kinds = {step_rates.step_kind(plan([composed(*job)], [[]])[0].content) for job in ([], [override])}
    assert len(kinds) == (1 if same else 2)


@pytest.mark.parametrize("labelled", [[], ["labelled=pairs", "labelled.root=not read"]])
def test_a_step_is_measured_with_as_many_unlabelled_images_as_the_cell_has(composed, monkeypatch, labelled) -> None:
    seen = []
    monkeypatch.setattr(step_rate._Trainer, "step", lambda trainer, batch: seen.append(batch))
    taught = ("task=semi_supervised", "unlabelled=synthesised", "unlabelled.batch_size=6")
    config = composed(*labelled, *taught, "trainer.accelerator=cpu")
    assert measure_step(config, threads=1, budget_s=60.0).how == "measured"
    shapes = {(len(batch.rainy), len(batch.unlabelled), batch.rainy.shape[-1]) for batch in seen}
    assert shapes == {(1, 2, 32), (1, 2, 64), (2, 3, 64), (4, 6, 64)}
    assert all(batch.unlabelled.shape[1:] == batch.rainy.shape[1:] for batch in seen)


def test_gpu_hours_are_summed_over_the_gpus(cells, console, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    slots = [Slot({"CUDA_VISIBLE_DEVICES": str(number), "OMP_NUM_THREADS": "1"}) for number in range(2)]
    estimate = estimate_cost(cells, {cell.id: cell.status() for cell in cells}, slots, console)
    assert estimate.unit == "GPU-hours (Card)"
    assert estimate.hours == pytest.approx(2 * 20 * 36 / 3600)


def test_what_cannot_be_measured_is_not_counted_and_said(cells, console, monkeypatch) -> None:
    def out_of_memory(*_: object) -> StepTime:
        raise torch.OutOfMemoryError("not enough memory\nand a long story")

    monkeypatch.setattr(step_rates, "measure_step", out_of_memory)
    show_dry_run(cells, [], SLOTS, console)
    output = console.export_text()
    assert "It cannot be measured: not enough memory" in output
    assert lines_with(output, "unet_tiny", "?", "cannot be measured")
    assert "and more" in output


def test_cells_without_steps_cost_nothing_and_are_not_timed(composed, console, measured) -> None:
    overrides = [["network=dsc", "schedule.steps=0"], ["seed=0"]]
    show_dry_run(plan([composed(*job) for job in overrides], overrides), [], SLOTS, console)
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
    assert [(cost.cells, cost.steps, cost.seconds) for cost in estimate.networks] == [(2, 5, 5 * 36.0)]


def test_many_cells_are_summed_up(cells, console) -> None:
    rows = [Row("my.yaml", number, number, {}, f"Fig {number % 2}", "ours") for number in range(300)]
    many = [replace(cells[0], id=f"{number:012x}", row=row) for number, row in enumerate(rows)]
    show_dry_run(many, [], SLOTS, console)
    output = console.export_text()
    assert "... and 280 more." in output
    assert [len(lines_with(output, f"Fig {number}", "ours", "150")) for number in (0, 1)] == [1, 1]
    assert "300 cells: 0 done, 300 to train." in output


def test_a_damaged_cache_is_measured_anew(cells, console, measured) -> None:
    cache = cells[0].folder.parents[1] / "step_rates.json"
    cache.parent.mkdir(parents=True)
    cache.write_text('{"rates": [{"kind": 3')
    estimate_cost(cells, {cell.id: cell.status() for cell in cells}, SLOTS, console)
    assert len(measured) == 1
    assert len(json.loads(cache.read_text())["rates"]) == 1


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A step takes a millisecond for 1024 pixels; the steps that were taken."""
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def timed(_: object, count: int, side: int) -> float:
        taken.append((count, side))
        return count * side**2 / 1024 / 1000

    monkeypatch.setattr(step_rate, "_timed", timed)
    return taken


def test_with_time_a_step_is_measured_as_large_as_it_is(composed, clocked) -> None:
    found = measure_step(composed("background.patch_size_px=128", "schedule.batch_size=3"), 1, budget_s=1e9)
    assert found == StepTime(pytest.approx(3 * 16 / 1000), "measured")
    assert list(dict.fromkeys(clocked)) == [(1, 32), (1, 64), (1, 128), (2, 128), (3, 128)]


def test_without_time_a_small_step_is_scaled_by_pixels(composed, clocked) -> None:
    found = measure_step(composed("background.patch_size_px=128", "schedule.batch_size=3"), 1, budget_s=0.0)
    assert found == StepTime(pytest.approx(3 * 16 / 1000), "measured on 1 of 32x32 px, scaled by pixels")
    assert set(clocked) == {(1, 32)}


def test_a_real_step_is_taken(composed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = measure_step(composed("background.patch_size_px=32"), 1, budget_s=60.0)
    assert found.how == "measured"
    assert 0 < found.seconds < 60
