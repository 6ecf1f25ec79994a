"""Errors of texture: L_t of MENET (Fan, Chen, Li, arXiv 2003.09689), as written and as coded.

Both compare the Gram matrix P P^T of an image's patches: P, (48, M), has the three channels of a 4 x 4 patch in each
column. Neither divides by the number of patches, so both are huge beside a pixel error and need weights that balance.

Both are differences of squares, A^2 - B^2, which float32 would lose to cancellation; (A - B)(A + B) keeps them.
"""

import torch.nn.functional as F
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.losses.term import Term

PATCH_SIDE = 4


def patches(images: Tensor) -> Tensor:
    """The 4 x 4 patches of images without overlap, as columns.

    Rows and columns beyond the largest multiple of 4 are left out, at the bottom and at the right.

    Args:
        images: (N, C, H, W), H and W at least 4.

    Returns:
        (N, 16 C, M), M = (H // 4)(W // 4); channel by channel, each row by row.
    """
    height, width = (side // PATCH_SIDE * PATCH_SIDE for side in images.shape[-2:])
    return F.pixel_unshuffle(images[..., :height, :width], PATCH_SIDE).flatten(2)


def gram_mean_error(output: Tensor, background: Tensor) -> Tensor:
    """Squared difference of the means of all entries of the Gram matrices, averaged over images: the authors' code.

    The mean of all entries is the sum of the squared sums of the patches, over 48^2: it sees the brightness of patches
    and nothing of their texture.

    Args:
        output, background: float32, (N, 3, H, W), H and W at least 4.

    Returns:
        A scalar, in the fourth power of the unit of the images.
    """
    found, wanted = patches(output), patches(background)
    difference, total = (found - wanted).sum(1), (found + wanted).sum(1)
    return ((difference * total).sum(1) / found.shape[1] ** 2).square().mean()


def gram_frobenius_error(output: Tensor, background: Tensor) -> Tensor:
    """Squared Frobenius norm of the difference of the Gram matrices, averaged over images: Eq. 7 of the paper.

    Args:
        output, background: float32, (N, 3, H, W), H and W at least 4.

    Returns:
        A scalar, in the fourth power of the unit of the images.
    """
    found, wanted = patches(output), patches(background)
    half = (found - wanted) @ (found + wanted).mT / 2
    return (half + half.mT).square().sum((1, 2)).mean()


KINDS = {"gram_mean": gram_mean_error, "gram_frobenius": gram_frobenius_error}


class Texture(Term):
    """Error of Gram matrices of 4 x 4 patches, in the fourth power of grey levels if ``scale`` is 255.

    Sides that are no multiple of 4 are cut to the largest one. Never train with it at weight 1: noise of one grey level
    on 224 x 224 px costs 1e6 and more. The error itself is always float32, but its gradient goes back in the precision
    of the output: in float16 it overflows unless the error is weighted down before.

    Args:
        kind: 'gram_mean' (``gram_mean_error``, the authors' code) or 'gram_frobenius' (``gram_frobenius_error``, the
            paper).
        scale: see ``Term``.

    Raises:
        SlackoffError: the kind is not known, or see ``Term``.
    """

    least_side = PATCH_SIDE

    def __init__(self, kind: str = "gram_mean", scale: float = 255.0) -> None:
        super().__init__(scale)
        if kind not in KINDS:
            raise SlackoffError(f"Texture: kind={kind} is not known: choose {' or '.join(KINDS)}")
        self.kind = kind

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return KINDS[self.kind](output, background)
