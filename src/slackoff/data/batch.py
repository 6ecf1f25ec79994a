"""What a training step is given."""

from typing import NamedTuple

from torch import Tensor


class RainyBatch(NamedTuple):
    """One training batch, float32 in [0, 1] on the training device.

    ``background`` B and ``rainy`` O: (N, 3, P, P); ``rain`` R: (N, 1, P, P). Synthesised, O = clip(B + R); of stored
    pairs, R is the largest channel of O - B. ``unlabelled``: rainy images without truth, (M, 3, P, P), where the
    training has some; M is a batch size of its own.
    """

    background: Tensor
    rain: Tensor
    rainy: Tensor
    unlabelled: Tensor | None = None
