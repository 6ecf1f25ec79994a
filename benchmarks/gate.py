"""Lets several training processes take turns: each runs a stretch of steps, then waits while the others run theirs."""

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch


@dataclass(frozen=True)
class Stretch:
    """One turn: ``settle`` steps that are not timed (caches, filled queues), then ``timed`` steps that are."""

    settle: int
    timed: int

    @property
    def steps(self) -> int:
        return self.settle + self.timed


class Gate:
    """Called before every training step; holds the process back between its turns.

    The other end of the connection sends the number of CPU threads for the next turn and receives the seconds that
    the timed steps took, all that happens between them included (logging, checkpoints, waiting for data).

    Args:
        connection: to the process that hands out turns.
        stretch: the length of a turn.
        turns: how many turns there are; the training must be ``turns * stretch.steps + 1`` steps long.
    """

    def __init__(self, connection: Connection, stretch: Stretch, turns: int) -> None:
        self.connection, self.stretch = connection, stretch
        self.last = turns * stretch.steps
        self.started = 0.0

    def before_step(self, step: int) -> None:
        """Wait for a turn, start the clock or stop it, as ``step`` (counted from 0) demands."""
        place = step % self.stretch.steps
        if place == 0:
            self.connection.send(time.perf_counter() - self.started)
            torch.set_num_threads(self.connection.recv())
        if place == self.stretch.settle:
            self.started = time.perf_counter()
