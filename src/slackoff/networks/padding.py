"""Padding of images to sizes that a network can divide."""

import torch
from torch import Tensor


def mirror_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Continue images to the right and below by reflection until both sides are multiples of a number.

    The same values as reflect padding (the border pixel itself is not repeated). Unlike that, it may be wider than the
    image: a pad wider than the image goes back and forth through it, and a side of one pixel is repeated.

    Args:
        images: (..., H, W), H and W at least 1.
        multiple: of which the sides become multiples.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        missing = -size % multiple
        # An exported graph is for every size: none of them may be decided on while it is drawn.
        if torch.compiler.is_exporting() or missing:
            period = torch.full((), max(2 * size - 2, 1), device=images.device)
            position = torch.arange(size + missing, device=images.device) % period
            images = images.index_select(axis, torch.minimum(position, period - position))
    return images
