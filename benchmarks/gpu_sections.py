"""The checks of ``make gpu-check``, by section. Each runs on a CPU too, at tiny sizes.

Run as a program (``-m benchmarks.gpu_sections FOLDER ...``, by torchrun) it is a rank of a cell that raises at a step.
"""

import math
import multiprocessing
import re
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from benchmarks.bare_loop import BareLoop
from benchmarks.cell_config import plan_cell, write_cell_folder
from slackoff.cell import process as cell_program
from slackoff.cell import training
from slackoff.cell.launch import STOP_SIGNALS, CellExit, LaunchOptions
from slackoff.config import build
from slackoff.config.counting import count_step
from slackoff.config.presets import preset_names
from slackoff.data import BatchStream, RainyBatch
from slackoff.measurements.timing import measure_step
from slackoff.rain import render_streaks
from slackoff.record.files import read_lines
from slackoff.record.status import read_status
from slackoff.sweep.manifest import read_manifest
from slackoff.tasks import StepSeed

CPU = torch.device("cpu")
RANGES = ("small", "medium", "large", "slanted")
PAPER_STEPS = 250_000
NETWORKS_OF_PAPER = ("resnet", "unet", "swinir", "spdnet", "rcdnet")
aten = torch.ops.aten


class Outcome(NamedTuple):
    """How a check ended; ``detail`` is its figures in words, or the reason why it was skipped or failed."""

    verdict: Literal["pass", "fail", "skipped"]
    detail: str
    figures: dict[str, Any]


Check = Callable[[], Outcome]


def judged(passed: bool, detail: str, **figures: Any) -> Outcome:
    return Outcome("pass" if passed else "fail", detail, figures)


def skipped(reason: str) -> Outcome:
    return Outcome("skipped", reason, {})


@dataclass
class Run:
    """Where and how long to check.

    Args:
        device: what is checked.
        folder: for the records of cells.
        ends: ``time.monotonic()`` after which what is optional is left out.
        step_s: seconds of a training step by network at the paper's size, from the section ``speed`` for ``cost``.
        flops: operations of a training step by network, counted once.
    """

    device: torch.device
    folder: Path
    ends: float = math.inf
    step_s: dict[str, float] = field(default_factory=dict)
    flops: dict[str, float] = field(default_factory=dict)

    @property
    def tiny(self) -> bool:
        return self.device.type == "cpu"

    def left(self) -> float:
        return self.ends - time.monotonic()

    def overrides(self, *given: str) -> list[str]:
        """Those of a cell on the device: in float32, and at smoke size on a CPU, unless ``given`` says otherwise."""
        usual = {
            "size": "smoke" if self.tiny else "laptop",
            "background.patch_count": "8" if self.tiny else "64",
            "logger.wandb": "false",
            "trainer.precision": "32-true",
            "trainer.accelerator": "cpu" if self.tiny else "gpu",
        }
        keys = {text.partition("=")[0] for text in given}
        return [*(f"{key}={value}" for key, value in usual.items() if key not in keys), *given]

    def config(self, *given: str) -> DictConfig:
        return plan_cell(self.overrides(*given), self.folder).config

    def synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


FORMS = {"float32": 20, "TF32": 10, "bf16": 7}
"""How a device may compute, and how many bits of mantissa the CPU keeps of the inputs of products where it imitates
that. float32 has 23: the other three stand for sums that are taken in another order."""
_MOST_IMITATED = 16.0  # times the error of the imitation, which rounds nothing but products
_FLOOR = 2.0**-20  # of a relative error: the rounding of results that are not products
_CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
_MATRICES = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default}


