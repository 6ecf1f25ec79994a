"""Where a network is, and in which precision it, or a part of it, must run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


def device_of(network: nn.Module) -> torch.device:
    """The device of a network's parameters, or of its buffers if it has no parameters; the CPU if it has neither."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """Autocast off on the tensor's device; on devices that know no autocast (meta) there is nothing to turn off."""
    return _no_autocast(x.device)


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
        with _no_autocast(device):
            yield
    finally:
        for flag, allowed in zip(flags, before, strict=True):
            flag.allow_tf32 = allowed


def _no_autocast(device: torch.device) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
