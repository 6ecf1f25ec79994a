"""Being asked to stop: a cell writes a checkpoint at its next step and ends, to go on from there another time."""

import signal
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from slackoff.record.callbacks import LossGuard
from slackoff.record.checkpoint import LAST
from slackoff.record.signals import SIGNALS, Stopped


class StopRequest(Callback):
    """Listens for ``SIGNALS``. While a cell trains it ends at the next step, with a checkpoint; else at once.

    Args:
        checkpoints: the cell's checkpoint folder.
        guard: refuses a checkpoint of weights that a bad loss has spoilt.
        every: steps between two looks where several ranks have to agree.
    """

    def __init__(self, checkpoints: Path, guard: LossGuard, every: int) -> None:
        self.checkpoints, self.guard, self.every = checkpoints, guard, every
        self.asked = False
        self.training = False
        self.listen()

    def listen(self) -> None:
        """Take the signals; Lightning takes them away when training starts."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def on_train_start(self, *_: Any) -> None:
        self.listen()
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
        if trainer.global_step % self.every:
            return False
        return bool(trainer.strategy.reduce_boolean_decision(self.asked, all=False))

    def _handle(self, *_: Any) -> None:
        first, self.asked = not self.asked, True
        if first and not self.training:
            raise Stopped