@contextmanager
def backends(convolutions: bool, matrices: bool = False, benchmark: bool = False) -> Iterator[None]:
    """What may be in TF32, and whether cuDNN tries its algorithms out."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = matrices, convolutions, benchmark
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextmanager
def computing(form: str, device: torch.device, benchmark: bool = False) -> Iterator[None]:
    """In float32 without TF32; with TF32 in convolutions, as ``trainer.tf32`` allows it; or with bf16 autocast."""
    half = torch.autocast(device.type, torch.bfloat16, enabled=form == "bf16")
    with backends(convolutions=form == "TF32", benchmark=benchmark), half:
        yield


def forms(device: torch.device) -> tuple[list[str], str]:
    """Those that the hardware has, and why others are left out."""
    if device.type == "cpu":
        return ["float32", "bf16"], "a CPU has no TF32"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return ["float32"], f"{torch.cuda.get_device_name(device)} has neither TF32 nor bf16"
    return list(FORMS), ""


class Imitation(TorchDispatchMode):
    """Rounds what goes into products (and in bf16 what comes out) as ``form`` does, and draws random numbers on the
    CPU, so that two devices draw the same; ``form`` None only does the latter."""

    def __init__(self, form: str | None = None) -> None:
        super().__init__()
        self.bits = FORMS[form] if form else 0
        self.half = form == "bf16"
        self.products = () if form is None else _CONVOLUTIONS if form == "TF32" else _CONVOLUTIONS | _MATRICES

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.rand.default:
            return func(*args, **{**kwargs, "device": CPU}).to(kwargs.get("device") or CPU)
        if func is aten.bernoulli_.float:
            return args[0].copy_(torch.empty(args[0].shape).bernoulli_(*args[1:]))
        if func not in self.products:
            return func(*args, **kwargs)
        found = func(*tree_map(self._rounded, args), **kwargs)
        return tree_map(self._rounded, found) if self.half else found

    def _rounded(self, value: Any) -> Any:
        """To the nearest number with so many bits of mantissa."""
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        lost = 23 - self.bits
        return ((value.view(torch.int32) + (1 << (lost - 1))) & -(1 << lost)).view(torch.float32)


class Pass(NamedTuple):
    """A forward pass (N, 3, H, W) and the gradient of one training step, (parameters,), both float64 on the CPU."""

    output: Tensor
    gradient: Tensor


class Distance(NamedTuple):
    """Between two passes: norm of the outputs' difference over the output's, the same of gradients, 1 - the gradients'
    cosine, and how far the ratio of their norms is from 1."""

    output: float
    gradient: float
    turned: float
    stretched: float


def take_pass(
    config: DictConfig, batch: RainyBatch, device: torch.device, form: str = "float32", imitated: str | None = None
) -> Pass:
    """Restore a batch in evaluation mode, then take a training step up to its gradient."""
    network = build.build_network(config).to(device)
    network.to(memory_format=torch.channels_last)
    task = build.build_task(config, network).to(device)
    there = RainyBatch(*(None if part is None else part.to(device) for part in batch))  # type: ignore[arg-type]
    with computing(form, device), Imitation(imitated):
        network.eval()
        with torch.no_grad():
            output = network(there.rainy)
        network.train()
        torch.manual_seed(0)
        task.losses(there, task.steps - 1)["loss"].backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in task.trained_parameters()]
    return Pass(output.double().cpu(), torch.cat([each.flatten().double().cpu() for each in gradients]))


def distance(found: Pass, reference: Pass) -> Distance:
    """How far a pass is from a reference."""
    norms = found.gradient.norm().item(), reference.gradient.norm().item()
    return Distance(
        ((found.output - reference.output).norm() / reference.output.norm()).item(),
        (found.gradient - reference.gradient).norm().item() / norms[1],
        1 - (found.gradient @ reference.gradient).item() / (norms[0] * norms[1]),
        abs(norms[0] / norms[1] - 1),
    )


def parity(run: Run) -> Iterator[tuple[str, Check]]:
    """Every network: the device against float32 on the CPU. The tolerance is sixteen times the error that the CPU
    itself makes when it rounds the inputs of products to the form's bits of mantissa."""
    if reason := forms(run.device)[1]:
        yield "forms", partial(skipped, reason)
    names = preset_names()
    first = [name for name in names if name.endswith(("_small", "_tiny"))] + list(NETWORKS_OF_PAPER)
    chosen = ["unet_tiny", "swinir_tiny"] if run.tiny else [*first, *(name for name in names if name not in first)]
    stop = time.monotonic() + max(run.left() / 5, 45)
    for name in chosen:
        if time.monotonic() > stop:
            yield name, partial(skipped, "no time left")
        else:
            yield name, partial(check_parity, run, name)


