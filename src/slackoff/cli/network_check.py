"""What slackoff needs of a network, tried one by one on small images: what fails, and in which submodule."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from slackoff.config.build import build
from slackoff.config.counting import count_network
from slackoff.config.validate import checked_node
from slackoff.deraining.onnx import OnnxError, write_onnx
from slackoff.errors import SlackoffError, one_line

SIZES = ((64, 64), (96, 48), (37, 53), (16, 16))
"""Heights and widths that are tried, in px; odd ones, and one that is smaller than most receptive fields."""

_SIDE = 64
_RATE = 1e-3
_LONGEST = 300


@dataclass(frozen=True)
class Finding:
    """What came out of one check, in a few words."""

    name: str
    state: Literal["passed", "failed", "skipped"]
    detail: str = ""


class _Failed(Exception):
    """A check that did not pass; the words say what and where."""


class _Skipped(Exception):
    """A check that cannot be made here."""


def check_network(node: dict[str, Any]) -> Iterator[Finding]:
    """Try a network.

    Args:
        node: its config, with ``_target_``.

    Yields:
        What each check found, as soon as it is known.

    Raises:
        SlackoffError: the node describes no network, or one that cannot be built.
    """
    checked_node(node, "network", kinds=("torch.nn.Module",))
    _build(node)
    for name, try_it in _CHECKS.items():
        try:
            yield Finding(name, "passed", try_it(node))
        except _Skipped as reason:
            yield Finding(name, "skipped", str(reason))
        except (_Failed, SlackoffError) as reason:
            yield Finding(name, "failed", str(reason))
        except Exception as error:  # the code of a person, in which anything may go wrong
            yield Finding(name, "failed", f"{type(error).__name__}: {one_line(error, _LONGEST)}")


def _build(node: dict[str, Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network: nn.Module = build(OmegaConf.create(node), "network")
    return network


def _images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth images with streaks, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return 0.8 * smooth + 0.2 * torch.rand(count, 1, 1, width, generator=generator)


@contextmanager
def _where(network: nn.Module) -> Iterator[None]:
    """Turn an error inside a network into one that names the submodule in which it was raised."""
    inside: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: inside.append(name)

    def leave(*_: Any) -> None:
        inside.pop()

    hooks = []
    for name, module in network.named_modules():
        hooks += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
    try:
        yield
    except (_Failed, SlackoffError):
        raise
    except Exception as error:
        kind = type(network.get_submodule(inside[-1])).__name__ if inside else ""
        at = f" in {inside[-1] or 'the network itself'} ({kind})" if inside else ""
        raise _Failed(f"{type(error).__name__}{at}: {one_line(error, _LONGEST)}") from error
    finally:
        for hook in hooks:
            hook.remove()


def _restored(network: nn.Module, images: Tensor) -> Tensor:
    with _where(network):
        output = network(images)
    if not isinstance(output, Tensor):
        raise _Failed(f"it gives a {type(output).__name__}, not a tensor; ForeignNetwork(output=...) chooses one")
    return output.float()


def _outputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What each submodule gave in one pass, in the order in which they ended; the network's own is the last."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found[f"{name or 'the network itself'} ({type(module).__name__})"] = output.detach().clone()

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules()]
    try:
        with _where(network):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _any_size(node: dict[str, Any]) -> str:
    network = _build(node).eval()
    for height, width in SIZES:
        images = _images(2, height, width)
        try:
            with torch.no_grad():
                output = _restored(network, images)
        except _Failed as reason:
            raise _Failed(f"an image of {height}x{width} px: {reason}") from reason
        if output.shape != images.shape:
            raise _Failed(
                f"it gives {tuple(output.shape)} for images of shape {tuple(images.shape)}; "
                "ForeignNetwork(size_multiple=...) pads and crops"
            )
    return ", ".join(f"{height}x{width}" for height, width in SIZES)


def _counted(node: dict[str, Any]) -> str:
    counts = count_network("network", OmegaConf.create(node), _SIDE)
    gflops = "" if counts.gflops is None else f", {counts.gflops:.3g} GFLOPs for {_SIDE}x{_SIDE}"
    return f"{counts.parameters:,} parameters{gflops}"


@torch.no_grad()
def _determined(node: dict[str, Any]) -> str:
    first, again = _build(node), _build(node)
    for name, value in first.state_dict().items():
        if not torch.equal(value, again.state_dict()[name]):
            raise _Failed(f"built twice from one seed, {name} differs: draw first weights from torch's generator")
    images = _images(2, _SIDE, _SIDE)
    kept = images.clone()
    for mode, words in ((False, "in evaluation"), (True, "in training, from one seed")):
        found = []
        for network in (first, again):
            torch.manual_seed(1)
            found.append(_outputs(network.train(mode), images))
        for name, output in found[0].items():
            if name in found[1] and not torch.equal(output, found[1][name]) and bool(output.isfinite().all()):
                raise _Failed(f"{words}, two passes differ first in {name}")
    if not torch.equal(images, kept):
        raise _Failed("it changes the images that it is given: leave out operations in place on its input")
    return "the same weights from one seed, the same output from one input"


def _gradients(node: dict[str, Any]) -> str:
    network = _build(node).train()
    rainy, clean = _images(2, _SIDE, _SIDE), _images(2, _SIDE, _SIDE, 1)
    for name, output in _outputs(deepcopy(network), rainy).items():
        if not output.isfinite().all():
            raise _Failed(f"values that are not finite come first from {name}")
    parameters = {name: each for name, each in network.named_parameters() if each.requires_grad}
    if not parameters:
        return "it has nothing to train"
    reached: set[str] = set()
    optimizer = torch.optim.SGD(parameters.values(), _RATE)
    for step in range(3):  # a last layer that begins at 0 lets no gradient through at the first
        _step(network, optimizer, rainy, clean, step)
        missing = [name for name, each in parameters.items() if each.grad is None]
        if missing:
            raise _Failed(f"no gradient reaches {_some(missing)}: use them in every pass, or take them out")
        wrong = [name for name, each in parameters.items() if each.grad is not None and not each.grad.isfinite().all()]
        if wrong:
            raise _Failed(f"gradients are not finite in {_some(wrong)}")
        reached |= {name for name, each in parameters.items() if each.grad is not None and each.grad.any()}
    idle = [name for name in parameters if name not in reached]
    return f"finite in {len(parameters)} parameters" + (f"; always 0 in {_some(idle)}" if idle else "")


def _some(names: list[str]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} others" if rest > 0 else "")


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, rainy: Tensor, clean: Tensor, step: int) -> None:
    """A training step; what is random in it comes from its number, as in a cell."""
    torch.manual_seed(step)
    optimizer.zero_grad()
    (_restored(network, rainy) - clean).abs().mean().backward()
    optimizer.step()


@torch.no_grad()
def _value_range(node: dict[str, Any]) -> str:
    network = _build(node).eval()
    images = torch.cat([_images(2, _SIDE, _SIDE), torch.zeros(1, 3, _SIDE, _SIDE), torch.ones(1, 3, _SIDE, _SIDE)])
    output = _restored(network, images)
    low, high = output.min().item(), output.max().item()
    words = f"{low:.3g} to {high:.3g} for images in [0, 1]"
    if not (low > -2 and high < 3):
        raise _Failed(
            f"{words}: networks take and give [0, 1]; one of other values goes into ForeignNetwork(value_range=...)"
        )
    return words


def _bf16(node: dict[str, Any]) -> str:
    network = _build(node).train()
    images, clean = _images(2, _SIDE, _SIDE), _images(2, _SIDE, _SIDE, 1)
    with torch.no_grad():
        exact = _restored(deepcopy(network).eval(), images)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            rounded = _restored(deepcopy(network).eval(), images)
        loss = (_restored(network, images) - clean).abs().mean()
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
        wrong = [
            n for n, each in network.named_parameters() if each.grad is not None and not each.grad.isfinite().all()
        ]
        if wrong:
            raise _Failed(f"gradients are not finite in {_some(wrong)}")
    difference = (rounded - exact).abs().mean().item()
    if not difference < 0.1:
        raise _Failed(f"its output differs by {difference:.3g} on average from float32: 1 is white")
    return f"{255 * difference:.2g} grey levels from float32 on average"


def _resumed(node: dict[str, Any]) -> str:
    if not any(True for _ in _build(node).parameters()):
        raise _Skipped("it has nothing to train")
    batches = [(_images(2, _SIDE, _SIDE, step), _images(2, _SIDE, _SIDE, step + 10)) for step in range(4)]

    def trained(network: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            _step(network.train(), optimizer, *batches[step], step)

    whole = _build(node)
    optimizer = torch.optim.Adam(whole.parameters(), _RATE)
    trained(whole, optimizer, range(2))
    saved = io.BytesIO()
    torch.save({"network": whole.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    trained(whole, optimizer, range(2, 4))
    saved.seek(0)
    state, resumed = torch.load(saved, weights_only=True), _build(node, seed=5)
    resumed.load_state_dict(state["network"])
    optimizer = torch.optim.Adam(resumed.parameters(), _RATE)
    optimizer.load_state_dict(state["optimizer"])
    trained(resumed, optimizer, range(2, 4))
    others = resumed.state_dict()
    wrong = [name for name, value in whole.state_dict().items() if not torch.equal(value, others[name])]
    if wrong:
        raise _Failed(
            f"two steps after a checkpoint differ in {_some(wrong)}: keep what training changes in the state_dict"
        )
    return "two steps from a checkpoint are equal bit for bit"


def _in_ranks(node: dict[str, Any]) -> str:
    network = _build(node)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise _Skipped("it has nothing to train")
    norms = [name for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
    if norms:
        raise _Skipped(f"{norms[0]} normalises over the batch, which ranks do together on GPUs only")
    if not dist.is_available() or not dist.is_gloo_available():
        raise _Skipped("this torch has no gloo")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_rank, (2, node, folder), nprocs=2)
        first, second = (torch.load(Path(folder, f"{rank}.pt"), weights_only=True) for rank in range(2))
    for found in (first, second):
        if "failed" in found:
            raise _Failed(str(found["failed"]))
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise _Failed(f"after two steps the two processes have another {name}")
    return "two processes stay equal over two steps"


def _rank(rank: int, count: int, node: dict[str, Any], folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    found: dict[str, Any]
    try:
        network = _build(node).train()
        together = DistributedDataParallel(network)
        optimizer = torch.optim.SGD(network.parameters(), _RATE)
        for step in range(2):
            _step(together, optimizer, _images(2, _SIDE, _SIDE, rank), _images(2, _SIDE, _SIDE, 10 + rank), step)
            if unused := [n for n, each in network.named_parameters() if each.requires_grad and each.grad is None]:
                raise _Failed(f"{_some(unused)} take no part in a pass, for which the other processes would wait")
        found = dict(network.state_dict())
    except Exception as error:
        found = {"failed": str(error) if isinstance(error, _Failed) else one_line(error, _LONGEST)}
    torch.save(found, Path(folder, f"{rank}.pt"))
    os._exit(0)  # a peer that waits for this one must not keep it


def _exported(node: dict[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            written = write_onnx(_build(node).eval().requires_grad_(False), Path(folder, "network.onnx"))
        except OnnxError:
            raise
        except SlackoffError as error:
            raise _Skipped(str(error)) from error
    return written.describe()


_CHECKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "any image size": _any_size,
    "counted": _counted,
    "determinism": _determined,
    "values and gradients": _gradients,
    "value range": _value_range,
    "bf16 autocast": _bf16,
    "resume": _resumed,
    "several processes": _in_ranks,
    "ONNX": _exported,
}
