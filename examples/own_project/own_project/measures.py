"""Measures: a number for each test image, (1, 3, H, W) in [0, 1]."""

from torch import Tensor


def edge_error(output: Tensor, clean: Tensor) -> Tensor:
    """Mean error of the differences between neighbouring pixels: what streaks leave at their edges."""
    return 255 * (output.diff(dim=-1) - clean.diff(dim=-1)).abs().mean()