def check_parity(run: Run, name: str) -> Outcome:
    """One network in all forms. The loss is the squared error: that of l1 has steps wherever nothing rains."""
    config = run.config(f"network={name}", "schedule.batch_size=2", "task.loss._target_=slackoff.losses.MSE")
    if build.nothing_to_train(config):
        return skipped("it has nothing to train, and computes in float64")
    batch = _stream(config, CPU).batch(0)
    reference = take_pass(config, batch, CPU)
    shares, figures = {}, {}
    for form in forms(run.device)[0]:
        found = distance(take_pass(config, batch, run.device, form), reference)
        imitated = distance(take_pass(config, batch, CPU, imitated=form), reference)
        output, gradient = (_MOST_IMITATED * max(error, _FLOOR) for error in imitated[:2])
        shares[form] = found.output / output if all(map(math.isfinite, found)) else math.inf
        if gradient < 1:  # else rounding alone may turn it anywhere
            shares[form] = max(shares[form], math.sqrt(2 * max(0, found.turned)) / gradient, found.stretched / gradient)
        figures[form] = {**found._asdict(), "output_limit": output, "gradient_limit": gradient}
    detail = ", ".join(f"{form} {share:.2g}" for form, share in shares.items())
    return judged(all(share <= 1 for share in shares.values()), f"of what rounding allows: {detail}", **figures)


def _stream(config: DictConfig, device: torch.device) -> BatchStream:
    stream = build.build_data(config, build.build_bank(config, build.build_backgrounds(config))).open_stream(device)
    assert isinstance(stream, BatchStream)
    return stream


def batches(run: Run) -> Iterator[tuple[str, Check]]:
    """One seed gives the same batches on both devices and each time, for every rain range."""
    for name in RANGES:
        yield name, partial(check_batches, run, name)


def check_batches(run: Run, rain: str) -> Outcome:
    """Backgrounds, so what is drawn, must be equal to the bit. Rain is cut to whole grey levels after transforms in
    float32: one level off is rounding, in at most a hundredth of the pixels."""
    config = run.config(f"rain={rain}")
    here, there, again = _stream(config, CPU), _stream(config, run.device), _stream(config, run.device)
    equal, repeated, worst, off = True, True, 0.0, 0.0
    for step in range(4):
        ours, theirs, second = here.batch(step), there.batch(step), again.batch(step)
        repeated &= all(torch.equal(a, b) for a, b in zip(theirs[:3], second[:3], strict=True))
        equal &= torch.equal(ours.background, theirs.background.cpu())
        for here_part, there_part in ((ours.rain, theirs.rain), (ours.rainy, theirs.rainy)):
            levels = 255 * (here_part - there_part.cpu()).abs()
            worst, off = max(worst, levels.max().item()), max(off, (levels > 0.5).float().mean().item())
    detail = f"{worst:.3g} grey levels apart at most, {off:.2%} of the pixels"
    detail = detail if equal else f"other backgrounds are drawn than on a CPU; {detail}"
    detail = detail if repeated else f"the same seed gives other bits a second time; {detail}"
    passed = equal and repeated and worst < 1.01 and off < 0.01
    return judged(passed, detail, equal=equal, repeated=repeated, levels=worst, share=off)


def rain(run: Run) -> Iterator[tuple[str, Check]]:
    """Rain layers a second."""
    for name in RANGES:
        yield name, partial(check_rain, run, name)


def check_rain(run: Run, name: str) -> Outcome:
    """Layers of 128 px in batches of 16 as the paper's (64 px in fours on a CPU); all must be in [0, 1]."""
    count, side = (4, 64) if run.tiny else (16, 128)
    rain_range = build.build(run.config(f"rain={name}").rain, "rain")
    layers = partial(render_streaks, rain_range, count, side, side, Generator().manual_seed(0), device=run.device)
    low, high = (value.item() for value in layers().aminmax())
    seconds = _seconds(run, layers, budget_s=0.1 if run.tiny else 1.0)
    rate = count / seconds
    return judged(
        0 <= low < high <= 1, f"{rate:,.0f} layers/s of {side} px, values {low:.2g} to {high:.2g}", layers_per_s=rate
    )


