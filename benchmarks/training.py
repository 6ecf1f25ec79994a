"""Training steps/s of the three ways, taken in turns within one run so that all see the same machine."""

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks import contestants
from benchmarks.cell_config import plan_cell
from benchmarks.gate import Stretch

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Race:
    """One network trained in all three ways.

    Args:
        network: a choice of ``conf/network``.
        stretches: the length of a turn, for each way.
        rounds: how many turns each way gets at each number of threads.
        threads: CPU threads a training process may use; 1 is what a sweep gives a cell on two cores.
        overrides: further overrides of the cell's config.
    """

    network: str
    stretches: dict[str, Stretch]
    rounds: int
    threads: tuple[int, ...] = (1, 2)
    overrides: tuple[str, ...] = ()


@dataclass
class Rates:
    """Steps/s of every turn: ``by_way[way][round]``."""

    network: str
    threads: int
    by_way: dict[str, list[float]] = field(default_factory=dict)

    def ratios(self, way: str, reference: str) -> list[float]:
        """How many times quicker one way was than another, round by round."""
        return [a / b for a, b in zip(self.by_way[way], self.by_way[reference], strict=True)]


class Contestant:
    """The parent's end of a gated training process."""

    def __init__(self, way: str, race: Race, runs: Path) -> None:
        self.way, self.stretch = way, race.stretches[way]
        turns = race.rounds * len(race.threads)
        cell = plan_cell(_overrides(race, self.stretch, turns), runs / way.replace(" ", "_"))
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=contestants.process, args=(way, cell, self.stretch, turns, theirs)
        )
        self.process.start()
        theirs.close()

    def turn(self, threads: int) -> float:
        """Let it run one stretch on so many threads; steps/s."""
        self.connection.send(threads)
        return self.stretch.timed / self.receive()

    def receive(self) -> float:
        """Wait until it stands at the gate.

        Raises:
            RuntimeError: the process failed or died.
        """
        message = _receive(self.connection, self.way)
        if isinstance(message, str):
            raise RuntimeError(f"The benchmark's {self.way} failed:\n{message}")
        return message

    def finish(self) -> None:
        """Let it take its last step and end, as a cell does."""
        self.connection.send(1)
        self.process.join(_PATIENCE_S)

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
        self.process.join()


def run_race(race: Race, runs: Path, say: Callable[[str], None]) -> list[Rates]:
    """Train in all ways, in turns; one ``Rates`` for each number of threads.

    Raises:
        RuntimeError: one of the processes failed.
    """
    rates = [Rates(race.network, threads, {way: [] for way in contestants.WAYS}) for threads in race.threads]
    say(f"training {race.network}: starting three processes")
    racers = [Contestant(way, race, runs / race.network) for way in contestants.WAYS]
    try:
        for contestant in racers:
            contestant.receive()
        for number in range(race.rounds):
            say(f"training {race.network}: round {number + 1} of {race.rounds}")
            for rate in rates:
                for contestant in racers:
                    rate.by_way[contestant.way].append(contestant.turn(rate.threads))
        for contestant in racers:
            contestant.finish()
    finally:
        for contestant in racers:
            contestant.stop()
    return rates


def _overrides(race: Race, stretch: Stretch, turns: int) -> Sequence[str]:
    """The laptop preset, with one checkpoint in each turn and no evaluation while the clock runs."""
    steps = turns * stretch.steps + 1
    return [
        f"network={race.network}",
        f"schedule.steps={steps}",
        f"schedule.checkpoint_every={stretch.steps}",
        f"schedule.evaluate_every={steps}",
        "evaluation.count=2",
        "evaluation.quick_count=1",
        "evaluation.picture_count=1",
        *race.overrides,
    ]


def _receive(connection: Connection, way: str) -> float | str:
    try:
        if connection.poll(_PATIENCE_S):
            return connection.recv()
    except EOFError:
        return f"the process of the {way} died"
    return f"no sign of life for {_PATIENCE_S:.0f} s"
