"""What happens beside the training steps, at which step and in which rank."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from slackoff.cell import callbacks
from slackoff.cell.callbacks import CheckpointCallback, EvaluationCallback


@pytest.mark.parametrize(("step", "saved"), [(5, False), (6, True), (19, False), (20, True)])
def test_a_checkpoint_is_written_every_so_many_steps_and_after_the_last(tmp_path: Path, step: int, saved: bool) -> None:
    trainer, guard = Mock(global_step=step, max_steps=20), Mock()
    CheckpointCallback(tmp_path, 6, guard).on_train_batch_end(trainer)
    assert trainer.save_checkpoint.called == guard.check.called == saved


@pytest.mark.parametrize(("step", "first"), [(10, False), (9, True)])
def test_other_ranks_and_other_steps_measure_nothing(step: int, first: bool) -> None:
    evaluator = Mock()
    trainer = Mock(global_step=step, is_global_zero=first)
    EvaluationCallback(evaluator, 10).on_train_batch_end(trainer, Mock())
    evaluator.quick_look.assert_not_called()


def test_the_rate_of_training_counts_from_where_the_attempt_began_without_the_evaluations(monkeypatch):
    now, shown = [100.0], Mock()
    monkeypatch.setattr(callbacks, "time", Mock(monotonic=lambda: now[0]))
    evaluation = Mock(seconds=0.0)
    trainer = Mock(global_step=40, loggers=[shown], optimizers=[Mock(param_groups=[{"lr": 0.1}])])
    logger = callbacks.TrainingLogger(evaluation, every=20)
    logger.on_train_start(trainer)
    now[0], evaluation.seconds, trainer.global_step = 113.0, 3.0, 60
    logger.on_train_batch_end(trainer, Mock(), {})
    shown.log_metrics.assert_called_once_with({"train/learning_rate": 0.1, "train/steps_per_second": 2.0}, 60)


@pytest.mark.parametrize("stopped", [False, True])
def test_weights_that_a_bad_loss_has_spoilt_are_no_checkpoint_between_two_log_lines(tmp_path, monkeypatch, stopped):
    monkeypatch.setattr(callbacks, "on_stop_signal", lambda _: None)
    guard, trainer = callbacks.LossGuard(tmp_path, every=100), Mock(global_step=6, max_steps=20, world_size=1)
    guard.on_train_batch_end(trainer, Mock(), {"loss": torch.tensor(float("nan"))}, None, 0)
    stop = callbacks.StopRequest(tmp_path, guard)
    stop.asked = True
    with pytest.raises(callbacks.NonFiniteLossError, match="at step 6"):
        (stop if stopped else CheckpointCallback(tmp_path, 6, guard)).on_train_batch_end(trainer)
    trainer.save_checkpoint.assert_not_called()