def _seconds(run: Run, call: Callable[[], object], budget_s: float) -> float:
    """Of one call, after two that are not timed; about ``budget_s`` in all, three calls at least, thirty at most."""
    for _ in range(2):
        run.synchronise()
        started = time.perf_counter()
        call()
        run.synchronise()
    once = time.perf_counter() - started
    count = min(30, max(3, int(budget_s / max(once, 1e-6))))
    started = time.perf_counter()
    for _ in range(count):
        call()
    run.synchronise()
    return (time.perf_counter() - started) / count


@contextmanager
def at_steps(before: Callable[[int], object], after: Callable[[int], object] = lambda step: None) -> Iterator[None]:
    """Call at the start of each training step of a cell (with the steps taken so far) and at its end."""

    class Watched(StepSeed):
        def on_train_batch_start(self, trainer: Trainer, *rest: Any) -> None:
            super().on_train_batch_start(trainer, *rest)
            before(trainer.global_step)

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            after(trainer.global_step)

    with mock.patch.object(training, "StepSeed", Watched):
        yield


def train(overrides: list[str], runs: Path, ranks: int = 1, rank: str = "slackoff.cell.ranks") -> tuple[Path, CellExit]:
    """Train a cell as its own process would; where it is not the first time it goes on from its checkpoint."""
    cell = plan_cell(overrides, runs)
    if not cell.folder.exists():
        write_cell_folder(cell)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    class Logged(subprocess.Popen):  # type: ignore[type-arg]
        """Ranks, whose output goes to the cell's folder; ``rank`` is their program."""

        def __init__(self, command: list[str], **options: Any) -> None:
            words = [rank if word == "slackoff.cell.ranks" else word for word in command]
            with (cell.folder / "log.txt").open("ab") as log:
                super().__init__(words, **{**options, **({"stdout": log, "stderr": log} if rank in words else {})})

    try:
        with mock.patch.object(subprocess, "Popen", Logged), redirect_stderr(StringIO()):
            return cell.folder, cell_program.main(cell.folder, LaunchOptions(ranks=ranks))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _done(overrides: list[str], runs: Path, ranks: int = 1) -> Path:
    folder, code = train(overrides, runs, ranks)
    if code != CellExit.DONE:
        raise RuntimeError(_why(folder))
    return folder


def _why(folder: Path) -> str:
    status = read_status(folder)
    return f"the cell is {status.state}: {status.last_error}" if status else "the cell has no status"


SEMI_SUPERVISED = ["task=semi_supervised", "task.supervised=3steps", "unlabelled=synthesised"]


def resume(run: Run) -> Iterator[tuple[str, Check]]:
    """A cell that is stopped and goes on ends with the bits of one that is not."""
    networks = ("unet_tiny", "unet_tiny") if run.tiny else ("unet_small", "moss_small")
    yield "supervised", partial(check_resume, run, [f"network={networks[0]}"], "supervised")
    semi = [f"network={networks[1]}", *SEMI_SUPERVISED, "unlabelled.patch_count=4"]
    yield "semi-supervised", partial(check_resume, run, semi, "semi")


def check_resume(run: Run, given: list[str], name: str) -> Outcome:
    """Weights and the optimiser's state, to the bit; where they differ, whether two undisturbed runs do, too."""
    steps = ["schedule.steps=12", "schedule.evaluate_every=12", "schedule.log_every=4", "schedule.checkpoint_every=100"]
    overrides = run.overrides(*given, *steps, "evaluation.count=2")
    undisturbed = _done(overrides, run.folder / f"{name}-undisturbed")
    stopped = run.folder / f"{name}-stopped"
    with at_steps(lambda step: signal.raise_signal(signal.SIGTERM) if step == 5 else None):
        folder, code = train(overrides, stopped)
    if code != CellExit.INTERRUPTED:
        return judged(False, f"it did not stop at step 6 ({code.name}): {_why(folder)}")
    _done(overrides, stopped)
    different = _different(undisturbed, folder)
    if not different:
        return judged(True, "stopped at step 6 of 12: equal weights and optimiser state")
    repeated = _different(undisturbed, _done(overrides, run.folder / f"{name}-repeated"))
    cause = "two undisturbed runs differ, too" if repeated else "two undisturbed runs are equal"
    return judged(False, f"{len(different)} tensors differ, the first is {different[0]}; {cause}", different=different)


