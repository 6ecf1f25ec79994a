"""Randomness inside a network (dropped paths, gates) from the step, so that a resumed run draws the same."""

from typing import Any

import torch
from lightning import Callback, Trainer

from slackoff.seeding import derive_seed


class StepSeed(Callback):
    """Seeds torch's own generators before each step from the cell's seed, the step and the rank."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        seed = derive_seed(self.seed, "step", trainer.global_step, trainer.global_rank)
        if trainer.strategy.root_device.type == "cpu":
            # torch.manual_seed would also note it for GPUs that are not in use, with a stack trace at every step.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
