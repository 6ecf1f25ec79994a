"""K cells of one network and one shape trained in one process: after one another, as grouped convolutions, or by vmap.

Each way takes the same steps on the same batches as the cells apart; only the order of sums differs.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.overrides import TorchFunctionMode

from benchmarks.bare_loop import BareLoop
from slackoff.data import BatchStream
from slackoff.data.streams import derive_seed
from slackoff.rain import add_rain
from slackoff.rain.ranges import RainParameters
from slackoff.rain.render import streaks_from_noise

Loops = Sequence[BareLoop]


class Cells(ABC):
    """Cells that take their steps together, each on its own data.

    Args:
        loops: the cells apart: where their networks, batch streams and recipe come from. Their networks may be used up.
        parameters: of all cells.
        adam: how Adam goes through the parameters (``foreach`` or ``fused``).
    """

    def __init__(self, loops: Loops, parameters: Iterable[nn.Parameter | Tensor], **adam: bool) -> None:
        first = loops[0]
        group = first.optimizer.param_groups[0]
        self.loops, self.count = loops, len(loops)
        self.device, self.half = first.device, first.half
        self.optimizer = torch.optim.Adam(parameters, group["lr"], group["betas"], **adam)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, first.schedule.T_max, eta_min=first.schedule.eta_min
        )

    def step(self, number: int) -> None:
        """Make batch ``number`` of every cell and train on it."""
        rainy, background = joint_batch([loop.stream for loop in self.loops], number)
        self.optimizer.zero_grad()
        self._backward(rainy, background)
        self.optimizer.step()
        self.schedule.step()

    @abstractmethod
    def _backward(self, rainy: Tensor, background: Tensor) -> None:
        """Leave each cell's gradients at the parameters; images are (K, N, 3, P, P)."""

    @abstractmethod
    def weights(self, cell: int) -> dict[str, Tensor]:
        """The present weights of a cell, named as in its network."""

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


class OneAfterAnother(Cells):
    """Nothing fused but the rain and Adam, which goes through all cells' parameters at once."""

    def __init__(self, loops: Loops, **adam: bool) -> None:
        super().__init__(loops, chain.from_iterable(loop.network.parameters() for loop in loops), **adam)

    def _backward(self, rainy: Tensor, background: Tensor) -> None:
        for loop, own_rainy, own_background in zip(self.loops, rainy, background, strict=True):
            own_rainy = own_rainy.contiguous(memory_format=loop.stream.memory_format)
            with self._autocast():
                loss = loop.loss(loop.network(own_rainy), own_background)
            loss.backward()

    def weights(self, cell: int) -> dict[str, Tensor]:
        return dict(self.loops[cell].network.named_parameters())


class Grouped(Cells):
    """One network with K times the channels, its convolutions in K groups.

    Args:
        loops: as in ``Cells``.
        memory_format: of images and weights.
    """

    def __init__(self, loops: Loops, memory_format: torch.memory_format) -> None:
        self.network = widened([loop.network for loop in loops]).to(memory_format=memory_format)
        self.memory_format = memory_format
        super().__init__(loops, self.network.parameters(), fused=True)

    def _backward(self, rainy: Tensor, background: Tensor) -> None:
        rainy, background = (
            images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=self.memory_format)
            for images in (rainy, background)
        )
        with self._autocast(), _GroupedCat(self.count):
            loss = self.count * nn.functional.l1_loss(self.network(rainy), background)
        loss.backward()

    def weights(self, cell: int) -> dict[str, Tensor]:
        return {name: value.chunk(self.count)[cell] for name, value in self.network.named_parameters()}


class Vmapped(Cells):
    """The network as a function of its weights, mapped over weights that are stacked."""

    def __init__(self, loops: Loops) -> None:
        self.stacked, _ = stack_module_state([loop.network for loop in loops])
        self.network = copy.deepcopy(loops[0].network).to("meta")
        self.gradients: Callable[..., dict[str, Tensor]] = vmap(grad(self._loss))
        super().__init__(loops, self.stacked.values(), fused=True)

    def _loss(self, weights: dict[str, Tensor], rainy: Tensor, background: Tensor) -> Tensor:
        with self._autocast():
            return nn.functional.l1_loss(functional_call(self.network, weights, (rainy,)), background)

    def _backward(self, rainy: Tensor, background: Tensor) -> None:
        for name, gradient in self.gradients(self.stacked, rainy, background).items():
            self.stacked[name].grad = gradient

    def weights(self, cell: int) -> dict[str, Tensor]:
        return {name: value[cell] for name, value in self.stacked.items()}


WAYS: dict[str, Callable[[Loops], Cells]] = {
    "one after another, foreach Adam": partial(OneAfterAnother, foreach=True),
    "one after another, fused Adam": partial(OneAfterAnother, fused=True),
    "grouped, channels_last": partial(Grouped, memory_format=torch.channels_last),
    "grouped, contiguous": partial(Grouped, memory_format=torch.contiguous_format),
    "vmap": Vmapped,
}


def joint_batch(streams: Sequence[BatchStream], number: int) -> tuple[Tensor, Tensor]:
    """The batches of all cells, the rain of all rendered at once: rainy and background, (K, N, 3, P, P) each.

    The same bits as each stream's own ``batch``, for cells of one rain range with new rain at each use.
    """
    first, drawn = streams[0], [_draw(stream, number) for stream in streams]
    parameters = RainParameters(*(torch.cat(values) for values in zip(*(rain for _, rain, _ in drawn), strict=True)))
    noise = torch.cat([noise for _, _, noise in drawn])
    rain_range = first.rain_range
    rain = streaks_from_noise(noise, parameters, rain_range.legacy_scale, rain_range.kernel_side)
    background = torch.stack([stream.bank[index] for stream, (index, _, _) in zip(streams, drawn, strict=True)])
    background = background.float() / 255.0
    return add_rain(background, rain.unflatten(0, (len(streams), first.batch_size))), background


def _draw(stream: BatchStream, number: int) -> tuple[Tensor, RainParameters, Tensor]:
    """Patches, rain parameters and noise of a batch, in the order in which ``BatchStream.batch`` draws them."""
    device, count = stream.bank.device, stream.batch_size
    generator = Generator(device).manual_seed(derive_seed(stream.seed, "batch", number))
    index = torch.randint(len(stream.bank), (count,), generator=generator, device=device)
    parameters = stream.rain_range.sample(count, generator)
    noise = torch.rand(count, *stream.patch_size, generator=generator, device=device) * 256.0
    return index, parameters, noise


def widened(networks: Sequence[nn.Module]) -> nn.Module:
    """A network that holds several side by side in the channels; call it inside ``_GroupedCat``.

    Raises:
        ValueError: the networks have other weights than those of plain convolutions.
    """
    wide = copy.deepcopy(networks[0])
    for name, module in wide.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.groups == 1:
            parts = [network.get_submodule(name) for network in networks]
            module.groups = len(networks)
            module.in_channels *= len(networks)
            module.out_channels *= len(networks)
            for key, _ in list(module.named_parameters()):
                setattr(module, key, nn.Parameter(torch.cat([part.get_parameter(key).detach() for part in parts])))
        elif list(module.parameters(recurse=False)):
            raise ValueError(f"{type(module).__name__} cannot be grouped")
    return wide


class _GroupedCat(TorchFunctionMode):
    """Concatenates channels group by group, so that each group keeps its own channels together."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not torch.cat:
            return function(*args, **(kwargs or {}))
        of_groups = zip(*(tensor.chunk(self.groups, dim=1) for tensor in args[0]), strict=True)
        return torch.cat(list(chain.from_iterable(of_groups)), dim=1)
