"""Loss terms of multi-task training, called as ``term(output, background)``: pixels, edges, texture, total variation.

Edge and texture terms are those of MENET (Fan, Chen, Li, arXiv 2003.09689). Texture compares the Gram matrix P P^T of
an image's patches: P, (48, M), has the three channels of a 4 x 4 patch in each column. It does not divide by the
number of patches, so it is huge beside a pixel error and needs weights that balance. Differences of squares, A^2 -
B^2, which float32 would lose to cancellation, are taken as (A - B)(A + B).
"""

from abc import ABC, abstractmethod
from math import isfinite
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.networks.layers import full_precision


def check_weights(group: str, **weights: float) -> None:
    """Raise a ``SlackoffError`` that names the config key of the first weight that is negative or not finite.

    Args:
        group: the config key above.
        weights: by their keys.
    """
    for key, weight in weights.items():
        if not isfinite(weight) or weight < 0:
            raise SlackoffError(f"{group}.{key}={weight} must be a finite weight of at least 0")


class Term(nn.Module, ABC):
    """One error of a network's output, called as ``term(output, background)``.

    Images are brought to the range [0, scale] and compared in float32 whatever the precision of training.

    Args:
        scale: what the images are multiplied by. 255, grey levels, is the unit of MENET (Fan, Chen, Li, arXiv
            2003.09689); weights that depend on the errors, such as LB's and GB's, depend on it.

    Raises:
        SlackoffError: the scale is not finite or not above 0.
    """

    least_side: ClassVar[int] = 1
    """Height and width that images need at least, in pixels."""

    def __init__(self, scale: float = 255.0) -> None:
        super().__init__()
        if not isfinite(scale) or scale <= 0:
            raise SlackoffError(f"{type(self).__name__}: scale={scale} must be a finite number above 0")
        self.scale = scale

    @abstractmethod
    def error(self, output: Tensor, background: Tensor) -> Tensor:
        """The error as a scalar of float32; both images: float32, (N, 3, H, W), in [0, scale]."""

    def forward(self, output: Tensor, background: Tensor) -> Tensor:
        """A scalar of float32; ``output`` and ``background``: float, (N, 3, H, W), RGB in [0, 1].

        Raises:
            SlackoffError: these are no RGB images of one shape, or they are too small.
        """
        fit = output.shape == background.shape and output.ndim == 4 and output.shape[1] == 3 and len(output)
        if not fit or not (output.is_floating_point() and background.is_floating_point()):
            raise SlackoffError(
                f"{type(self).__name__} compares RGB images of one shape, float (N, 3, H, W), but the output is "
                f"{_described(output)} and the background {_described(background)}: choose a network that gives an "
                "image of the size that it takes"
            )
        height, width = output.shape[-2:]
        if min(height, width) < self.least_side:
            raise SlackoffError(
                f"{type(self).__name__} needs images of at least {self.least_side} x {self.least_side} px, not "
                f"{height} x {width}: raise background.patch_size_px"
            )
        with full_precision(output):
            return self.error(self.scale * output.float(), self.scale * background.float())


def _described(images: Tensor) -> str:
    return f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"


class PixelMSE(Term):
    """Mean squared error over images, channels and pixels: L_p of MENET, in squared grey levels if ``scale`` is 255."""

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return F.mse_loss(output, background)


class PixelL1(Term):
    """Mean absolute error over images, channels and pixels, in grey levels if ``scale`` is 255."""

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return F.l1_loss(output, background)


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


class EdgeAware(Term):
    """Mean squared error of Sobel features, see ``sobel``; in squared grey levels if ``scale`` is 255.

    Args:
        normaliser: 'mean' over images, pixels, channels and both directions, as in the authors' code; 'chw' adds up
            the directions, as in the paper, which divides by CHW alone: twice as large.
        scale: see ``Term``.
    """

    least_side = 2

    def __init__(self, normaliser: Literal["mean", "chw"] = "mean", scale: float = 255.0) -> None:
        super().__init__(scale)
        check_choices(EdgeAware, normaliser=normaliser)
        self.normaliser = normaliser

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        # Sobel is linear: the features of the difference are the difference of the features.
        mean = sobel(output - background).square().mean()
        return mean if self.normaliser == "mean" else 2 * mean


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


class Texture(Term):
    """Error of Gram matrices of 4 x 4 patches, in the fourth power of grey levels if ``scale`` is 255.

    Sides that are no multiple of 4 are cut to the largest one. Never train with it at weight 1: noise of one grey level
    on 224 x 224 px costs 1e6 and more. The error itself is always float32, but its gradient goes back in the precision
    of the output: in float16 it overflows unless the error is weighted down before.

    Args:
        kind: 'gram_mean' (``gram_mean_error``, the authors' code) or 'gram_frobenius' (``gram_frobenius_error``, the
            paper).
        scale: see ``Term``.
    """

    least_side = PATCH_SIDE

    def __init__(self, kind: Literal["gram_mean", "gram_frobenius"] = "gram_mean", scale: float = 255.0) -> None:
        super().__init__(scale)
        check_choices(Texture, kind=kind)
        self.kind = kind

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return (gram_mean_error if self.kind == "gram_mean" else gram_frobenius_error)(output, background)


def total_variation(images: Tensor) -> Tensor:
    """Quadratic total variation, as in the code of MOSS (Huang, Yu, He, CVPR 2021); its paper may mean absolute ones.

    Half the sum of the mean squared difference between neighbours in a column and that between neighbours in a row.

    Args:
        images: (N, C, H, W), H and W at least 2. Reckoned in float32.

    Returns:
        A scalar, in the squared unit of the images.
    """
    images = images.float()
    down = (images[..., 1:, :] - images[..., :-1, :]).square().mean()
    across = (images[..., :, 1:] - images[..., :, :-1]).square().mean()
    return (down + across) / 2


def absolute_variation(images: Tensor) -> Tensor:
    """Anisotropic total variation: the sum of absolute differences between neighbours, as SIRR has it (CVPR 2019).

    Args:
        images: (N, C, H, W). Reckoned in float32.

    Returns:
        A scalar, the mean over the N images; it grows with their size.
    """
    images = images.float()
    return (images.diff(dim=-2).abs().sum() + images.diff(dim=-1).abs().sum()) / len(images)


class TotalVariationTerm(Term):
    """Quadratic total variation of the output, see ``total_variation``; the background does not count."""

    least_side = 2

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        return total_variation(output)
