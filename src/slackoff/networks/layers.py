"""What several networks share: checks of sizes, first weights, precision, mirror padding, guided filter, layers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError

GREY_LEVELS = 255.0
"""What the value 1 of an image is in networks and losses that count in grey levels."""


def check_sizes(least: int = 1, **sizes: int) -> None:
    """Raise a ``SlackoffError`` that names the config key of the first size below the least one."""
    for key, size in sizes.items():
        if size < least:
            raise SlackoffError(f"network.{key}={size} must be at least {least}")


def check_positive(**numbers: float) -> None:
    """Raise a ``SlackoffError`` that names the config key of the first number that is not above 0."""
    for key, number in numbers.items():
        if not number > 0:
            raise SlackoffError(f"network.{key}={number} must be above 0")


def draw_weights(network: nn.Module, draw: Callable[[Tensor], object]) -> None:
    """Let a function fill the weights of all convolutions and linear layers, one after the other; biases become 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def device_of(network: nn.Module) -> torch.device:
    """The device of a network's parameters, or of its buffers if it has no parameters; the CPU if it has neither."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def full_precision(x: Tensor | torch.device) -> AbstractContextManager[object]:
    """Autocast off on a tensor's device; on devices that know no autocast (meta) there is nothing to turn off."""
    kind = (x.device if isinstance(x, Tensor) else x).type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


@contextmanager
def true_float32(device: torch.device) -> Iterator[None]:
    """Within the context float32 is float32: neither autocast nor, on NVIDIA GPUs, TensorFloat-32.

    The gradients of a convolution are computed in what holds when ``backward`` is called, so that must be within too.
    """
    flags: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    try:
        with full_precision(device):
            yield
    finally:
        for flag, allowed in zip(flags, before, strict=True):
            flag.allow_tf32 = allowed


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


def box_mean(images: Tensor, radius: int) -> Tensor:
    """The mean over a square window of 2 * radius + 1 pixels around each pixel, as far as it lies in the image.

    Sums of the pixels themselves: differences of cumulative sums would lose digits on large images.

    Args:
        images: float, (N, C, H, W), H and W at least 1.
        radius: in pixels, at least 0.
    """
    side = 2 * radius + 1
    rows = F.avg_pool2d(images, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


def guided_smooth(images: Tensor, radius: int, eps: float) -> Tensor:
    """Filter each channel with itself as its guide; differentiable.

    With mean m and variance v of a window, each window fits the line a * x + m - a * m, a = v / (v + eps); a pixel gets
    the mean of the lines of all windows that hold it. Where the variance is far below eps, that is nearly two box
    means in a row; where it is far above, the pixel itself.

    Args:
        images: float, (N, C, H, W), H and W at least 1.
        radius: of the windows, in pixels, at least 0.
        eps: in squared units of the images, above 0.

    Returns:
        (N, C, H, W), in the unit of the images.
    """
    mean = box_mean(images, radius)
    variance = box_mean(images * images, radius) - mean * mean
    slope = variance / (variance + eps)
    return box_mean(slope, radius) * images + box_mean(mean - slope * mean, radius)


class Residual(nn.Sequential):
    """Layers in a row, whose result is added to their input."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same size."""
        return x + super().forward(x)


class SqueezeExcitation(nn.Module):
    """Channels scaled by what two linear layers make of their means over the image.

    Args:
        channels: of the features.
        hidden: channels between the two layers.
        bias: both layers have biases.
        gate: makes scales of what the second layer gives.
    """

    def __init__(
        self, channels: int, hidden: int, bias: bool = True, gate: Callable[[Tensor], Tensor] = torch.sigmoid
    ) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias)
        self.excite = nn.Linear(hidden, channels, bias)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same size."""
        return x * self.gate(self.excite(self.squeeze(x.mean((2, 3))).relu()))[..., None, None]


class DilatedConv2d(nn.Conv2d):
    """3x3 with biases, keeping the size, whose weight's gradient is right on a CPU in bf16 too.

    oneDNN 3.12 reads beyond its buffers there (AVX-512, channels last, dilated, channels that are not a multiple of
    16): the gradient is NaN or the process dies. Such convolutions run in float32.

    Args:
        channels_in, channels_out: of input and output.
        dilation: in pixels.
    """

    def __init__(self, channels_in: int, channels_out: int, dilation: int = 1) -> None:
        super().__init__(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
        self.unsafe_in_half = dilation > 1 and channels_in % 16 != 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same size."""
        if self.unsafe_in_half and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with full_precision(x):
                return super().forward(x.to(self.weight.dtype))
        return super().forward(x)
