"""Supervised training, and what it shares with the other regimes: network, optimiser, learning rate, losses of a step.

Randomness inside a network (dropped paths, gates) comes from the step, so that a resumed run draws the same.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR

from slackoff.data import RainyBatch
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError


@dataclass(frozen=True)
class Cosine:
    """One cosine period over the run, without warm-up.

    Args:
        minimum_learning_rate: at the last step.
    """

    minimum_learning_rate: float = 1e-7

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        return CosineAnnealingLR(optimizer, steps, eta_min=self.minimum_learning_rate)


@dataclass(frozen=True)
class Steps:
    """The rate is multiplied by a factor at given parts of the run.

    Args:
        at: parts of the run, between 0 and 1: 0.25 is a quarter of its steps.
        factor: what the rate is multiplied by at each of them; or a list with a factor for each.

    Raises:
        SlackoffError: a part that is not between 0 and 1, or another number of factors than of parts.
    """

    at: Sequence[float]
    factor: float | Sequence[float]

    def __post_init__(self) -> None:
        for part in self.at:
            if not 0 < part < 1:
                raise SlackoffError(f"task.decay.at={list(self.at)} must hold parts of the run, between 0 and 1")
        if isinstance(self.factor, Sequence) and len(self.factor) != len(self.at):
            raise SlackoffError(
                f"task.decay.factor has {len(self.factor)} factors for the {len(self.at)} parts of task.decay.at: give "
                "one a part, or one number for all"
            )

    def schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        starts = [round(part * steps) for part in self.at]
        if not isinstance(self.factor, Sequence):
            return MultiStepLR(optimizer, starts, self.factor)
        pairs = list(zip(starts, self.factor, strict=True))
        return LambdaLR(optimizer, lambda step: prod(factor for start, factor in pairs if step >= start))


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, without weight decay.

    Args:
        momentum: share of the last step's direction that is kept, from 0 to below 1.

    Raises:
        SlackoffError: the momentum is out of its range.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise SlackoffError(f"task.optimizer.momentum={self.momentum} must be at least 0 and below 1")

    def optimizer(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, learning_rate, self.momentum)


class WarmUp:
    """A schedule whose rates rise in a line over the first steps: step k of w has (k + 1) / w of what it would have.

    Args:
        schedule: of the rates without it.
        steps: w, from 1 up.
    """

    def __init__(self, schedule: LRScheduler, steps: int) -> None:
        self.schedule, self.steps, self.optimizer = schedule, steps, schedule.optimizer
        self._raise()

    def step(self, epoch: int | None = None) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate  # schedules reckon from the rate before
        self.schedule.step()
        self._raise()

    def _raise(self) -> None:
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        part = min(1.0, (self.schedule.last_epoch + 1) / self.steps)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * part

    def state_dict(self) -> dict[str, Any]:
        return {"schedule": self.schedule.state_dict(), "rates": self.rates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state["schedule"])
        self.rates = state["rates"]


Buffers = Literal["copy", "average", "keep"]


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, buffers: Buffers = "copy") -> None:
    """Move an average of a network's weights: average = decay * average + (1 - decay) * network.

    Args:
        average, network: two networks of the same kind.
        decay: of the moving average over all parameters, in [0, 1]: 0 copies the network, 1 leaves the average as it
            is. Parameters that no gradient reaches, such as a memory, count too.
        buffers: what becomes of the average's buffers (running statistics of norms): 'copy' takes the network's,
            'average' treats floating-point ones as parameters and copies the rest, 'keep' leaves them as they are, as
            the code of MOSS does, whose teacher then normalises by statistics of before.
    """
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1.0 - decay)
    if buffers == "keep":
        return
    for own, other in zip(average.buffers(), network.buffers(), strict=True):
        if buffers == "average" and own.is_floating_point():
            own.lerp_(other, 1.0 - decay)
        else:
            own.copy_(other)


class Task(LightningModule):
    """A network and how it is trained.

    What is the same for every regime is set from outside, before training: ``warmup_steps`` of the learning rate,
    ``clips`` (whether gradients are clipped) and, by ``keep_average``, a moving average of the network's weights.

    Args:
        network: rainy image to background, both (N, 3, H, W) in [0, 1].
        steps: of the whole run, over which the learning rate falls.
        learning_rate: at the first step.
        betas: of Adam.
        decay: how the learning rate falls; None is one cosine period (to 1e-7, as in BasicSR's option files; the paper
            names no end).
        optimizer: in the place of Adam; None is Adam.
    """

    uses_unlabelled: ClassVar[bool] = False
    """Whether the regime can learn from ``RainyBatch.unlabelled``."""

    preset: ClassVar[str]
    """The config that makes it, for messages."""

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: Cosine | Steps | None = None,
        optimizer: SGD | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.steps = steps
        self.learning_rate = learning_rate
        self.betas = betas
        self.decay = decay or Cosine()
        self.optimizer = optimizer
        self.warmup_steps = 0
        self.clips = False
        self.average: nn.Module | None = None
        self.ema_decay = 0.0

    def keep_average(self, decay: float) -> None:
        """Let a copy of the network follow it from step to step, see ``follow``: its buffers are the network's.

        Args:
            decay: of the moving average, from 0 to below 1.
        """
        self.average, self.ema_decay = copy.deepcopy(self.network).requires_grad_(False), decay

    @abstractmethod
    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """The scalars of a step: ``loss``, which is minimised, and others to look at."""

    def photos(self, batch: RainyBatch, otherwise: str = "") -> Tensor:
        """The unlabelled images of a batch; ``otherwise``: what to do where there are none and none shall be given.

        Raises:
            SlackoffError: there are none.
        """
        if batch.unlabelled is None:
            raise SlackoffError(
                f"task={self.preset} has no unlabelled images: name a folder of rainy photos with unlabelled=folder "
                f"unlabelled.root=PATH{otherwise}"
            )
        return batch.unlabelled

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser moves."""
        return self.network.parameters()

    @property
    def teachers(self) -> dict[str, nn.Module]:
        """Further networks to measure at the present step, by name."""
        return {} if self.average is None else {"ema": self.average}

    def forward(self, rainy: Tensor) -> Tensor:
        """Restore rainy images: float, (N, 3, H, W), in [0, 1], to the same."""
        return self.network(rainy)

    def training_step(self, batch: RainyBatch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, which is minimised; every scalar returned here is logged as ``train/<name>``."""
        return self.losses(batch, self.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if not any(True for _ in self.trained_parameters()):
            return None  # a method that is only measured
        if self.optimizer is not None:
            optimizer = self.optimizer.optimizer(self.trained_parameters(), self.learning_rate)
        else:
            betas = (self.betas[0], self.betas[1])
            # A fused Adam takes the scale of float16's gradients out itself: too late for clipping.
            optimizer = torch.optim.Adam(
                self.trained_parameters(), self.learning_rate, betas=betas, fused=not self.clips
            )
        schedule: LRScheduler | WarmUp = self.decay.schedule(optimizer, self.steps)
        if self.warmup_steps:
            schedule = WarmUp(schedule, self.warmup_steps)  # type: ignore[arg-type]
        return {  # type: ignore[return-value]
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """One step of the schedule; here, because Lightning asks for it where that is none of PyTorch's classes."""
        scheduler.step()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The optimiser's step, and at once that of the average, so that a checkpoint never lies between the two."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            follow(self.average, self.network, self.ema_decay)


def with_parts(loss: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a step returns: the loss to minimise, and its parts, detached, to look at."""
    return {"loss": loss} | {name: value.detach() for name, value in parts.items()}


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


class SupervisedTask(Task):
    """One network, one loss, Adam: by default the recipe of "Networks are Slacking Off" (l1, one cosine period).

    Args:
        loss: of (network, rainy, background); a scalar. See ``slackoff.losses``.
        network, steps, learning_rate, betas, decay, optimizer: see ``Task``.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        steps: int,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        decay: Cosine | Steps | None = None,
        optimizer: SGD | None = None,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay, optimizer)
        self.loss = loss

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss`` of a batch; the step does not matter."""
        return {"loss": self.loss(self.network, batch.rainy, batch.background)}
