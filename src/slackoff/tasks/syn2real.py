"""Syn2Real: labelled pairs by their error, real photos by how their latents lie among those of labelled images.

A Gaussian process over labelled latents gives pseudo-labels: what it expects an unlabelled one to be (Yasarla,
Sindagi and Patel, CVPR 2020). A latent is a vector of d values, in float32 or float64; leading dimensions are
batches. The process takes latents for inputs and for outputs: all d outputs have one kernel, and so one variance.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError, check_choices
from slackoff.losses.term_losses import of_all_ranks
from slackoff.losses.terms import check_weights
from slackoff.networks import LatentNetwork
from slackoff.networks.layers import full_precision
from slackoff.tasks.task import Cosine, Steps, Task, with_parts

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


class Syn2RealTask(Task):
    """Semi-supervised transfer to real rain by Gaussian processes (Yasarla et al., CVPR 2020), for latent networks.

    Each step restores the labelled images of a batch, adds their latents to a bank of the latest ones, and minimises

        smooth L1 error of the labelled images + term_weight * each of the terms
        + gp_weight * mean over the unlabelled images of mean((u - mu)^2) / variance + 0.33 log(variance)

    where u is the latent of an unlabelled image, and mu and variance are what a Gaussian process over the labelled
    latents nearest to u expects there (``slackoff.tasks.syn2real``). Gradients reach the network through u alone.

    Differs from the authors' code: there the latents of all training crops are computed anew, in evaluation mode,
    before each pass over the unlabelled images, and both kinds have steps of their own; here latents are those that
    training came by, up to ``bank_size`` images ago, and one step has both. The journal's form, a process for each
    feature map, and the conference's term with the farthest latents (times 3.3e-7) are left out.

    The bank is part of checkpoints. Several ranks have one bank, of all their latents.

    Args:
        network: any that gives a latent, such as ``network=syn2real``.
        kernel: "linear" (the cosine), "squared_exponential" or "rational_quadratic".
        neighbours: labelled latents in a process, or as many as there are in the first steps. 16 and a noise of 0.01
            are those of the authors' later code; its first has 8 and 1, the paper is said to have 64 neighbours.
        noise: variance of the process' noise.
        bank_size: latents that are kept, at least as many as neighbours.
        gp_weight: of the unlabelled images; 0 trains on the labelled ones alone ("Syn").
        term_weight: of each of the terms.
        terms: further errors of the restored labelled images by name. The authors' is
            ``slackoff.losses.VGG16Features``, which needs a file of weights and is left out by default.
        steps, learning_rate, betas, decay: see ``Task``.

    Raises:
        SlackoffError: a network without a latent, or a setting that cannot be.
    """

    uses_unlabelled = True
    preset = "syn2real"

    network: LatentNetwork
    bank: Tensor

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        kernel: Literal["linear", "squared_exponential", "rational_quadratic"] = "linear",
        neighbours: int = 16,
        noise: float = 0.01,
        bank_size: int = 128,
        gp_weight: float = 0.0015,
        term_weight: float = 0.04,
        terms: Mapping[str, nn.Module] | None = None,
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        decay: Cosine | Steps | None = None,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay)
        check_choices(Syn2RealTask, kernel=kernel)
        if not isinstance(network, LatentNetwork):
            raise SlackoffError(
                f"task=syn2real compares latents, and {type(network).__name__} gives none: choose network=syn2real or "
                "syn2real_small"
            )
        if not 1 <= neighbours <= bank_size:
            raise SlackoffError(
                f"task.neighbours={neighbours} must be at least 1 and at most task.bank_size={bank_size}"
            )
        if not isfinite(noise) or noise <= 0:
            raise SlackoffError(f"task.noise={noise} must be a finite variance above 0")
        check_weights("task", gp_weight=gp_weight, term_weight=term_weight)
        self.kernel = KERNELS[kernel]
        self.neighbours = neighbours
        self.noise = noise
        self.bank_size = bank_size
        self.gp_weight = gp_weight
        self.term_weight = term_weight
        self.terms = nn.ModuleDict(dict(terms or {}))
        self.register_buffer("bank", torch.empty(0, 0))

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss`` and its parts: ``labelled``, each term, and ``gaussian_process`` unless its weight is 0.

        Raises:
            SlackoffError: there are no unlabelled images, and the weight of what they are for is not 0.
        """
        image, latent = self.network.restored(batch.rainy)
        labelled = F.smooth_l1_loss(image.float(), batch.background)
        errors = {name: term(image, batch.background) for name, term in self.terms.items()}
        loss = labelled + self.term_weight * sum(errors.values())
        parts = {"labelled": labelled} | errors
        if self.gp_weight:
            photos = self.photos(batch, ", or set task.gp_weight=0")
            unlikely = self._unlikely(self.network.latent(photos), self._banked(latent))
            loss = loss + self.gp_weight * unlikely
            parts["gaussian_process"] = unlikely
        return with_parts(loss, parts)

    def _unlikely(self, latent: Tensor, bank: Tensor) -> Tensor:
        """The mean loss of the latents (n, C, h, w) of unlabelled images among those of the bank (B, d)."""
        with full_precision(latent):
            flat = latent.flatten(1).float()
            around = bank[nearest(flat, bank, self.neighbours)]
            return latent_loss(flat, posterior(flat, around, self.kernel, self.noise)).mean()

    @torch.no_grad()
    def _banked(self, latent: Tensor) -> Tensor:
        """The bank with the latents of this step, the oldest ones gone; kept if this is training."""
        new = of_all_ranks(latent.flatten(1).float())[-self.bank_size :]
        kept = self.bank_size - len(new)
        bank = torch.cat([self.bank[-kept:], new]) if len(self.bank) and kept else new
        if self.training:
            self.bank = bank
        return bank

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make room: how many latents a bank holds, and how long they are, only training tells."""
        self.bank = torch.empty_like(checkpoint["state_dict"]["bank"], device=self.bank.device)
