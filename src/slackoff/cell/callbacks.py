"""What happens beside the training steps of a cell: status, checkpoints, evaluations, NaN losses, being stopped."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from slackoff.cell.best import BestWeights
from slackoff.cell.launch import Pruned, Stopped, on_stop_signal
from slackoff.errors import SlackoffError
from slackoff.evaluation import Evaluation, Evaluator
from slackoff.record.checkpoint import LAST
from slackoff.record.status import Status
from slackoff.tasks import Task

_STATUS_INTERVAL_S = 0.5
_MOST_PICTURES = 4
_AGREE_INTERVAL_S = 2.0


class NonFiniteLossError(SlackoffError):
    """The loss of a cell became NaN or infinite; the weights after that step are worth nothing."""


class StatusCallback(Callback):
    """Keeps ``status.json`` at the present step, twice a second at most.

    Args:
        status: the cell's status.
        folder: the cell's folder.
        process_start: ``time.monotonic()`` when the cell's process started, for the time to the first step.
    """

    def __init__(self, status: Status, folder: Path, process_start: float) -> None:
        self.status, self.folder, self.process_start = status, folder, process_start
        self.written = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.status.seconds_to_first_step is None:
            self.status.seconds_to_first_step = round(time.monotonic() - self.process_start, 2)
        self.status.step = trainer.global_step
        if time.monotonic() - self.written > _STATUS_INTERVAL_S and trainer.is_global_zero:
            self.status.write(self.folder)
            self.written = time.monotonic()


class LossGuard(Callback):
    """Remembers on the device whether every loss so far was finite; asks for the answer every so many steps only."""

    def __init__(self, checkpoints: Path, every: int) -> None:
        self.checkpoints, self.every = checkpoints, every
        self.bad_step: Tensor | None = None
        self.bad_parts: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"].detach()
        if self.bad_step is None:
            self.bad_step = torch.full((), -1, device=loss.device)
        new = (self.bad_step < 0) & ~torch.isfinite(loss)
        self.bad_step = torch.where(new, trainer.global_step, self.bad_step)
        for name in (name for name in outputs if name != "loss" and not name.startswith("weight/")):
            bad = new & ~torch.isfinite(outputs[name])
            self.bad_parts[name] = self.bad_parts[name] | bad if name in self.bad_parts else bad
        if trainer.global_step % self.every == 0:
            self.check()

    def check(self) -> None:
        """Stop here if a loss was not finite.

        Raises:
            NonFiniteLossError: naming the step, the parts of the loss that were not finite, the last good checkpoint.
        """
        if self.bad_step is None or (step := int(self.bad_step)) < 0:
            return
        last = self.checkpoints / LAST
        good = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written before"
        parts = ", ".join(name for name, bad in self.bad_parts.items() if bad)
        raise NonFiniteLossError(
            f"The loss became NaN or infinite at step {step}{f' ({parts})' if parts else ''}; {good}: "
            "lower task.learning_rate or set trainer.precision=32-true"
        )


class CheckpointCallback(Callback):
    """Writes a checkpoint every so many steps and after the last, never one of weights that a bad loss has spoilt."""

    def __init__(self, folder: Path, every: int, guard: LossGuard) -> None:
        self.folder, self.every, self.guard = folder, every, guard

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self.guard.check()
            trainer.save_checkpoint(self.folder / LAST)


class StopRequest(Callback):
    """Listens for ``STOP_SIGNALS``. While a cell trains it ends at the next step, with a checkpoint; else at once.

    Several ranks have to end at the same step: about every two seconds they tell each other whether one was asked. The
    first rank measures how many steps that is and tells the others with it.

    Args:
        checkpoints: the cell's checkpoint folder.
        guard: refuses a checkpoint of weights that a bad loss has spoilt.
    """

    def __init__(self, checkpoints: Path, guard: LossGuard) -> None:
        self.checkpoints, self.guard = checkpoints, guard
        self.asked = False
        self.verdict: str | None = None
        self.training = False
        self.mark = (0, 0.0)
        self.next_agreement = 0
        on_stop_signal(self._on_signal)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out Lightning's own answer to SIGTERM: with several ranks it broadcasts from within the handler, and
        before each step, which then waits for the device."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.mark = (trainer.global_step, time.monotonic())
        self.training = True

    def on_train_end(self, *_: Any) -> None:
        self.training = False

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if not self._all_agree(trainer):
            return
        self.guard.check()
        trainer.save_checkpoint(self.checkpoints / LAST)
        raise Pruned(self.verdict) if self.verdict else Stopped

    def prune(self, verdict: str) -> None:
        """End the training at this step, or once all ranks have agreed, for a reason."""
        self.asked, self.verdict = True, verdict

    def _all_agree(self, trainer: Trainer) -> bool:
        if trainer.world_size == 1:
            return self.asked
        step, clock = trainer.global_step, time.monotonic()
        if step < self.next_agreement:
            return False
        taken, seconds = step - self.mark[0], clock - self.mark[1]
        self.mark = (step, clock)
        pause = max(1, round(_AGREE_INTERVAL_S * taken / seconds)) if trainer.is_global_zero else 0
        mine = torch.tensor([int(self.asked), pause], device=trainer.strategy.root_device)
        asked, pause = trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        self.next_agreement = step + pause
        return asked > 0

    def _on_signal(self, *_: Any) -> None:
        first, self.asked = not self.asked, True
        if first and not self.training:
            raise Stopped


class EvaluationCallback(Callback):
    """Measures the network on part of the test set every so many steps and logs the means as ``test/...``.

    The task's teachers, as soon as it has any, are measured too: ``teacher/...``; and the network on all validation
    pairs: ``validation/...``.

    Args:
        evaluator: measures.
        every: steps between two evaluations.
        show: told the step and what was found of the task's own network, with one picture, at a few evaluations.
        judge: told the step and the means that were found of it, at each evaluation before the last step.
        validation: measures on the validation pairs.
        best: keeps the weights that are best on them.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        every: int,
        show: Callable[[int, Evaluation], None] | None = None,
        judge: Callable[[int, dict[str, float]], None] | None = None,
        validation: Evaluator | None = None,
        best: BestWeights | None = None,
    ) -> None:
        self.validation, self.best = validation, best
        self.evaluator, self.every, self.show, self.judge = evaluator, every, show, judge
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every or not trainer.is_global_zero:
            return
        started = time.monotonic()
        assert isinstance(module, Task)
        shown = self.show is not None and trainer.global_step in picture_steps(trainer.max_steps, self.every)
        found = {"test": self.evaluator.quick_look(module.network, int(shown))}
        found |= {name: self.evaluator.quick_look(each, 0) for name, each in module.teachers.items()}
        if self.validation is not None:
            found["validation"] = self.validation.evaluate(module.network)
            if self.best is not None:
                self.best.look(trainer.global_step, module.network, found["validation"].means)
        log_all(trainer, {f"{name}/{key}": value for name, each in found.items() for key, value in each.means.items()})
        if shown and self.show is not None:
            self.show(trainer.global_step, found["test"])
        if self.judge is not None and trainer.global_step < trainer.max_steps:
            self.judge(trainer.global_step, found["test"].means)
        self.seconds += time.monotonic() - started