def _different(one: Path, other: Path) -> list[str]:
    """The weights and optimiser states that two cells do not share to the bit."""
    ours, theirs = _tensors(one), _tensors(other)
    both = ours.keys() & theirs.keys()
    return sorted((ours.keys() ^ theirs.keys()) | {name for name in both if not torch.equal(ours[name], theirs[name])})


def _tensors(folder: Path) -> dict[str, Tensor]:
    tensors = {f"{path.stem}.{k}": v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    for number, state in checkpoint["optimizer_states"][0]["state"].items():
        tensors |= {f"optimiser.{number}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


_READS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._linalg_check_errors.default,
}


class HostReads(TorchDispatchMode):
    """Raises where an operation on a GPU would have to wait for its result: what shows of that on a CPU.

    What lies on the host when a GPU trains may be read: Adam's step counters, and where to crop.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        masked = func in (aten.index.Tensor, aten.index_put_.default) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if (func in _READS or masked) and not _on_host():
            raise RuntimeError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def _on_host() -> bool:
    """Whether the innermost caller that is not torch itself, or is its optimiser, works on the host."""
    frame = sys._getframe(1)  # of __torch_dispatch__
    while frame := frame.f_back:  # type: ignore[assignment]
        parts = Path(frame.f_code.co_filename).parts
        if parts[-3:-1] == ("torch", "optim") or frame.f_code.co_qualname.startswith("ImageBank."):
            return True
        if "torch" not in parts:
            return False
    return False


@contextmanager
def _no_waiting(device: torch.device) -> Iterator[None]:
    """Any synchronisation of host and device raises."""
    if device.type == "cpu":
        with HostReads():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


NETWORK_OF_TASK = {
    "supervised": "unet_small",
    "multitask": "unet_small",
    "semi_supervised": "moss_small",
    "sirr": "sirr",
}


def sync(run: Run) -> Iterator[tuple[str, Check]]:
    """No waiting for the device between two looks of the NaN watch, in every task."""
    tasks = sorted(path.stem for path in (Path(__file__).parents[1] / "conf/task").glob("*.yaml"))
    for task in tasks:
        network = NETWORK_OF_TASK.get(task, f"{task}_small")
        yield task, partial(check_sync, run, task, "unet_tiny" if run.tiny and network == "unet_small" else network)


def check_sync(run: Run, task: str, network: str) -> Outcome:
    """The third to sixth step of a real cell, with all that happens between them; logging and evaluations are later."""
    rare = [f"schedule.{key}=100" for key in ("evaluate_every", "checkpoint_every", "log_every")]
    given = [f"network={network}", f"task={task}", "schedule.steps=8", "evaluation.count=1", *rare]
    if task in ("semi_supervised", "sirr", "syn2real"):
        given += ["unlabelled=synthesised", "unlabelled.patch_count=4", "unlabelled.batch_size=2"]
    if task == "semi_supervised":
        given += ["task.supervised=1steps"]
    given += ["schedule.batch_size=2"] if run.tiny else []
    with ExitStack() as armed:

        def before(step: int) -> None:
            if step == 2:
                armed.enter_context(_no_waiting(run.device))

        with at_steps(before, lambda step: armed.close() if step == 6 else None):
            folder, code = train(run.overrides(*given), run.folder / f"sync-{task}")
    if code == CellExit.DONE:
        return judged(True, f"{network}: steps 3 to 6 never wait")
    error = folder / "error.txt"
    trace = error.read_text(encoding="utf-8") if error.exists() else ""
    own = re.findall(r"slackoff/(\S+\.py)\", line (\d+), in", trace)
    place = f" at {':'.join(own[-1])}" if own else ""
    return judged(False, f"{network}: {_why(folder)}{place}", traceback=trace)


PEAKS = {
    **dict.fromkeys(("H200", "H100"), (67, 495, 989)),
    **{"A100": (19.5, 156, 312), "L40S": (91.6, 183, 362), "L4": (30.3, 60, 121), "A40": (37.4, 74.8, 149.7)},
    **{"RTX 4090": (82.6, 82.6, 165.2), "RTX 3090": (35.6, 35.6, 71.2)},
}
"""TFLOP/s of float32, TF32 and bf16 by the vendor's data sheets, dense matrices; the fastest form of each chip."""


def peak(name: str, form: str) -> float | None:
    """TFLOP/s that a device could reach; None for one that is not known, or only a part of one (MIG)."""
    known = next((key for key in PEAKS if re.search(rf"\b{key}\b", name)), None)
    return None if known is None or "MIG" in name else PEAKS[known][list(FORMS).index(form)]


def speed(run: Run) -> Iterator[tuple[str, Check]]:
    """A training step of the paper's networks on 16 patches of 128 px, in every form."""
    networks = ("unet_tiny",) if run.tiny else ("unet", "resnet", "swinir")
    for network in networks:
        for form in forms(run.device)[0]:
            for benchmark in (False, True) if not run.tiny or form == "float32" else (False,):
                yield (
                    f"{network}, {form}{', cudnn.benchmark' * benchmark}",
                    partial(check_speed, run, network, form, benchmark),
                )
    for network in networks:  # last: a compilation may take all the time that is left
        form = "float32" if run.tiny else forms(run.device)[0][-1]
        yield f"{network}, {form}, compiled", partial(check_speed, run, network, form, compiled=True)


def check_speed(run: Run, network: str, form: str, benchmark: bool = False, compiled: bool = False) -> Outcome:
    """More than the vendor's peak means that the clock was stopped before the device was done."""
    if run.left() < (90 if compiled else 20):
        return skipped("no time left")
    given = [f"network={network}", f"trainer.precision={'bf16-mixed' if form == 'bf16' else '32-true'}"]
    config = run.config(*given, *([] if run.tiny else ["size=paper"]))
    on_gpu = run.device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(run.device)
    with computing(form, run.device, benchmark):
        loop, steps = BareLoop(config), iter(range(1_000_000))
        if compiled:
            loop.network.compile(backend="aot_eager" if run.tiny else "inductor")
            try:
                with time_limit(min(120, run.left() - 60)):
                    loop.step(next(steps))
            except Exception as error:
                if "longer than" not in str(error):
                    raise
                return skipped("compiling took too long")
        seconds = _seconds(run, lambda: loop.step(next(steps)), budget_s=0.1 if run.tiny else 1.5)
    if network not in run.flops:
        run.flops[network] = count_step(config)
    rate = run.flops[network] / seconds / 1e12
    if not (benchmark or compiled) and form == ("TF32" if on_gpu else "float32"):
        run.step_s[network] = seconds  # as size=paper trains
    known = peak(torch.cuda.get_device_name(run.device), form) if on_gpu else None
    share = rate / known if known else None
    memory = torch.cuda.max_memory_allocated(run.device) / 2**30 if on_gpu else None
    detail = f"{1000 * seconds:.4g} ms, {rate:.3g} TFLOP/s"
    detail += "" if share is None else f", {share:.0%} of the peak"
    detail += "" if memory is None else f", {memory:.2g} GiB"
    finite = all(bool(torch.isfinite(weight).all()) for weight in loop.network.parameters())
    return judged(
        finite and (share is None or share <= 1),
        detail if finite else f"{detail}; its weights are no longer finite",
        **{"step_s": seconds, "tflops": rate, "share_of_peak": share, "memory_gib": memory},
    )


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End what takes longer by an alarm; raises TimeoutError, which a compiler may wrap."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def slots(run: Run) -> Iterator[tuple[str, Check]]:
    """Two cells on one GPU at once against one."""
    network = "unet_tiny" if run.tiny else "unet_small"
    yield network, partial(check_slots, run, run.config(f"network={network}"))


def check_slots(run: Run, config: DictConfig) -> Outcome:
    """Two processes: first one trains while the other waits, then both. Less than 0.9 of one's steps is no use."""
    seconds = 0.5 if run.tiny else 4.0
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2, timeout=120)
    ends, processes = [], []
    for number in range(2):
        end, theirs = spawn.Pipe(duplex=False)
        arguments = (OmegaConf.to_yaml(config), number, seconds, barrier, theirs)
        process = spawn.Process(target=_slot, args=arguments, daemon=True)
        process.start()
        theirs.close()
        ends.append(end)
        processes.append(process)
    try:
        found = [end.recv() for end in ends]
    finally:
        for process in processes:
            process.join(20)
            process.kill()
    if failed := [text for text in found if isinstance(text, str)]:
        return judged(False, failed[0])
    (alone, first), (_, second) = found
    ratio = (first + second) / alone
    return judged(
        ratio >= 0.9 or run.tiny,
        f"one {alone:.3g} steps/s, two {first:.3g} + {second:.3g}: {ratio:.2f} times",
        alone=alone,
        together=[first, second],
        ratio=ratio,
    )


