"""Rain of one image on the background of another: the augmentation of MOSS (Huang, Yu, He, CVPR 2021, Eq. 9)."""

from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Mixed(NamedTuple):
    """Images with other images' rain, and what they are to be restored to; (N, 3, H, W) each, in [0, 1]."""

    rainy: Tensor
    target: Tensor


def mix_residues(
    labelled: Tensor,
    background: Tensor,
    labelled_residue: Tensor,
    unlabelled: Tensor,
    pseudo_label: Tensor,
    strength: tuple[float, float] = (0.5, 1.1),
    generator: Generator | None = None,
) -> Mixed:
    """Put residues (rainy image less clean image) of labelled and unlabelled images onto all of both.

    Each of the 2 L + 2 U images unlabelled, pseudo-label, labelled, background gets one residue of a shuffled list that
    holds each labelled and each unlabelled residue twice, times a strength of its own, and is cut to [0, 1]. An image
    that was rainy before keeps its own clean target. The list is as long as there are images whatever L and U are: the
    authors' code mixes only where L = U and silently trains on the unlabelled images as they are elsewhere.

    Args:
        labelled, background: rainy and clean, (L, 3, H, W), in [0, 1].
        labelled_residue: (L, 3, H, W), in [-1, 1].
        unlabelled, pseudo_label: rainy and what a teacher made of it, (U, 3, H, W), in [0, 1].
        strength: what residues are multiplied by, uniform between the two.
        generator: of the shuffling and the strengths; None is torch's own.
    """
    images = torch.cat([unlabelled, pseudo_label, labelled, background])
    target = torch.cat([pseudo_label, pseudo_label, background, background])
    unlabelled_residue = unlabelled - pseudo_label
    residues = torch.cat([labelled_residue, labelled_residue, unlabelled_residue, unlabelled_residue])
    order = torch.randperm(len(residues), generator=generator, device=images.device)
    low, high = strength
    scale = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return Mixed((images + scale * residues[order]).clamp(0.0, 1.0), target)
