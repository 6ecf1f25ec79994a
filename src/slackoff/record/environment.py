"""On what a cell was trained: versions, hardware, commit."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from slackoff import __version__
from slackoff.hardware import bf16_in_hardware

_PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "omegaconf",
    "wandb",
    "torchmetrics",
    "pandas",
    "numpy",
    "pillow",
)


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
        "packages": {"slackoff": __version__, **{name: _version(name) for name in _PACKAGES}},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this package runs from; None where it is installed otherwise."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
