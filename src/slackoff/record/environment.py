"""What a machine computes on and how well, and what the record says of it: hardware, versions, commit."""

import os
import platform
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from typing_extensions import TypedDict

from slackoff import __version__
from slackoff.errors import SlackoffError
from slackoff.record.files import Natural, read_json

FLOAT32, BFLOAT16, FLOAT16 = "32-true", "bf16-mixed", "16-mixed"

_BF16_COMPUTE_CAPABILITY = (8, 0)
_ISA_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA under which oneDNN convolves in float32 whatever the processor could do."""
_PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "wandb", "torchmetrics", "pandas", "numpy", "pillow")


def describe_environment() -> dict[str, Any]:
    """Collect what ``environment.json`` holds; whatever cannot be found out is None."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    kind = "cuda" if gpu else "cpu"
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "device": kind,
        "gpu": gpu,
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_in_hardware": bf16_in_hardware(kind),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "packages": {"slackoff": __version__, **{name: version(name) for name in _PACKAGES}},
    }


class _File(TypedDict, total=False):
    """What of ``environment.json`` is read again."""

    python: str
    gpu: str | None
    cpu: str | None
    threads: Natural
    git_commit: str | None
    git_dirty: bool
    packages: dict[str, str | None]


def read_environment(folder: Path) -> dict[str, Any]:
    """What ``environment.json`` of a cell says; empty where the cell has none.

    Raises:
        DamagedFileError: a key is of another type.
        OSError: it cannot be read.
    """
    try:
        return dict(read_json(folder / "environment.json", _File))
    except FileNotFoundError:
        return {}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this package runs from; None where it is installed otherwise."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def device_kind(accelerator: str, visible_gpus: str | None = None) -> str:
    """'cuda' or 'cpu': where a cell with this ``trainer.accelerator`` trains on this machine.

    'auto' never chooses Apple's MPS, which has no float64 and so cannot render rain.

    Args:
        accelerator: 'auto', 'cpu' or 'gpu'.
        visible_gpus: what ``CUDA_VISIBLE_DEVICES`` is where the cell runs; None: what it is here.

    Raises:
        SlackoffError: a GPU was asked for, or given by ``CUDA_VISIBLE_DEVICES``, and torch finds none.
    """
    if accelerator == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    visible_gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "") if visible_gpus is None else visible_gpus
    given = visible_gpus.partition(",")[0].strip()
    if accelerator == "gpu" or given not in ("", "-1"):
        asked = "trainer.accelerator=gpu asks for" if accelerator == "gpu" else f"CUDA_VISIBLE_DEVICES={given} names"
        raise SlackoffError(
            f"{asked} a GPU, but torch {torch.__version__} finds none: look whether nvidia-smi lists it and torch is a "
            "build for CUDA, or train on the CPU with trainer.accelerator=cpu hydra.launcher.gpus=[]"
        )
    return "cpu"


def auto_precision(accelerator: str) -> str:
    """What ``trainer.precision=auto`` means on this machine: bf16 where the hardware has it, else float32."""
    return BFLOAT16 if bf16_in_hardware(device_kind(accelerator)) else FLOAT32


def bf16_in_hardware(kind: str) -> bool:
    """Whether a 'cuda' or 'cpu' device has instructions for bfloat16; elsewhere it is emulated, and slow.

    Neither library's own query is enough. oneDNN's is true on any AVX-512, torch's does not know of
    ``ONEDNN_MAX_CPU_ISA``, and torch counts emulated bf16 on GPUs as supported.
    """
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= _BF16_COMPUTE_CAPABILITY
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    onednn = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if limit.upper() in _ISA_WITHOUT_BF16 or not onednn:
        return False
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return True  # on other processors oneDNN asks for the instructions themselves


@cache
def bf16_slowdown(kind: str) -> float:
    """How many times as long as in float32 a convolution with its gradients takes in bfloat16, timed now (in 1 s).

    On a CPU in processor time of one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images = torch.rand(8, 16, 64, 64, device=kind).to(memory_format=torch.channels_last)
    kernels = torch.rand(16, 16, 3, 3, device=kind)
    clock = time.perf_counter if kind == "cuda" else time.process_time  # other programs do not count
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = images.to(dtype).requires_grad_(), kernels.to(dtype).requires_grad_()
        rounds = []
        for _ in range(5):
            started = clock()
            F.conv2d(x, weight, padding=1).sum().backward()
            if kind == "cuda":
                torch.cuda.synchronize()
            rounds.append(clock() - started)
        times[dtype] = min(rounds)
    torch.set_num_threads(threads)
    return times[torch.bfloat16] / times[torch.float32]


def refuse_float16_on_cpu(precision: str, kind: str) -> None:
    """Lightning would make bfloat16 of it without a word, and the record would name another precision.

    Raises:
        SlackoffError: float16 on a CPU.
    """
    if precision == FLOAT16 and kind == "cpu":
        raise SlackoffError(
            "trainer.precision=16-mixed trains on GPUs only, and here cells train on a CPU: choose 32-true, or auto "
            "for what the hardware does best"
        )


def is_emulated(precision: str, kind: str) -> bool:
    """Whether a device works in a precision that it has no instructions for."""
    return precision == BFLOAT16 and not bf16_in_hardware(kind)


def hardware_warnings(precision: str, accelerator: str, visible_gpus: str | None = None) -> list[str]:
    """What a person should know before cells train like that on this machine, a sentence each.

    Args:
        precision: ``trainer.precision``, settled.
        accelerator, visible_gpus: as in ``device_kind``.

    Raises:
        SlackoffError: cells cannot train like that here.
    """
    kind = device_kind(accelerator, visible_gpus)
    refuse_float16_on_cpu(precision, kind)
    found = []
    if is_emulated(precision, kind):
        found.append(
            f"trainer.precision=bf16-mixed is emulated on this {'GPU' if kind == 'cuda' else 'processor'}: a "
            f"convolution takes {bf16_slowdown(kind):.1f} times as long as in float32 (trainer.precision=32-true)"
        )
    if kind == "cpu" and accelerator == "auto" and torch.backends.mps.is_available():
        found.append("Cells train on the CPU: this Mac's GPU has no float64, in which rain is rendered")
    return found
