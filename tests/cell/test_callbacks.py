"""What happens beside the training steps, at which step and in which rank."""

from pathlib import Path
from unittest.mock import Mock

import pytest

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
