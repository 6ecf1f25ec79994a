"""W&B may break in any way while a cell trains, and no step is shown twice."""

from pathlib import Path

import pytest
import wandb
from lightning.pytorch.loggers.logger import DummyExperiment

from slackoff.wandb_view.content import STEP
from slackoff.wandb_view.live import GuardedWandbLogger


class Run:
    """A W&B run that keeps what it is given, until its disk is full."""

    def __init__(self, offline: bool = False, resumed: bool = False, step: int = 0, room: int = 9) -> None:
        self.offline, self.resumed, self.summary = offline, resumed, {STEP: step} if resumed else {}
        self.rows: list[dict[str, float]] = []
        self.room = room

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        if len(self.rows) > self.room:
            raise OSError(28, "No space left on device")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A W&B whose init always raises; the modes it was asked for."""
    modes = []

    def init(**options: object) -> None:
        modes.append(str(options.get("mode")))
        raise wandb.errors.CommError("no server")

    monkeypatch.setattr(wandb, "init", init)
    return modes


def test_wandb_that_never_starts_is_tried_offline_and_then_left_out(tmp_path: Path, refused: list[str]):
    logger = GuardedWandbLogger(project="p", id="a", save_dir=str(tmp_path))
    logger.log_metrics({"x": 1.0}, 1)
    logger.log_metrics({"x": 2.0}, 2)
    assert isinstance(logger.experiment, DummyExperiment)
    logger.finish(0, dict)
    assert len(refused) == 2
    assert refused[1] == "offline"


def test_wandb_that_raises_while_logging_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = Run(room=0)
    logger = GuardedWandbLogger(project="p", id="a", save_dir=str(tmp_path))
    logger._experiment = run  # type: ignore[assignment]
    logger.log_metrics({"x": 1.0}, 1)
    logger.log_metrics({"x": 1.0}, 2)
    assert len(run.rows) == 1
    assert logger.broken
    assert "W&B is left out from here on" in caplog.text


PAST = [{"step": 5, "elapsed_s": 1.0, "train/loss": 0.5}, {"step": 10, "elapsed_s": 2.0, "test/e_r": float("nan")}]


def test_offline_a_resumed_run_begins_with_what_was_recorded_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run(offline=True)
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    logger = GuardedWandbLogger(PAST, lambda: 2.5, project="p", id="a", save_dir=str(tmp_path))
    logger.log_metrics({"train/loss": 0.25}, 15)
    assert run.rows == [
        {STEP: 5, "elapsed_s": 1.0, "train/loss": 0.5},
        {STEP: 10, "elapsed_s": 2.0},
        {STEP: 15, "elapsed_s": 2.5, "train/loss": 0.25},
    ]


def test_on_a_server_steps_that_a_run_has_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = Run(offline=False, resumed=True, step=20)
    monkeypatch.setattr(wandb, "init", lambda **options: run)
    logger = GuardedWandbLogger(PAST, project="p", id="a", save_dir=str(tmp_path))
    for step in (15, 20, 25):
        logger.log_metrics({"train/loss": 1.0 / step}, step)
    logger.show(lambda: {"pictures/output": 1}, 20)
    logger.log_metrics({"final/e_r": 3.0}, 20)
    assert [(row[STEP], len(row)) for row in run.rows] == [(25, 2), (20, 2)]
    assert "final/e_r" in run.rows[-1]
