"""Images of any size through a network in bounded memory: overlapping tiles, blended strip by strip.

The tile size follows from the memory that a network needs for an image, found out without computing anything.
"""

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from slackoff.deraining.model import Model
from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import PerImageMethod
from slackoff.networks.layers import device_of, mirror_to_multiple, true_float32

_PROBE_PX = 256

UNKNOWN_BYTES = 16_000
"""Taken for a network that cannot be run without values: more than any network of the project needs."""


def bytes_per_pixel(network: nn.Module) -> float:
    """Bytes of all tensors that are alive at once, at the worst moment of a pass in evaluation, per pixel of the image.

    The network is run on the ``meta`` device, where tensors have sizes and no values, so this takes milliseconds. What
    the kernels of a device need for themselves is not in it, nor are the weights.

    Args:
        network: takes (1, 3, H, W), float32, any size; it is not changed.
    """
    shape_only = copy.deepcopy(network).to("meta").eval()
    try:
        with torch.no_grad(), _LiveBytes() as live:
            shape_only(torch.empty(1, 3, _PROBE_PX, _PROBE_PX, device="meta"))
    except (RuntimeError, NotImplementedError):
        return UNKNOWN_BYTES
    return live.most / _PROBE_PX**2


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, from when they are made until nobody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            storage = tensor.untyped_storage() if isinstance(tensor, Tensor) else None
            if storage is not None and storage._cdata not in self._held:  # several tensors may look at one storage
                self._held[storage._cdata] = storage.nbytes()
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._drop, storage._cdata)
        return result

    def _drop(self, key: int) -> None:
        self.now -= self._held.pop(key)


MULTIPLE = 16
"""Tiles begin at multiples of this, so that pooling and windows of a network meet the same pixels as in the whole."""

OVERLAP_PX = 64
"""The usual overlap: see docs/derain.md for the seams that it leaves."""

BLEND_PX = 16
"""Width of the band in the middle of an overlap in which one tile passes over into the next, or half the overlap."""

BUDGET_BYTES = 400_000_000
"""What the tensors of a network may take at once for a tile that is chosen for it: docs/derain.md has the whole."""

SMALLEST_PX, LARGEST_PX = 128, 1024
"""Sides between which a tile is chosen; a larger one saves little more of what overlaps cost."""

