"""The plain way to train a deraining network: what one writes first, and what most public code does.

float32, NCHW, a torch DataLoader with worker processes, rain drawn for one image at a time with OpenCV in
``__getitem__``, a copy to the device, a loop. Written without tricks in either direction: the patches are in memory
already, which is kinder than reading PNG files.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

PLUS = np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]])


def draw_rain(noise: NDArray[np.float64], quantity: int, width: int, length: int, angle_deg: int) -> NDArray[np.uint8]:
    """The public Photoshop-recipe generator for one image.

    Args:
        noise: uniform in [0, 256), (H, W).
        quantity, width, length, angle_deg: as in ``slackoff.rain.RainParameters``.

    Returns:
        The rain layer, uint8, (H, W).
    """
    seeds = np.where(noise < 256 - quantity * 0.01, 0, noise)
    seeds = cv2.filter2D(seeds, -1, PLUS)
    rotation = cv2.getRotationMatrix2D((length / 2, length / 2), angle_deg - 45, 1 - length / 100.0)
    line = cv2.warpAffine(np.eye(length), rotation, (length, length))
    line = cv2.GaussianBlur(line, (width, width), 0)
    streaks = cv2.filter2D(seeds, -1, line)
    cv2.normalize(streaks, streaks, 0, 255, cv2.NORM_MINMAX)
    return streaks.astype(np.uint8)


class RainyPatches(Dataset[tuple[Tensor, Tensor]]):
    """(rainy, background) pairs, float32, (3, P, P), in [0, 1], with new rain at each use.

    Args:
        patches: backgrounds, uint8, (N, P, P, 3), RGB.
        rain: the four ranges of a ``conf/rain`` file.
    """

    def __init__(self, patches: NDArray[np.uint8], rain: dict[str, Any]) -> None:
        self.patches, self.rain = patches, rain
        cv2.setNumThreads(0)

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        background = self.patches[index]
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        noise = random.uniform(0, 256, background.shape[:2])
        quantity, length, angle_deg = (self._between(random, key) for key in ("quantity", "length", "angle_deg"))
        layer = draw_rain(noise, quantity, int(random.choice(self.rain["width"])), length, angle_deg)
        rainy = np.clip(background.astype(np.float32) + layer[:, :, None], 0, 255)
        return _to_tensor(rainy), _to_tensor(background)

    def _between(self, random: np.random.Generator, key: str) -> int:
        low, high = self.rain[key]
        return int(random.integers(low, high, endpoint=True))


def _to_tensor(image: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32) / 255.0)


def train(
    network: nn.Module,
    patches: NDArray[np.uint8],
    rain: dict[str, Any],
    batch_size: int,
    steps: int,
    learning_rate: float,
    before_step: Callable[[int], None],
    workers: int = 2,
) -> None:
    """Train with l1, Adam and one cosine period, logging nothing; ``before_step`` is told each step's number."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    data = RainyPatches(patches, rain)
    sampler = RandomSampler(data, replacement=True, num_samples=batch_size * steps)
    loader = iter(DataLoader(data, batch_size, sampler=sampler, num_workers=workers, pin_memory=device.type == "cuda"))
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-7)
    loss_function = nn.L1Loss()
    for step in range(steps):
        before_step(step)
        rainy, background = (images.to(device, non_blocking=True) for images in next(loader))
        optimizer.zero_grad()
        loss = loss_function(network(rainy), background)
        loss.backward()
        optimizer.step()
        schedule.step()