def _slot(text: str, number: int, seconds: float, barrier: Barrier, connection: Connection) -> None:
    """Body of one of the two processes: sends its steps/s alone (the first one) and beside the other, or why not."""
    try:
        config = OmegaConf.create(text)
        assert isinstance(config, DictConfig)
        torch.set_num_threads(1)
        loop = BareLoop(config)

        def rate(limit: float) -> float:
            started, steps = time.perf_counter(), 0
            while (spent := time.perf_counter() - started) < limit:
                loop.step(steps)
                if loop.device.type == "cuda":
                    torch.cuda.synchronize()
                steps += 1
            return steps / spent

        rate(seconds / 4)
        barrier.wait()
        alone = rate(seconds) if number == 0 else 0.0
        barrier.wait()
        connection.send((alone, rate(seconds)))
    except Exception as error:
        barrier.abort()
        connection.send(f"{type(error).__name__}: {error}")


def cost(run: Run) -> Iterator[tuple[str, Check]]:
    """GPU-hours of paper150 at the paper's size."""
    yield "paper150", partial(check_cost, run)


def check_cost(run: Run) -> Outcome:
    """Cells of each network times 250,000 steps, without evaluations; a step in float32 with TF32 convolutions."""
    cells = Counter(row.assignments["network"].partition("=")[2] for row in read_manifest("paper150"))
    step_s = {network: _step_s(run, network) for network in cells}
    hours = {network: count * PAPER_STEPS * step_s[network] / 3600 for network, count in cells.items()}
    words = ", ".join(f"{network} {cells[network]} x {seconds:.3g} s" for network, seconds in step_s.items())
    known = [hour for hour in hours.values() if 0 < hour < math.inf]
    detail = f"{sum(known):,.0f} {'hours on this CPU' if run.tiny else 'GPU-hours'} for {cells.total()}: {words}"
    return judged(
        cells.total() == 150 and len(known) == len(cells), detail, hours=hours, step_s=step_s, cells=dict(cells)
    )


