"""The rain kernels that RCDNet starts from: 32 streaks, each an anisotropic Gaussian with a flat centre."""

from typing import NamedTuple

import torch
from torch import Tensor

SIZE = 9  # px a side


class Streak(NamedTuple):
    """One kernel: flat to ``flat`` px off its centre, from there a Gaussian; vertical.

    ``deviation``: in px, along the columns' axis; ``stretch``: how many times longer it is along the rows' axis;
    ``total``: what its 81 values sum to.
    """

    flat: int
    deviation: float
    stretch: float
    total: float


# The authors drew deviation and total at random once and released the outcome, so no formula gives them.
STREAKS = (
    Streak(0, 0.127976, 2.75, 0.403410),
    Streak(0, 0.323571, 3.00, 0.380094),
    Streak(0, 0.166412, 3.25, 0.641784),
    Streak(0, 0.288520, 3.50, 0.720293),
    Streak(1, 0.237635, 3.75, 0.175439),
    Streak(0, 0.353334, 4.00, 0.237140),
    Streak(1, 0.259586, 4.25, 0.996521),
    Streak(0, 0.235670, 4.50, 0.195987),
    Streak(2, 0.126159, 4.75, 0.797419),
    Streak(1, 0.342174, 5.00, 0.175992),
    Streak(0, 0.189968, 5.25, 0.820062),
    Streak(0, 0.352662, 5.50, 0.263662),
    Streak(0, 0.161385, 5.75, 0.222462),
    Streak(1, 0.269926, 6.00, 0.594874),
    Streak(0, 0.338258, 6.25, 0.659850),
    Streak(0, 0.253312, 6.50, 0.461627),
    Streak(0, 0.369958, 6.25, 0.210987),
    Streak(0, 0.369976, 6.50, 0.475540),
    Streak(0, 0.701358, 6.75, 0.950308),
    Streak(1, 0.494626, 7.00, 0.403947),
    Streak(1, 0.434623, 7.25, 0.200082),
    Streak(1, 0.444869, 7.50, 0.317522),
    Streak(1, 0.298227, 7.75, 0.218776),
    Streak(2, 0.728067, 8.00, 0.617688),
    Streak(0, 0.367390, 8.25, 0.417843),
    Streak(1, 0.257702, 8.50, 0.138721),
    Streak(0, 0.574558, 8.75, 0.758550),
    Streak(1, 0.475462, 9.00, 0.592308),
    Streak(1, 0.622346, 9.25, 0.270060),
    Streak(1, 0.341756, 9.50, 0.431636),
    Streak(1, 0.640114, 9.75, 0.173013),
    Streak(1, 0.637856, 10.00, 0.538112),
)


def rain_kernels(maps: int = len(STREAKS)) -> Tensor:
    """The initial kernels: float32, (3, maps, 9, 9), equal for the three colours.

    They equal the file ``init_kernel.mat`` of RCDNet's release to the six digits of the table. Fewer than 32 are
    taken evenly from short to long streaks.

    Args:
        maps: 1 to 32.
    """
    spacing = (len(STREAKS) - 1) / max(maps - 1, 1)
    kernels = torch.stack([_kernel(STREAKS[round(spacing * index)]) for index in range(maps)])
    return kernels.float().expand(3, -1, -1, -1).clone()


def _kernel(streak: Streak) -> Tensor:
    offset = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    distance = (offset.abs() - streak.flat).clamp(min=0)
    across, along = distance[None, :], distance[:, None] / streak.stretch
    kernel = torch.exp(-(across**2 + along**2) / (2 * streak.deviation**2))
    return kernel * (streak.total / kernel.sum())
