"""What the tests measure on rain layers; layers are (H, W) in grey levels."""

import cv2
import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0, 5, 10, 20, 50)


def coverage(layer: NDArray) -> list[float]:
    """Share of pixels above each of ``THRESHOLDS``."""
    return [float((layer > threshold).mean()) for threshold in THRESHOLDS]


def rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def direction(layer: NDArray) -> tuple[float, float]:
    """Angle of the streaks from the structure tensor, and how coherent it is (1 = one direction only, 0 = none).

    The angle is in degrees from vertical, positive where streaks run from upper left to lower right.
    """
    smooth = cv2.GaussianBlur(layer.astype(np.float64), (0, 0), 1.0)
    along_y, along_x = np.gradient(smooth)
    xx, yy, xy = (along_x**2).mean(), (along_y**2).mean(), (along_x * along_y).mean()
    # The gradient stands across the streaks: at this angle from the x axis, y pointing down.
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    return float(np.degrees(-across)), float(np.hypot(xx - yy, 2 * xy) / (xx + yy))
