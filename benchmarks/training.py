"""Training steps/s of the three ways, taken in turns within one run so that all see the same machine."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from benchmarks import contestants
from benchmarks.cell_config import plan_cell
from benchmarks.gate import Stretch
from slackoff.sweep.local import make_slots

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Setting:
    """CPU threads of a training process, and how many of them train at the same moment."""

    threads: int
    cells: int = 1

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return threads if self.cells == 1 else f"{self.cells} cells x {threads}"


@dataclass(frozen=True)
class Race:
    """One network trained in all three ways.

    Args:
        network: a choice of ``conf/network``.
        stretches: the length of a turn, for each way.
        rounds: how many turns each way gets in each setting.
        settings: what a turn may use.
    """

    network: str
    stretches: dict[str, Stretch]
    rounds: int
    settings: tuple[Setting, ...] = (Setting(1), Setting(2))

    def turns(self, copy: int) -> int:
        """How many turns the first (0), second (1), ... process of each way gets."""
        return self.rounds * sum(setting.cells > copy for setting in self.settings)


@dataclass
class Rates:
    """Steps/s of every turn, summed over the cells that train at once: ``by_way[way][round]``."""

    network: str
    setting: str
    by_way: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in contestants.WAYS})

    def ratios(self, way: str, reference: str) -> list[float]:
        """How many times quicker one way was than another, round by round."""
        return [a / b for a, b in zip(self.by_way[way], self.by_way[reference], strict=True)]


class Contestant:
    """The parent's end of a gated training process.

    The plain way runs in the environment as it is; the other two get that of a sweep's slot.
    """

    def __init__(self, way: str, race: Race, copy: int, runs: Path) -> None:
        self.way, self.stretch = way, race.stretches[way]
        turns = race.turns(copy)
        cell = plan_cell(_overrides(race, self.stretch, turns, copy), runs / f"{way}-{copy}".replace(" ", "-"))
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = (way, cell, self.stretch, turns, theirs)
        self.process: BaseProcess = context.Process(target=contestants.process, args=arguments)
        with mock.patch.dict(os.environ, {} if way == "plain way" else make_slots()[0].environment):
            self.process.start()
        theirs.close()

    def let_go(self, threads: int) -> None:
        """Let it run one stretch, or after its last stretch to its end, on so many threads."""
        self.connection.send(threads)

    def wait(self) -> float:
        """Wait until it stands at the gate again; steps/s since.

        Raises:
            RuntimeError: the process failed or died.
        """
        try:
            message = self.connection.recv() if self.connection.poll(_PATIENCE_S) else "no sign of life"
        except EOFError:
            message = "the process died"
        if isinstance(message, str):
            raise RuntimeError(f"The benchmark's {self.way} failed: {message}")
        return self.stretch.timed / message

    def finish(self) -> None:
        """Let it end as a cell does."""
        self.let_go(threads=1)
        self.process.join(_PATIENCE_S)

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
        self.process.join()


def run_race(race: Race, runs: Path, say: Callable[[str], None]) -> list[Rates]:
    """Train in all ways, in turns; one ``Rates`` for each setting.

    Raises:
        RuntimeError: one of the processes failed.
    """
    rates = [Rates(race.network, str(setting)) for setting in race.settings]
    copies = max(setting.cells for setting in race.settings)
    say(f"training {race.network}: starting {copies * len(contestants.WAYS)} processes")
    racers = {
        way: [Contestant(way, race, copy, runs / race.network) for copy in range(copies)] for way in contestants.WAYS
    }
    everyone = [racer for group in racers.values() for racer in group]
    try:
        for racer in everyone:
            racer.wait()
        for number in range(race.rounds):
            say(f"training {race.network}: round {number + 1} of {race.rounds}")
            for setting, rate in zip(race.settings, rates, strict=True):
                for way, group in racers.items():
                    rate.by_way[way].append(_turn(group[: setting.cells], setting.threads))
        for racer in everyone:
            racer.finish()
    finally:
        for racer in everyone:
            racer.stop()
    return rates


def _turn(racers: Sequence[Contestant], threads: int) -> float:
    for racer in racers:
        racer.let_go(threads)
    return sum([racer.wait() for racer in racers])


def _overrides(race: Race, stretch: Stretch, turns: int, seed: int) -> Sequence[str]:
    """The laptop preset, with one checkpoint in each turn and no evaluation while the clock runs."""
    steps = turns * stretch.steps + 1
    return [
        f"network={race.network}",
        f"seed={seed}",
        f"schedule.steps={steps}",
        f"schedule.checkpoint_every={stretch.steps}",
        f"schedule.evaluate_every={steps}",
        "evaluation.count=2",
        "evaluation.quick_count=1",
        "evaluation.picture_count=1",
    ]