def _step_s(run: Run, network: str) -> float:
    """Seconds of a step at the paper's size, measured now where it is not known; NaN where memory does not suffice."""
    if network not in run.step_s:
        try:
            with computing("TF32", run.device):
                config = run.config(f"network={network}", "size=paper")
                run.step_s[network] = measure_step(config, torch.get_num_threads(), budget_s=0.5).seconds
        except torch.OutOfMemoryError:
            return math.nan
    return run.step_s[network]


def evaluation(run: Run) -> Iterator[tuple[str, Check]]:
    """What the Evaluator measures is float32, whatever is allowed around it."""
    for network in ("unet_tiny",) if run.tiny else ("unet_small", "swinir_tiny", "rcdnet_small"):
        yield network, partial(check_evaluation, run, network)


def check_evaluation(run: Run, network: str) -> Outcome:
    """Restored images on the device, TF32 allowed everywhere, against those on the CPU; tolerance as for parity."""
    config = run.config(f"network={network}", "evaluation.count=4", "evaluation.quick_count=2")
    reference = _restored(config, CPU)
    imitated = _apart(_restored(config, CPU, imitated="float32"), reference)
    with backends(convolutions=True, matrices=True):
        found = _apart(_restored(config, run.device), reference)
    limit = _MOST_IMITATED * max(imitated, _FLOOR)
    return judged(found <= limit, f"{found:.2g} apart, float32 allows {limit:.2g}", apart=found, limit=limit)


def _restored(config: DictConfig, device: torch.device, imitated: str | None = None) -> list[Tensor]:
    """What the network gives the Evaluator for each test image."""
    network, images = build.build_network(config).to(device), []
    network.register_forward_hook(lambda module, given, output: images.append(output.double().cpu()))
    evaluator = build.build_evaluator(config, build.build_backgrounds(config))
    with Imitation(imitated):
        evaluator.evaluate(network)
    return images


