"""A process that trains cells, apart or fused, for as long as it is told to."""

import gc
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.bare_loop import BareLoop
from benchmarks.cell_config import plan_cell
from benchmarks.fusing import WAYS, Cells
from slackoff.sweep.local import make_slots

APART = "apart"
_CHECKED_STEPS = 20
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class FusedCase:
    """Cells of one shape: choices of ``conf/network`` and ``conf/size``, and a ``trainer.precision``."""

    network: str
    size: str
    precision: str

    def loops(self, cells: int, runs: Path) -> list[BareLoop]:
        """Cells that differ in nothing but the seed, each with a patch bank and a batch stream of its own."""
        own = [f"network={self.network}", f"size={self.size}", f"trainer.precision={self.precision}"]
        return [BareLoop(plan_cell([*own, f"seed={seed}"], runs).config) for seed in range(cells)]


class Worker:
    """The parent's end of a training process in the environment of a sweep's slot."""

    def __init__(self, case: FusedCase, runs: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(case, runs, theirs))
        with mock.patch.dict(os.environ, make_slots()[0].environment):
            self.process.start()
        theirs.close()

    def ask(self, *message: Any) -> Any:
        self.connection.send(message)
        return self.answer()

    def answer(self) -> Any:
        """What it answers.

        Raises:
            RuntimeError: it failed or died.
        """
        try:
            answer = self.connection.recv() if self.connection.poll(_PATIENCE_S) else "no sign of life"
        except EOFError:
            answer = "the process died"
        if isinstance(answer, str):
            raise RuntimeError(f"Fused cells: {answer}")
        return answer

    def stop(self) -> None:
        self.connection.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()


def _work(case: FusedCase, runs: Path, connection: Connection) -> None:
    """Body of a training process: does what it is asked until nobody asks."""
    trainer = _Trainer(case, runs)
    with suppress(EOFError):
        while True:
            what, *arguments = connection.recv()
            try:
                connection.send(trainer.answer(what, arguments))
            except Exception:
                connection.send(traceback.format_exc())


class _Trainer:
    """Cells in one process, by way and number; kept from turn to turn, but for one number at a time."""

    def __init__(self, case: FusedCase, runs: Path) -> None:
        self.case, self.runs = case, runs
        self.made: dict[tuple[str, int], Cells | BareLoop] = {}
        self.ready: Cells | BareLoop | None = None
        self.cells, self.number = 1, 0

    def answer(self, what: str, arguments: Sequence[Any]) -> Any:
        answers: dict[str, Callable[..., Any]] = {
            "difference": self.difference,
            "get ready": self.get_ready,
            "run": self.run,
        }
        return answers[what](*arguments)

    def difference(self, way: str, cells: int) -> float:
        """Distance from the cells apart, relative to the way of training."""
        apart, fused = (self.case.loops(cells, self.runs) for _ in range(2))
        return difference_after(_CHECKED_STEPS, WAYS[way](fused), apart)

    def get_ready(self, way: str, cells: int, threads: int) -> bool:
        """Make what runs next, and let it take a step that is not timed."""
        torch.set_num_threads(threads)
        if (way, cells) not in self.made:
            self.made = {key: value for key, value in self.made.items() if key[1] in (1, cells)}
            gc.collect()
            loops = self.case.loops(cells, self.runs)
            self.made[way, cells] = loops[0] if way == APART else WAYS[way](loops)
        self.ready, self.cells = self.made[way, cells], cells
        self._step()
        return True

    def run(self, seconds: float) -> float:
        """Steps/s of all cells over so many seconds, a step at least."""
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < seconds or not steps:
            self._step()
            steps += 1
        return steps * self.cells / (time.perf_counter() - started)

    def _step(self) -> None:
        assert self.ready is not None
        self.ready.step(self.number)
        self.number += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def difference_after(steps: int, fused: Cells, apart: Sequence[BareLoop]) -> float:
    """Train both ways; the largest distance of a fused cell's weights from the same cell apart, over its way so far."""
    starts = [_flat(dict(loop.network.named_parameters())) for loop in apart]
    for number in range(steps):
        fused.step(number)
        for loop in apart:
            loop.step(number)
    differences = []
    for cell, (loop, start) in enumerate(zip(apart, starts, strict=True)):
        end = _flat(dict(loop.network.named_parameters()))
        differences.append(float((_flat(fused.weights(cell)) - end).norm() / (end - start).norm()))
    return max(differences)


def _flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([weights[name].detach().flatten() for name in sorted(weights)])
