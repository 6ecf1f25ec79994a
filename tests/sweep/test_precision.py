"""The precision of a sweep: settled once for its cells, kept by them, the same on every machine that goes on."""

import json
from collections.abc import Callable, Sequence

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from slackoff.cell import training
from slackoff.cell.launch import CellExit
from slackoff.config.checks import Checks
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.status import read_status
from slackoff.sweep import study
from slackoff.sweep.backend import Resources, Slot
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.expand import Config, resolved
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.local import LocalBackend
from slackoff.sweep.manifest import Job
from slackoff.sweep.plan import Cell, check_hardware, plan, settle_precision
from slackoff.sweep.planner_process import PlannerProcess
from train_here import train_here

AUTO = "trainer.precision=auto"
SLOTS = [Slot({}, "cpu 0")]
Composed = Callable[..., DictConfig]


def configs(composed: Composed, *overrides: str, seeds: Sequence[int] = (0, 1)) -> list[Config]:
    return [resolved(composed(AUTO, *overrides, f"seed={seed}")) for seed in seeds]


def begin(contents: Sequence[Config], *choices: str) -> None:
    """Make the folders of cells as a machine with such a precision would begin them."""
    for content, choice in zip(contents, choices, strict=True):
        (cell,) = plan(settle_precision([content], Fingerprints(), {"auto": choice}.__getitem__), [[]])
        prepare(cell, HeartbeatMonitor())


def settled(contents: Sequence[Config], here: str) -> list[str]:
    found = settle_precision(contents, Fingerprints(), lambda accelerator: here)
    return [content["trainer"]["precision"] for content in found]


@pytest.mark.parametrize(
    ("begun", "seeds", "here", "expected"),
    [
        ([], [0, 1], "32-true", "32-true"),  # by the hardware
        ([], [0, 1], "bf16-mixed", "bf16-mixed"),
        (["bf16-mixed"], [0, 1, 2], "32-true", "bf16-mixed"),  # another machine goes on, also with more cells
        (["32-true"], [0, 1, 2], "bf16-mixed", "32-true"),
        (["bf16-mixed"], [5], "32-true", "32-true"),  # another study
        (["bf16-mixed", "32-true", "bf16-mixed"], [0, 1, 2], "32-true", "bf16-mixed"),  # most cells
        (["bf16-mixed", "32-true", "bf16-mixed"], [0, 1], "32-true", "32-true"),  # a draw
    ],
)
def test_a_study_keeps_the_precision_in_which_most_of_it_is_begun(composed, begun, seeds, here, expected):
    begin(configs(composed, seeds=range(len(begun))), *begun)
    assert settled(configs(composed, seeds=seeds), here) == [expected] * len(seeds)


def test_what_was_asked_for_stays_and_each_accelerator_is_settled_by_itself(composed):
    own = resolved(composed("trainer.precision=16-mixed"))
    on_cpu = configs(composed, "trainer.accelerator=cpu", seeds=[0])
    found = settle_precision(
        [own, *on_cpu, *configs(composed, seeds=[0])],
        Fingerprints(),
        {"cpu": "32-true", "auto": "bf16-mixed"}.__getitem__,
    )
    assert [content["trainer"]["precision"] for content in found] == ["16-mixed", "32-true", "bf16-mixed"]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources(SLOTS, LocalBackend, local=True), "bf16-mixed"),
        (Resources(SLOTS, lambda: pytest.fail("nothing starts")), "32-true"),
    ],
    ids=["this machine", "a cluster"],
)
def test_a_cluster_trains_in_float32_unless_told(composed, monkeypatch, resources, expected):
    monkeypatch.setattr(study, "auto_here", lambda accelerator: "bf16-mixed")
    seen: list[Cell] = []
    monkeypatch.setattr(study, "show_dry_run", lambda cells, *_: seen.extend(cells))
    for overrides in ([AUTO], ["trainer.precision=16-mixed"]):
        configs = [resolved(composed(*overrides))]
        study.run_jobs([Job(overrides)], configs, resources, PlannerProcess(), Console(quiet=True), dry_run=True)
    assert [cell.content["trainer"]["precision"] for cell in seen] == [expected, "16-mixed"]


def test_emulated_bf16_is_said_before_training_and_in_the_record(planned, monkeypatch):
    monkeypatch.setattr("slackoff.record.environment.bf16_in_hardware", lambda kind: False)
    monkeypatch.setattr("slackoff.record.environment.bf16_slowdown", lambda kind: 9.0)
    bf16 = ("trainer.precision=bf16-mixed", "schedule.steps=1")
    cells = planned([*bf16, "seed=0"], [*bf16, "seed=1"])
    with PlannerProcess() as planner:
        (warning,) = check_hardware(cells, SLOTS, planner)
    assert "9.0 times as long as in float32" in warning
    prepare(cells[0], HeartbeatMonitor())
    assert train_here(cells[0].folder) == CellExit.DONE
    status = read_status(cells[0].folder)
    assert status is not None
    assert status.notes == ["trained in bf16-mixed, which is emulated here: 32-true is faster"]
    assert json.loads((cells[0].folder / "environment.json").read_text())["cpu_capability"]


def test_float16_on_a_cpu_is_refused_and_never_recorded_as_trained(composed, prepared):
    with pytest.raises(SlackoffError, match="16-mixed trains on GPUs only"):
        Checks().check(composed("trainer.precision=16-mixed", "trainer.accelerator=cpu"))
    cell = prepared("trainer.precision=16-mixed")
    with PlannerProcess() as planner, pytest.raises(SlackoffError, match="16-mixed trains on GPUs only"):
        check_hardware([cell], SLOTS, planner)
    assert train_here(cell.folder) == CellExit.FAILED


def test_gpu_slots_without_cuda_are_refused_before_training(prepared, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cell = prepared()
    with (
        PlannerProcess() as planner,
        pytest.raises(SlackoffError, match="CUDA_VISIBLE_DEVICES=1 names a GPU, but torch"),
    ):
        check_hardware([cell], [Slot({"CUDA_VISIBLE_DEVICES": "1"}, "gpu 1")], planner)


def test_a_cell_in_a_gpu_slot_that_sees_no_cuda_fails_and_does_not_train_on_the_cpu(prepared, monkeypatch):
    cell = prepared()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert train_here(cell.folder) == CellExit.FAILED
    status = read_status(cell.folder)
    assert status is not None
    assert status.step == 0
    assert str(status.last_error).startswith("CUDA_VISIBLE_DEVICES=0 names a GPU, but torch")


class Spy(nn.Module):
    """Notes whether TensorFloat-32 and autocast are on while it works."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: set[tuple[bool, bool, bool, bool]] = set()

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        flags = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
        self.seen.add((self.training, *flags, torch.is_autocast_enabled("cpu")))
        return rainy * self.weight


@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_is_in_what_was_asked_for_and_evaluation_in_true_float32(prepared, monkeypatch, tf32, precision):
    spy = Spy()
    monkeypatch.setattr(training.build, "build_started_network", lambda config: spy)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not tf32)
    cell = prepared(f"trainer.tf32={tf32}", f"trainer.precision={precision}", "schedule.steps=1")
    assert train_here(cell.folder) == CellExit.DONE
    assert spy.seen == {(True, tf32, False, precision == "bf16-mixed"), (False, False, False, False)}


def test_paper_size_trains_as_the_papers_did(conf):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf), version_base="1.3"):
        paper, laptop = (compose("config", [f"size={size}"]).trainer for size in ("paper", "laptop"))
    assert (paper.precision, paper.tf32) == ("32-true", True)
    assert (laptop.precision, laptop.tf32) == ("auto", False)