def _apart(found: list[Tensor], reference: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(found, reference, strict=True))


_PATIENCE_S = 40
FAULT = "this rank fails on purpose"


def ranks(run: Run) -> Iterator[tuple[str, Check]]:
    """Two ranks train as one process does, and a failure of one ends both."""
    networks = ("unet_tiny", "rcdnet_small") if run.tiny else ("unet_small", "rcdnet_small")
    count = torch.cuda.device_count()
    for name, check in (
        *((network, partial(check_ranks, run, network)) for network in networks),
        ("a failing rank", partial(check_failing_rank, run, networks[0])),
    ):
        yield name, check if run.tiny or count > 1 else partial(skipped, f"this machine shows {count} GPU, not two")


_RANK_STEPS = ["schedule.steps=4", "schedule.log_every=1", "schedule.evaluate_every=4", "schedule.checkpoint_every=4"]


def check_ranks(run: Run, network: str) -> Outcome:
    """Weights after four steps: no further apart than 2 % of the way that training took them, as Adam makes whole steps
    of the signs of tiny gradients; losses to 0.1 %."""
    overrides = run.overrides(f"network={network}", *_RANK_STEPS, "evaluation.count=1")
    config = plan_cell(overrides, run.folder).config
    start = build.build_network(config)
    if run.tiny and any(isinstance(module, _BatchNorm) for module in start.modules()):
        return skipped("torch normalises over the batches of all ranks on GPUs only")
    folders = [_done(overrides, run.folder / f"{count}-ranks-{network}", count) for count in (1, 2)]
    one, two = (_trained(folder, start) for folder in folders)
    way = (two - one).norm().item() / (one - _trained(None, start)).norm().item()
    losses = [_losses(folder) for folder in folders]
    apart = max(abs(b / a - 1) for a, b in zip(*losses, strict=True))
    detail = f"weights {way:.2%} of the way apart, losses {apart:.1g}"
    return judged(way < 0.02 and apart < 1e-3, detail, weights=way, losses=apart)


def _trained(folder: Path | None, start: nn.Module) -> Tensor:
    """The parameters of a cell's network, or those it begins with, in one line."""
    weights = load_file(folder / "network.safetensors") if folder else start.state_dict()
    return torch.cat([weights[name].flatten().double() for name, _ in start.named_parameters()])


def _losses(folder: Path) -> list[float]:
    return [row["train/loss"] for row in read_lines(folder / "steps.jsonl") if "train/loss" in row]


def check_failing_rank(run: Run, network: str) -> Outcome:
    """The second rank raises at the third step: both end within 40 s, and the cell says why."""
    overrides = run.overrides(f"network={network}", "schedule.steps=100000", "schedule.log_every=500")
    folder, code = train(overrides, run.folder / "failing-rank", ranks=2, rank=__name__)
    seconds = time.time() - (folder / "fault").stat().st_mtime if (folder / "fault").exists() else math.inf
    why = _why(folder)
    passed = code == CellExit.FAILED and FAULT in why and seconds <= _PATIENCE_S
    return judged(passed, f"ended {seconds:.1f} s later; {why}", seconds=seconds, reason=why)


def _fail_as_rank() -> None:
    """Be a rank of a cell, with its arguments; the second one raises when it makes its third batch."""
    make_batch = BatchStream.batch

    def batch(stream: BatchStream, step: int, number: int = 0, count: int = 1) -> RainyBatch:
        if number == 1 and step == 2:
            (Path(sys.argv[1]) / "fault").touch()
            raise ValueError(FAULT)
        return make_batch(stream, step, number, count)

    with mock.patch.object(BatchStream, "batch", batch):
        runpy.run_module("slackoff.cell.ranks", run_name="__main__")


SECTIONS: dict[str, Callable[[Run], Iterator[tuple[str, Check]]]] = {
    section.__name__: section
    for section in (parity, batches, resume, sync, rain, evaluation, slots, ranks, speed, cost)
}

if __name__ == "__main__":
    _fail_as_rank()
