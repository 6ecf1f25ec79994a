"""Feeds streams of batches to Lightning: the loader yields step numbers, batches are made on the device."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray

from slackoff.data.streams import BatchStream, PairImages, PairStream, RainyBatch, UnlabelledStream, free_memory
from slackoff.errors import SlackoffError, check_choices
from slackoff.images import Pair, TrainingCrops, crops_per_image
from slackoff.rain import RainRange

OpenUnlabelled = Callable[[torch.device], UnlabelledStream]


class Stream(Protocol):
    """Random access to the labelled batches."""

    batch_size: int

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> RainyBatch:
        """Make the batch of a step, or one rank's share of it."""


class _StreamData(LightningDataModule):
    """What all kinds of training data share.

    ``notes``: sentences that a person should read.

    Args:
        unlabelled: opens the stream of unlabelled images on a device; None where there are none.
    """

    def __init__(self, unlabelled: OpenUnlabelled | None) -> None:
        super().__init__()
        self.open_unlabelled = unlabelled
        self.notes: list[str] = []
        self.stream: Stream | None = None
        self.unlabelled: UnlabelledStream | None = None
        self.options: dict[str, Any] = {}

    @property
    @abstractmethod
    def labelled_images(self) -> int:
        """Images with a known background; a pass over as many is an epoch."""

    @property
    def batch_size(self) -> int:
        """Labelled images of the global batch."""
        return int(self.options["batch_size"])

    @abstractmethod
    def open_stream(self, device: torch.device) -> Stream:
        """The labelled batches, made on a device."""

    def setup(self, stage: str) -> None:
        """Move all images to the training device.

        Raises:
            SlackoffError: a batch size cannot be shared equally between the ranks, or an image cannot be read.
        """
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        self.stream = self.open_stream(device)
        self._refuse_unequal_shares(self.stream.batch_size, "schedule.batch_size")
        if self.open_unlabelled is not None:
            self.unlabelled = self.open_unlabelled(device)
            self._refuse_unequal_shares(self.unlabelled.batch_size, "unlabelled.batch_size")

    def train_dataloader(self) -> "StepNumbers":
        return StepNumbers(self)

    def on_after_batch_transfer(self, batch: int, dataloader_idx: int) -> RainyBatch:
        assert self.trainer is not None
        assert self.stream is not None
        rank = (self.trainer.global_rank, self.trainer.world_size)
        labelled = self.stream.batch(batch, *rank)
        return labelled._replace(unlabelled=self.unlabelled.batch(batch, *rank)) if self.unlabelled else labelled

    def _refuse_unequal_shares(self, batch_size: int, key: str) -> None:
        assert self.trainer is not None
        ranks = self.trainer.world_size
        if batch_size % ranks:
            raise SlackoffError(f"{key}={batch_size} cannot be shared by {ranks} ranks: choose a multiple of {ranks}")


class RainyData(_StreamData):
    """Rain laid over a bank of backgrounds.

    Args:
        bank: the backgrounds, uint8, (N, P, P, 3), on the host (may be a read-only memory map).
        rain_range, batch_size, seed, fixed_rain_per_patch, channels_last: as in ``BatchStream``.
        unlabelled: opens the stream of unlabelled images on a device; None where there are none.
    """

    def __init__(
        self,
        bank: NDArray[np.uint8],
        rain_range: RainRange,
        batch_size: int,
        seed: int,
        fixed_rain_per_patch: bool = False,
        channels_last: bool = True,
        unlabelled: OpenUnlabelled | None = None,
    ) -> None:
        super().__init__(unlabelled)
        self.bank = bank
        self.options = {
            "rain_range": rain_range,
            "batch_size": batch_size,
            "seed": seed,
            "fixed_rain_per_patch": fixed_rain_per_patch,
            "channels_last": channels_last,
        }

    @property
    def labelled_images(self) -> int:
        return len(self.bank)

    def open_stream(self, device: torch.device) -> BatchStream:
        bank = torch.from_numpy(np.array(self.bank)).permute(0, 3, 1, 2).contiguous()
        return BatchStream(bank.to(device), **self.options)


class PairData(_StreamData):
    """Crops of stored (rainy, clean) pairs.

    Args:
        pairs: the files.
        patch_size_px, batch_size, seed, mirror, channels_last, crops: as in ``PairStream``.
        unlabelled: opens the stream of unlabelled images on a device; None where there are none.
        notes: sentences on the choice of pairs, for the cell's status.
        cache: a folder for the file of a set that does not fit into memory; None keeps all pairs in memory.
        memory_gb: what the pairs may take of it; None is half of what is free.
    """

    def __init__(
        self,
        pairs: list[Pair],
        patch_size_px: int,
        batch_size: int,
        seed: int,
        mirror: bool = True,
        channels_last: bool = True,
        unlabelled: OpenUnlabelled | None = None,
        crops: TrainingCrops = "random",
        notes: Sequence[str] = (),
        cache: Path | None = None,
        memory_gb: float | None = None,
    ) -> None:
        super().__init__(unlabelled)
        self.cache, self.memory_gb = cache, memory_gb
        check_choices(PairData, crops=crops)
        self.notes = list(notes)
        self.pairs = pairs
        self.options = {
            "patch_size_px": patch_size_px,
            "batch_size": batch_size,
            "seed": seed,
            "mirror": mirror,
            "channels_last": channels_last,
            "crops": crops,
        }

    @property
    def labelled_images(self) -> int:
        return len(self.pairs) * crops_per_image(self.options["crops"], self.options["mirror"])

    def open_stream(self, device: torch.device) -> PairStream:
        memory = free_memory(device) / 2 if self.memory_gb is None else self.memory_gb * 1e9
        return PairStream(PairImages(self.pairs, self.cache, memory).to(device), **self.options)


class StepNumbers:
    """The endless run of step numbers from the step that training stands at, also after a resume."""

    def __init__(self, data: _StreamData) -> None:
        self.data = data

    def __iter__(self) -> Iterator[int]:
        assert self.data.trainer is not None
        return count(self.data.trainer.global_step)
