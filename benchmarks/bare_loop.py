"""The same training as a cell's without Lightning, logging, checkpoints or guards: what the hardware can do."""

import numpy as np
import torch
from omegaconf import DictConfig

from slackoff.config import build
from slackoff.data import BatchStream


class BareLoop:
    """One cell's network, batch stream, optimiser and precision, and nothing else.

    Args:
        config: the cell's resolved config.
    """

    def __init__(self, config: DictConfig) -> None:
        bank = build.build_bank(config, build.build_backgrounds(config))
        data = build.build_data(config, bank)
        on_cpu = config.trainer.accelerator == "cpu" or not torch.cuda.is_available()
        self.device = torch.device("cpu" if on_cpu else "cuda")
        images = torch.from_numpy(np.array(bank)).permute(0, 3, 1, 2).contiguous()
        self.stream = BatchStream(images.to(self.device), **data.options)
        self.network = build.build_network(config).to(self.device)
        if config.trainer.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.half = config.trainer.precision != "32-true"
        task = config.task
        self.loss = torch.nn.L1Loss()
        self.optimizer = torch.optim.Adam(self.network.parameters(), task.learning_rate, tuple(task.betas))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, config.schedule.steps, eta_min=task.decay.minimum_learning_rate
        )

    def step(self, number: int) -> None:
        """Make batch ``number`` and train on it."""
        batch = self.stream.batch(number)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.loss(self.network(batch.rainy), batch.background)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
