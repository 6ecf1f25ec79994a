"""Being asked to stop: a cell writes a checkpoint at its next step and ends, to go on from there another time."""

import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from slackoff.record.callbacks import LossGuard
from slackoff.record.checkpoint import LAST
from slackoff.record.signals import Stopped, handle

_LOOK_S = 2.0


class StopRequest(Callback):
    """Listens for ``SIGNALS``. While a cell trains it ends at the next step, with a checkpoint; else at once.

    Several ranks have to end at the same step: about every two seconds they tell each other whether one was asked. The
    first rank measures how many steps that is and tells the others with it.

    Args:
        checkpoints: the cell's checkpoint folder.
        guard: refuses a checkpoint of weights that a bad loss has spoilt.
    """

    def __init__(self, checkpoints: Path, guard: LossGuard) -> None:
        self.checkpoints, self.guard = checkpoints, guard
        self.asked = False
        self.training = False
        self.mark = (0, 0.0)
        self.next_look = 0
        handle(self._handle)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out Lightning's own answer to SIGTERM: with several ranks it broadcasts from within the handler, and
        before each step, which then waits for the device."""
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self.mark = (trainer.global_step, time.monotonic())
        self.next_look = trainer.global_step + 1
        self.training = True

    def on_train_end(self, *_: Any) -> None:
        self.training = False

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if not self._all_agree(trainer):
            return
        self.guard.check()
        trainer.save_checkpoint(self.checkpoints / LAST)
        raise Stopped

    def _all_agree(self, trainer: Trainer) -> bool:
        if trainer.world_size == 1:
            return self.asked
        step, clock = trainer.global_step, time.monotonic()
        if step < self.next_look:
            return False
        taken, seconds = step - self.mark[0], clock - self.mark[1]
        self.mark = (step, clock)
        pause = max(1, round(_LOOK_S * taken / seconds)) if trainer.is_global_zero else 0
        said = torch.tensor([int(self.asked), pause], device=trainer.strategy.root_device)
        asked, pause = trainer.strategy.reduce(said, reduce_op="sum").tolist()
        self.next_look = step + pause
        return asked > 0

    def _handle(self, *_: Any) -> None:
        first, self.asked = not self.asked, True
        if first and not self.training:
            raise Stopped
