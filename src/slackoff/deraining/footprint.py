"""How much memory a network needs for an image, found out without computing anything."""

import copy
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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
            if isinstance(tensor, Tensor):
                self._hold(tensor.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        """Several tensors can look at one storage: it counts once."""
        key = storage._cdata
        if key in self._held:
            return
        self._held[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self._held.pop(key)
