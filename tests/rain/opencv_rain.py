"""The training generator once more, one image at a time with OpenCV in float64, written from its description alone."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from slackoff.rain import RainParameters

PLUS = np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]])


class Setting(NamedTuple):
    """Parameters of one rain layer, named as in Table 1."""

    quantity: int
    width: int
    length: int
    angle_deg: int


def as_parameters(settings: list[Setting]) -> RainParameters:
    return RainParameters(*torch.tensor(settings).unbind(1))


def as_settings(parameters: RainParameters) -> list[Setting]:
    return [Setting(*row) for row in torch.stack(list(parameters), 1).tolist()]


def line_kernel(setting: Setting, legacy_scale: bool = True) -> NDArray[np.float64]:
    """L x L: the rotated diagonal, blurred to a width."""
    length = setting.length
    scale = 1 - length / 100 if legacy_scale else 1.0
    rotation = cv2.getRotationMatrix2D((length / 2, length / 2), setting.angle_deg - 45, scale)
    line = cv2.warpAffine(np.eye(length), rotation, (length, length))
    return cv2.GaussianBlur(line, (setting.width, setting.width), 0)


def rain_layer(
    noise: NDArray[np.float32],
    setting: Setting,
    legacy_scale: bool = True,
    border: int = cv2.BORDER_REFLECT_101,
) -> NDArray[np.uint8]:
    """Noise in [0, 256) of shape (H, W) to a rain layer of the same shape, 0..255."""
    seeds = noise.astype(np.float64)
    seeds[seeds < 256 - 0.01 * setting.quantity] = 0
    drops = cv2.filter2D(seeds, -1, PLUS, borderType=border)
    streaks = cv2.filter2D(drops, -1, line_kernel(setting, legacy_scale), borderType=border)
    return cv2.normalize(streaks, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