def picture_steps(total: int, every: int) -> set[int]:
    """At which of the evaluations before the last step a picture is shown: four at most, evenly spread."""
    steps = range(every, total, every)
    count = min(_MOST_PICTURES, len(steps))
    return {steps[number * len(steps) // count] for number in range(count)}


class TrainingLogger(Callback):
    """Logs what the training step returned, the learning rate and the rate of training (evaluations left out)."""

    def __init__(self, evaluation: EvaluationCallback, every: int) -> None:
        self.evaluation, self.every = evaluation, every
        self.mark = (0, 0.0)

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.mark = (trainer.global_step, time.monotonic() - self.evaluation.seconds)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every:
            return
        clock = time.monotonic() - self.evaluation.seconds
        steps, seconds = step - self.mark[0], clock - self.mark[1]
        self.mark = (step, clock)
        means = {name: trainer.strategy.reduce(value.detach(), reduce_op="mean") for name, value in outputs.items()}
        values = {f"train/{name}": float(value) for name, value in means.items()}
        values["train/learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        values["train/steps_per_second"] = steps / seconds if seconds > 0 else 0.0
        log_all(trainer, values)


def log_all(trainer: Trainer, values: dict[str, float]) -> None:
    """Give values to every logger at the trainer's present step."""
    for logger in trainer.loggers:
        logger.log_metrics(values, trainer.global_step)