_LEAST_PX = 32
"""What is smaller is continued by reflection before a network sees it: some cannot pad so little themselves."""


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    - `side`: of a tile at most, px; a multiple of 16.
    - `overlap`: of neighbouring tiles at least, px; a multiple of 16, at most half of `side`.

    Raises:
        SlackoffError: a number is out of its range.
    """

    side: int
    overlap: int = OVERLAP_PX

    def __post_init__(self) -> None:
        if self.side < 2 * MULTIPLE or self.side % MULTIPLE:
            raise SlackoffError(f"--tile={self.side} must be a multiple of {MULTIPLE}, at least {2 * MULTIPLE}")
        if self.overlap % MULTIPLE or not 0 <= 2 * self.overlap <= self.side:
            raise SlackoffError(
                f"--overlap={self.overlap} must be a multiple of {MULTIPLE}, from 0 to half of --tile={self.side}"
            )


def choose_tiling(network: nn.Module, overlap: int = OVERLAP_PX, budget: float = BUDGET_BYTES) -> Tiling:
    """The largest tiles whose tensors fit into a number of bytes.

    Args:
        network: as in `Model`.
        overlap: px; tiles are at least twice as large.
        budget: bytes.

    Raises:
        SlackoffError: as for `Tiling`.
    """
    side = int((budget / bytes_per_pixel(network)) ** 0.5)
    least = max(SMALLEST_PX, 2 * overlap)
    return Tiling(min(max(side, least), max(LARGEST_PX, least)) // MULTIPLE * MULTIPLE, overlap)


def spans(size: int, tiling: Tiling) -> list[slice]:
    """The pixels of each tile along an axis of `size` px: few tiles, of nearly equal length, from multiples of 16 on.

    Neighbours have exactly `tiling.overlap` px in common; what fits into one tile is one tile.
    """
    if size <= tiling.side:
        return [slice(0, size)]
    most = tiling.side - tiling.overlap
    count = -(-(size - tiling.overlap) // most)
    step = -(-(size - tiling.overlap) // (count * MULTIPLE)) * MULTIPLE
    return [slice(start, min(start + step + tiling.overlap, size)) for start in range(0, size - tiling.overlap, step)]


def weights(tiles: list[slice]) -> list[Tensor]:
    """How much each tile counts at each of its pixels, float32 in [0, 1]: over all tiles the sum is 1 everywhere.

    In an overlap the outer pixels of a tile, which lack most of their surroundings, count nothing; in the middle
    `BLEND_PX` one tile passes over into the next by a raised cosine.
    """
    found = [torch.ones(tile.stop - tile.start) for tile in tiles]
    for (before, first), (after, second) in pairwise(zip(tiles, found, strict=True)):
        overlap = before.stop - after.start
        if overlap <= 0:
            continue
        band = min(BLEND_PX, overlap // 2)
        position = (torch.arange(overlap) + 0.5 - (overlap - band) / 2) / band
        rise = (1 - torch.cos(torch.pi * position.clamp(0, 1))) / 2
        first[len(first) - overlap :] *= 1 - rise
        second[:overlap] *= rise
    return found


def derained_strips(
    network: nn.Module,
    rainy: NDArray[np.uint8],
    tiling: Tiling,
    advance: Callable[[float], object] = lambda share: None,
) -> Iterator[Tensor]:
    """The background of an image in strips from the top: (rows, W, 3), float32, in about [0, 1], on the CPU.

    At any time the strips of no more than two rows of tiles are held. A method without training sees the whole image,
    and the result is one strip.

    Args:
        network: as in `Model`, on any device.
        rainy: uint8, (H, W, 3), RGB.
        tiling: how it is cut.
        advance: told the share of the image that has been done since it was last told.
    """
    if isinstance(network, PerImageMethod):
        with torch.inference_mode():
            yield network.derain(_as_image(network, rainy), advance).permute(1, 2, 0).cpu()
        return
    height, width = rainy.shape[:2]
    rows, columns = spans(height, tiling), spans(width, tiling)
    carried = torch.zeros(0, width, 3)
    column_weights = weights(columns)
    for number, (row, row_weight) in enumerate(zip(rows, weights(rows), strict=True)):
        strip = torch.zeros(row.stop - row.start, width, 3)
        strip[: len(carried)] += carried
        for column, column_weight in zip(columns, column_weights, strict=True):
            tile = _derained(network, rainy[row, column])
            strip[:, column] += tile * (row_weight[:, None] * column_weight)[..., None]
            advance(1 / (len(rows) * len(columns)))
        finished = len(strip) if number + 1 == len(rows) else rows[number + 1].start - row.start
        yield strip[:finished]
        carried = strip[finished:].clone()


@torch.inference_mode()
def _derained(network: nn.Module, tile: NDArray[np.uint8]) -> Tensor:
    """A network's result for one tile (h, w, 3): float32, (h, w, 3), on the CPU."""
    image = _as_image(network, tile)[None]
    height, width = image.shape[-2:]
    if min(height, width) < _LEAST_PX:
        image = mirror_to_multiple(image, _LEAST_PX)
    with true_float32(image.device):
        return network(image)[0, :, :height, :width].permute(1, 2, 0).cpu()


def _as_image(network: nn.Module, pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (h, w, 3) as float32 (3, h, w) in [0, 1] on the network's device."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device_of(network)).permute(2, 0, 1) / 255


def derain_array(
    model: Model,
    rainy: NDArray[np.uint8],
    tiling: Tiling | None = None,
    advance: Callable[[float], object] = lambda share: None,
) -> NDArray[np.uint8]:
    """Take the rain out of an image of any size.

    Args:
        model: its network may be on any device, and is used there.
        rainy: uint8, (H, W, 3), RGB, 0..255, upright, at least 1 px a side.
        tiling: how the image is cut; chosen for the network if None.
        advance: told the share of the image that has been done since it was last told; the shares add up to 1.

    Returns:
        The background: uint8, the same shape, RGB, to the nearest grey level.
    """
    result = np.empty(rainy.shape, np.uint8)
    top = 0
    for strip in derained_strips(model.network, rainy, tiling or choose_tiling(model.network), advance):
        result[top : top + len(strip)] = strip.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
        top += len(strip)
    return result
