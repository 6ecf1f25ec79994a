"""The Swin layer of SwinIR: self-attention within windows, which every second layer shifts by half a window."""

from collections import OrderedDict
from functools import lru_cache

import torch
from torch import Tensor, nn

MASKED = -100.0  # added to scores between tokens that the cyclic shift alone made neighbours; SwinIR's value


@lru_cache(maxsize=2)  # the size of the training patches and that of the test image at hand
def shift_mask(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """What the scores in the windows of a shifted layer get: 0 within a region, -100 between regions.

    Args:
        height: of the image, a multiple of the window.
        width: likewise.
        window: side of a window; the shift is half of it, rounded down.
        device: of the mask.

    Returns:
        float32, (windows, window^2, window^2), windows and the pixels of each from left to right, then down.
    """
    with torch.inference_mode(False):  # a mask first made for a test image must serve training too
        rows, columns = (_regions(size, window, device).view(-1, window) for size in (height, width))
        regions = (3 * rows[:, None, :, None] + columns[:, None, :]).reshape(-1, window**2)
        return torch.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED)


def _regions(size: int, window: int, device: torch.device) -> Tensor:
    """Per position on a shifted axis: 0 for the windows before the last, 1 and 2 for the two parts of the last one."""
    position = torch.arange(size, device=device)
    return (position >= size - window).int() + (position >= size - window // 2).int()


def relative_positions(window: int) -> Tensor:
    """Row of the bias table per (query, key) in a window: int64, (window^2, window^2)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    dy, dx = (axis.flatten()[:, None] - axis.flatten() + window - 1 for axis in (y, x))
    return dy * (2 * window - 1) + dx


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias per relative position.

    Args:
        channels: a multiple of ``heads``.
        heads: attention heads.
        window: side of a window, in tokens.
        shifted: move the windows by half of their side, down and to the right.
    """

    positions: Tensor

    def __init__(self, channels: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2 if shifted else 0
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("positions", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(N, H, W, C) to the same; H and W multiples of the window, ``mask`` from ``shift_mask``."""
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), (1, 2))
        count, height, width, channels = tokens.shape
        rows, columns = height // self.window, width // self.window
        grid = self.qkv(tokens).view(count, rows, self.window, columns, self.window, 3, self.heads, -1)
        queries, keys, values = grid.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
            3, count, rows * columns, self.heads, self.window**2, -1
        )
        attended = self._attend(queries, keys, values, mask)
        grid = attended.view(count, rows, columns, self.heads, self.window, self.window, -1)
        merged = self.proj(grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(count, height, width, channels))
        return merged.roll((self.shift, self.shift), (1, 2)) if self.shift else merged

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Plain attention, (N, windows, heads, window^2, head channels) each.

        Not F.scaled_dot_product_attention: on a CPU it is a fifth slower in training and two fifths in testing, and
        its fused GPU kernels take heads of a multiple of 4 or 8 channels, not SwinIR's 10 or 30.
        """
        bias = self.relative_position_bias_table[self.positions].permute(2, 0, 1)
        if self.shift:
            bias = bias + mask[:, None]
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
        return scores.add_(bias).softmax(-1) @ values


class SwinLayer(nn.Module):
    """Window attention, then a two-layer perceptron: each after a LayerNorm and added to its input."""

    def __init__(
        self, channels: int, heads: int, window: int, mlp_ratio: float, shifted: bool, drop_probability: float
    ) -> None:
        from timm.layers import DropPath  # here, because it takes a second and other networks do without

        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window, shifted)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(channels, hidden), gelu=nn.GELU(), fc2=nn.Linear(hidden, channels))
        )
        self.drop_path = DropPath(drop_probability)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), mask))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))
