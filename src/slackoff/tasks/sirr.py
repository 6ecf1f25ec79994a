"""SIRR: labelled pairs by their error, real photos by how likely what is taken out of them is as rain.

What real rain looks like is a mixture of Gaussians around 0 on what a network takes out of real photos (Wei, Meng,
Zhao, Xu and Wu, CVPR 2019). Values are scalars of all pixels and channels; images are in [0, 1].
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError
from slackoff.losses.term_losses import mean_over_ranks
from slackoff.losses.terms import absolute_variation, check_weights
from slackoff.tasks.task import Cosine, Steps, Task, with_parts

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


class SIRRTask(Task):
    """Semi-supervised transfer of a network from synthetic to real rain (Wei et al., CVPR 2019), for any network.

    Each step restores the labelled and the unlabelled images of a batch, fits a mixture of Gaussians around 0 to the
    residues of the unlabelled ones (one EM step, from where the last training step left it), and minimises

        mean squared error of the labelled images
        + mixture_weight * mean over residues e of sum_k share_k e^2 / (2 variance_k)
        + tv_weight * absolute variation of the restored unlabelled images

    The authors add the divergence between synthetic rain and the nearest Gaussian, times 1e-9. It depends on data
    alone and moves no weight: here it is logged as ``divergence``.

    Differs from their code: the mixture sees residues from the first step on (there, the photos themselves during the
    first epoch), and starts from fixed variances (there, from random ones).

    Args:
        network: any; the authors' is ``network=sirr``.
        components: Gaussians of the mixture.
        mixture_weight: of the mixture's loss.
        tv_weight: of the total variation, which is a sum over the pixels of a patch: it is for patches of 64 pixels.
        shared_norm: False gives the unlabelled images biases, scales and shifts of their own, as in the released
            weights (a side effect of names there); kernels are always shared. What is measured is the labelled set.
        steps, learning_rate, betas, decay: see ``Task``.

    Raises:
        SlackoffError: a setting that cannot be.
    """

    uses_unlabelled = True
    preset = "sirr"

    mixture_weights: Tensor
    mixture_variances: Tensor

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        components: int = 3,
        mixture_weight: float = 0.5,
        tv_weight: float = 1e-5,
        shared_norm: bool = True,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        decay: Cosine | Steps | None = None,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay)
        if components < 1:
            raise SlackoffError(f"task.components={components} must be at least 1")
        check_weights("task", mixture_weight=mixture_weight, tv_weight=tv_weight)
        self.mixture_weight = mixture_weight
        self.tv_weight = tv_weight
        self.register_buffer("mixture_weights", torch.full((components,), 1 / components))
        self.register_buffer("mixture_variances", torch.logspace(-4, -2, components))
        own = {} if shared_norm else {name: p for name, p in network.named_parameters() if p.dim() <= 1}
        self._own_names = list(own)
        self.own = nn.ParameterList([nn.Parameter(parameter.detach().clone()) for parameter in own.values()])

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The network's, and those that the unlabelled images have for themselves."""
        yield from self.network.parameters()
        yield from self.own

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss``, its parts ``labelled``, ``mixture`` and ``total_variation``, and ``divergence``.

        Raises:
            SlackoffError: there are no unlabelled images.
        """
        photos = self.photos(batch)
        labelled = F.mse_loss(self.network(batch.rainy).float(), batch.background)
        own = dict(zip(self._own_names, self.own, strict=True))
        restored = functional_call(self.network, own, (photos,)).float()
        residues = (photos - restored).flatten()
        mixture, shares = self._follow(residues.detach())
        unlikely = mixture_loss(residues, shares, mixture)
        variation = absolute_variation(restored)
        loss = labelled + self.mixture_weight * unlikely + self.tv_weight * variation
        divergence = least_divergence(batch.rainy - batch.background, mixture)
        parts = {"labelled": labelled, "mixture": unlikely, "total_variation": variation, "divergence": divergence}
        return with_parts(loss, parts)

    @torch.no_grad()
    def _follow(self, residues: Tensor) -> tuple[Mixture, Tensor]:
        """One EM step on the residues at hand, and to whom they belong after it."""
        before = Mixture(self.mixture_weights, self.mixture_variances)
        mixture = maximised(residues, responsibilities(residues, before))
        if self.training:
            self.mixture_weights.copy_(mixture.weights)
            self.mixture_variances.copy_(mixture.variances)
        return mixture, responsibilities(residues, mixture)
