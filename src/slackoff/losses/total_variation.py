"""Total variation of images."""

from torch import Tensor

from slackoff.losses.term import Term


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
