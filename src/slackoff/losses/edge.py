"""Errors of edges: L_e of MENET (Fan, Chen, Li, arXiv 2003.09689)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.losses.term import Term

NORMALISERS = ("mean", "chw")


def sobel(images: Tensor) -> Tensor:
    """Sobel features of every channel: cross-correlations without a factor of 1/8, the border mirrored.

    By slices and not by a convolution, which may run in TensorFloat-32.

    Args:
        images: float, (N, C, H, W), H and W at least 2.

    Returns:
        (2, N, C, H, W): with [[-1, -2, -1], [0, 0, 0], [1, 2, 1]] (down the image), and with its transpose (across).
    """
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    down = padded[..., 2:, :] - padded[..., :-2, :]
    across = padded[..., 2:] - padded[..., :-2]
    return torch.stack(
        (
            down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:],
            across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :],
        )
    )


def edge_error(output: Tensor, background: Tensor, normaliser: str = "mean") -> Tensor:
    """Squared differences of Sobel features.

    Args:
        output, background: float, (N, C, H, W), H and W at least 2.
        normaliser: 'mean' over images, pixels, channels and both directions, as in the authors' code; 'chw' adds up
            the directions, as in the paper, which divides by CHW alone: twice as large.

    Returns:
        A scalar, in the squared unit of the images.
    """
    # Sobel is linear: the features of the difference are the difference of the features.
    mean = sobel(output - background).square().mean()
    return mean if normaliser == "mean" else 2 * mean


class EdgeAware(Term):
    """Mean squared error of Sobel features, see ``edge_error``; in squared grey levels if ``scale`` is 255.

    Args:
        normaliser: 'mean' (the authors' code) or 'chw' (the paper, twice as large).
        scale: see ``Term``.

    Raises:
        SlackoffError: the normaliser is not known, or see ``Term``.
    """

    least_side = 2

    def __init__(self, normaliser: str = "mean", scale: float = 255.0) -> None:
        super().__init__(scale)
        if normaliser not in NORMALISERS:
            raise SlackoffError(f"EdgeAware: normaliser={normaliser} is not known: choose {' or '.join(NORMALISERS)}")
        self.normaliser = normaliser

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return edge_error(output, background, self.normaliser)
