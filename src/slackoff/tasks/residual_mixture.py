"""What real rain looks like to SIRR: a mixture of Gaussians around 0 on what a network takes out of real photos.

Wei, Meng, Zhao, Xu and Wu, CVPR 2019. Values are scalars of all pixels and channels; images are in [0, 1].
"""

from typing import NamedTuple

from torch import Tensor

from slackoff.weighting.ranks import mean_over_ranks

VARIANCE_FLOOR = 1e-6
"""Added to every variance, so that none is 0."""

LEAST_COUNT = 1e-12
"""Added to the part of all values that belongs to a Gaussian, so that one without any has no 0 / 0."""


class Mixture(NamedTuple):
    """K Gaussians around 0: float32, (K,) each; the weights add up to 1."""

    weights: Tensor
    variances: Tensor


def responsibilities(residues: Tensor, mixture: Mixture) -> Tensor:
    """The E step: which part of each value belongs to which Gaussian.

    Args:
        residues: float32, (n,).
        mixture: of K Gaussians.

    Returns:
        (n, K); each row adds up to 1.
    """
    logs = mixture.weights.log() - mixture.variances.log() / 2 - residues.square()[:, None] / (2 * mixture.variances)
    return logs.softmax(dim=1)


def maximised(residues: Tensor, shares: Tensor) -> Mixture:
    """The M step with the means kept at 0: the mixture that fits the values best, given to whom they belong.

    Several ranks that hold equal numbers of values get the mixture of all of them.

    Args:
        residues: float32, (n,).
        shares: (n, K), from ``responsibilities``.
    """
    counts = mean_over_ranks(shares.mean(dim=0)) + LEAST_COUNT
    squares = mean_over_ranks((shares * residues.square()[:, None]).mean(dim=0))
    return Mixture(counts / counts.sum(), squares / counts + VARIANCE_FLOOR)


def mixture_loss(residues: Tensor, shares: Tensor, mixture: Mixture) -> Tensor:
    """Mean over the values of sum_k share_k e^2 / (2 variance_k): what of -log p(e) depends on e, with shares fixed."""
    return (shares * residues.square()[:, None] / (2 * mixture.variances)).sum(dim=1).mean()


def least_divergence(rain: Tensor, mixture: Mixture) -> Tensor:
    """How unlike the synthetic rain is: the KL divergence of one Gaussian fitted to it from the nearest of the mixture.

    Args:
        rain: rainy less background of labelled images, of any shape.
        mixture: of K Gaussians.

    Returns:
        A scalar in nats.
    """
    mean, variance = rain.mean(), rain.var(correction=0) + VARIANCE_FLOOR
    ratio = (variance + mean.square()) / mixture.variances
    return ((ratio - 1 - (variance / mixture.variances).log()) / 2).min()
