"""SwinIR at scale 1: self-attention within windows, which every second layer shifts by half a window."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.networks.layers import check_sizes, mirror_to_multiple

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


RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as in SwinIR's code


class ResidualSwinBlock(nn.Module):
    """Swin layers, of which every second one is shifted, and a convolution; added to their input."""

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        mlp_ratio: float,
        residual_conv: Literal["1conv", "3conv"],
        drop_probabilities: Sequence[float],
    ) -> None:
        super().__init__()
        layers = (
            SwinLayer(channels, heads, window, mlp_ratio, index % 2 == 1, probability)
            for index, probability in enumerate(drop_probabilities)
        )
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(layers)})
        self.conv = _residual_conv(channels, residual_conv)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = tokens
        for layer in self.residual_group["blocks"].children():
            x = layer(x, mask)
        return tokens + _to_tokens(self.conv(_to_image(x)))


class SwinIR(nn.Module):
    """SwinIR (Liang et al. 2021) with the head that its denoising models have, at scale 1.

    Input and output: float, (N, 3, H, W), in about [0, 1], any size: the input is mirrored to the right and below up
    to a multiple of the window (again and again where it is smaller than the pad), the output is cropped back.
    11,504,163 parameters by default, as in the official colour denoising models, whose names the state dict has too.

    Differs from the original in that any training size above the window's gives the same network (there is no
    ``img_size``), and in the switch ``global_residual``.

    Args:
        channels: of the features.
        depths: Swin layers of each residual block.
        heads: attention heads of every layer; a divisor of ``channels``.
        window: side of an attention window, in pixels.
        mlp_ratio: hidden channels of a perceptron over ``channels``.
        residual_conv: "1conv", or "3conv" for a bottleneck with fewer parameters.
        img_range: what images are multiplied by inside: 1, or 255 as in the official JPEG models.
        stochastic_depth: probability that training leaves out a branch of the last layer; rises linearly from 0.
        global_residual: add the input to the output; False lets the network predict the background itself.

    Raises:
        SlackoffError: a size that is not positive or does not fit the others.
    """

    paper: ClassVar[str] = "Liang et al., SwinIR (ICCVW 2021)"
    shared_layer: ClassVar[str] = "conv_last"
    mean: Tensor

    def __init__(
        self,
        channels: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        heads: int = 6,
        window: int = 8,
        mlp_ratio: float = 2.0,
        residual_conv: Literal["1conv", "3conv"] = "1conv",
        img_range: float = 1.0,
        stochastic_depth: float = 0.1,
        global_residual: bool = True,
    ) -> None:
        super().__init__()
        check_choices(SwinIR, residual_conv=residual_conv)
        if heads < 1 or channels < 1 or channels % heads:
            raise SlackoffError(f"network.channels={channels} must be a positive multiple of network.heads={heads}")
        if not depths or min(depths) < 1:
            raise SlackoffError(f"network.depths={list(depths)} must hold numbers of layers from 1 up")
        check_sizes(2, window=window)
        if mlp_ratio * channels < 1 or img_range <= 0:
            raise SlackoffError(f"network.mlp_ratio={mlp_ratio} and network.img_range={img_range} must be above 0")
        if not 0 <= stochastic_depth < 1:
            raise SlackoffError(f"network.stochastic_depth={stochastic_depth} must lie in [0, 1)")
        self.window, self.img_range, self.global_residual = window, img_range, global_residual
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        total = sum(depths)
        probabilities = iter([stochastic_depth * layer / max(total - 1, 1) for layer in range(total)])
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(channels)})
        self.layers = nn.ModuleList(
            ResidualSwinBlock(
                channels, heads, window, mlp_ratio, residual_conv, [next(probabilities) for _ in range(depth)]
            )
            for depth in depths
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = _residual_conv(channels, residual_conv)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        x = (mirror_to_multiple(rainy, self.window) - self.mean) * self.img_range
        shallow = self.conv_first(x)
        tokens = self.patch_embed["norm"](_to_tokens(shallow))
        mask = shift_mask(x.shape[-2], x.shape[-1], self.window, x.device)
        for block in self.layers:
            tokens = block(tokens, mask)
        output = self.conv_last(self.conv_after_body(_to_image(self.norm(tokens))) + shallow)
        output = (x + output if self.global_residual else output) / self.img_range + self.mean
        return output[..., :height, :width]


def _residual_conv(channels: int, kind: Literal["1conv", "3conv"]) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    narrow = max(channels // 4, 1)
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(narrow, narrow, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(narrow, channels, 3, padding=1),
    )


def _to_tokens(image: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H, W, C)."""
    return image.permute(0, 2, 3, 1)


def _to_image(tokens: Tensor) -> Tensor:
    """(N, H, W, C) to (N, C, H, W)."""
    return tokens.permute(0, 3, 1, 2)
