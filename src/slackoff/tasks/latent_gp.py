"""Pseudo-labels of Syn2Real: what a Gaussian process over labelled latents expects an unlabelled one to be.

Yasarla, Sindagi and Patel, CVPR 2020. A latent is a vector of d values, in float32 or float64; leading dimensions are
batches. The process takes latents for inputs and for outputs: all d outputs have one kernel, and so one variance.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_LENGTH = 1e-6
"""Of a length scale: all neighbours may be equal."""

QUADRATIC_SHAPE = 0.5
"""The alpha of the rational quadratic kernel."""

LOG_WEIGHT = 0.33
"""Of the variance's logarithm in the loss."""

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of latents (..., a, d) and (..., b, d) with a length scale (..., 1, 1): (..., a, b)."""


def linear(first: Tensor, second: Tensor, length: Tensor) -> Tensor:
    """The cosine of the angle between latents; there is no length scale in it."""
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).mT


def squared_exponential(first: Tensor, second: Tensor, length: Tensor) -> Tensor:
    """exp(-r^2 / (2 length^2)), r the Euclidean distance."""
    return torch.exp(-_square_distances(first, second) / (2 * length.square()))


def rational_quadratic(first: Tensor, second: Tensor, length: Tensor) -> Tensor:
    """(1 + r^2 / (2 alpha length^2))^-alpha with alpha = 0.5, r the Euclidean distance."""
    return (1 + _square_distances(first, second) / (2 * QUADRATIC_SHAPE * length.square())) ** -QUADRATIC_SHAPE


KERNELS: dict[str, Kernel] = {
    "linear": linear,
    "squared_exponential": squared_exponential,
    "rational_quadratic": rational_quadratic,
}


class Posterior(NamedTuple):
    """Mean (..., d) and variance (...) of what is expected, the noise included."""

    mean: Tensor
    variance: Tensor


def length_scale(neighbours: Tensor) -> Tensor:
    """The largest standard deviation of any value among latents (..., m, d): (..., 1, 1), divided by m, not m - 1.

    In thousands of dimensions distances are far larger than that: the two kernels that know a length are then almost 0
    between different latents, and expect almost nothing. It is the authors' choice.
    """
    return neighbours.std(dim=-2, keepdim=True, correction=0).amax(dim=-1, keepdim=True).clamp(min=LEAST_LENGTH)


def posterior(latent: Tensor, neighbours: Tensor, kernel: Kernel, noise: float) -> Posterior:
    """What the process expects at a latent, given neighbours that are what they are up to noise.

    Differentiable in ``latent``; neighbours are taken for constants.

    Args:
        latent: (..., d).
        neighbours: (..., m, d), m at least 1.
        kernel: one of ``KERNELS``.
        noise: variance, above 0: of the neighbours and of what is expected.

    Where rounding leaves no positive definite matrix the result is NaN, and so the loss: ``torch.linalg.cholesky``
    would raise, and wait for the device to know whether to.
    """
    neighbours = neighbours.detach()
    query, length = latent[..., None, :], length_scale(neighbours)
    among = kernel(neighbours, neighbours, length)
    noisy = among + noise * torch.eye(among.shape[-1], dtype=among.dtype, device=among.device)
    across = kernel(query, neighbours, length)
    factor, failed = torch.linalg.cholesky_ex(noisy)
    factor = factor.masked_fill(failed[..., None, None] != 0, torch.nan)
    weights = torch.cholesky_solve(across.mT, factor).mT
    left = kernel(query, query, length) - weights @ across.mT
    return Posterior((weights @ neighbours)[..., 0, :], left[..., 0, 0] + noise)


def latent_loss(latent: Tensor, expected: Posterior) -> Tensor:
    """mean((latent - mean)^2) / variance + 0.33 log(variance) of each latent (..., d): (...). May be below 0."""
    error = (latent - expected.mean).square().mean(dim=-1)
    return error / expected.variance + LOG_WEIGHT * expected.variance.log()


@torch.no_grad()
def nearest(latents: Tensor, bank: Tensor, count: int) -> Tensor:
    """Which latents of a bank are nearest to each latent, by Euclidean distance, the nearest first.

    Args:
        latents: (n, d).
        bank: (B, d).
        count: how many; all, where the bank holds fewer.

    Returns:
        int64, (n, min(count, B)): numbers in the bank.
    """
    distances = torch.cdist(latents, bank, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.topk(min(count, len(bank)), largest=False).indices


def _square_distances(first: Tensor, second: Tensor) -> Tensor:
    """From differences: |a|^2 + |b|^2 - 2 a b has no digits left for latents that are near each other.

    One latent of the second after the other, so that memory holds (..., a, d) and not (..., a, b, d).
    """
    return torch.stack([(first - other[..., None, :]).square().sum(-1) for other in second.unbind(-2)], dim=-1)
