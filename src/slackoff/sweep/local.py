"""Cells as processes of this machine: how many at once, what each may use, and how they are started."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile

from slackoff.cell.launch import CellExit, LaunchOptions, start_cell_process
from slackoff.errors import SlackoffError
from slackoff.record.ledger import Attempt
from slackoff.sweep.backend import Backend, RunningCell, Slot, read_exit_code
from slackoff.sweep.plan import Cell

_MIG_OR_NUMBER = re.compile(r"(?<=^GPU )\d+|MIG-[^)\s]+")
"""In the lines of ``nvidia-smi -L`` about one GPU: its number, then the identifiers of its MIG instances."""


class LocalBackend(Backend):
    """Starts each cell in a process of its own, which reads its own resolved config, never the sweep's command line."""

    def start(self, cell: Cell, slot: Slot, after: int) -> "CellProcess":
        return CellProcess(cell, slot, after)


class CellProcess(RunningCell):
    """A cell in a process of this machine, which is started at once; ``after`` as in ``RunningCell``.

    Raises:
        OSError: its log or its process cannot be made.
    """

    def __init__(self, cell: Cell, slot: Slot, after: int) -> None:
        super().__init__(cell, slot, after)
        self.started = time.monotonic()
        options = LaunchOptions(after, slot.ranks, slot.name, self.started)
        self.process = start_cell_process(cell.folder, options, slot.environment)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            if not self.ended():  # else its number may be that of another process by now
                os.killpg(self.process.pid, signal.SIGKILL)

    def _send_stop(self) -> None:
        self.process.terminate()

    def _how_ended(self) -> CellExit | str:
        code = self.process.poll()
        assert code is not None
        return read_exit_code(code)

    def _owns(self, attempt: Attempt) -> bool:
        owner = attempt.owner
        return owner is not None and owner.is_local() and owner.pid == self.process.pid


def make_slots(
    slots: int | str = "auto",
    threads: int | str = "auto",
    gpus: Sequence[int] | str = "auto",
    slots_per_gpu: int = 1,
    gpus_per_cell: int = 1,
) -> list[Slot]:
    """Slots on the GPUs where there are any; else the cores are shared out.

    On a CPU the number of threads depends on the machine alone, never on how many cells are left: the same cell gives
    the same bits, whatever it runs beside.

    Args:
        slots: cells at once on a CPU, and no more than these on GPUs; "auto" is up to eight on a CPU, all on GPUs.
        threads: CPU threads a rank; "auto" shares the cores out.
        gpus: which of the visible GPUs; "auto" is all.
        slots_per_gpu: cells at once on each GPU.
        gpus_per_cell: GPUs that train a cell together, a rank each; on a CPU so many ranks.

    Raises:
        SlackoffError: settings that cannot be on this machine.
    """
    found = _choose(_visible_gpus(), gpus)
    if found:
        places = _gpu_places(found, slots_per_gpu, gpus_per_cell)
        places = places if slots == "auto" else places[: int(slots)]
    else:
        cores = usable_cores()
        count = max(1, min(cores, 8) // gpus_per_cell) if slots == "auto" else int(slots)
        places = [(f"cpu {number}", {}) for number in range(count)]
    per_rank = usable_cores() // (len(places) * gpus_per_cell) if threads == "auto" else int(threads)
    common = {key: str(max(1, per_rank)) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    common["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # a tenth off a small network's step: far fewer page faults
    return [Slot({**common, **own}, name, gpus_per_cell) for name, own in places]


def _gpu_places(gpus: Sequence[str], slots_per_gpu: int, gpus_per_cell: int) -> list[tuple[str, dict[str, str]]]:
    """Name and environment of each place: groups of GPUs, the first place of each group before any second one."""
    if gpus_per_cell > len(gpus):
        raise SlackoffError(
            f"hydra.launcher.gpus_per_cell={gpus_per_cell} is more than the {len(gpus)} GPUs of this machine"
        )
    groups = [",".join(gpus[start : start + gpus_per_cell]) for start in range(0, len(gpus), gpus_per_cell)]
    groups = [group for group in groups if group.count(",") == gpus_per_cell - 1]
    return [
        (f"gpu {group}" if not number else f"gpu {group} #{number + 1}", {"CUDA_VISIBLE_DEVICES": group})
        for number in range(slots_per_gpu)
        for group in groups
    ]


def _choose(visible: list[str], wanted: Sequence[int] | str) -> list[str]:
    """Those of the visible GPUs that are wanted, by their position."""
    if wanted == "auto":
        return visible
    try:
        return [dict(enumerate(visible))[int(number)] for number in wanted]
    except KeyError as error:
        raise SlackoffError(
            f"hydra.launcher.gpus={wanted} does not fit the {len(visible)} GPUs of this machine: "
            "give auto or a list such as [0,1]"
        ) from error


def usable_cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible_gpus() -> list[str]:
    """Identifiers of the visible GPUs, without importing torch: a GPU that is cut into MIG instances is its instances.

    As in CUDA, the list in ``CUDA_VISIBLE_DEVICES`` ends where something stands that is no GPU, such as -1.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return list(takewhile(lambda name: name not in ("", "-1"), map(str.strip, visible.split(","))))
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    gpus: list[str] = []
    for number, *instances in map(_MIG_OR_NUMBER.findall, re.split(r"(?m)^(?=GPU \d)", listing.stdout)[1:]):
        gpus += instances or [number]
    return gpus
