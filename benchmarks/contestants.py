"""The three ways to train one cell, each in a process of its own, gated so that they can take turns."""

import os
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np
from omegaconf import OmegaConf

from benchmarks import plain_way
from benchmarks.bare_loop import BareLoop
from benchmarks.cell_config import write_cell_folder
from benchmarks.gate import Gate, Stretch
from slackoff.cell import process as cell_program
from slackoff.cell.launch import LaunchOptions
from slackoff.config import build
from slackoff.data import RainyBatch, RainyData
from slackoff.sweep.plan import Cell


def slackoff_way(cell: Cell, gate: Gate) -> None:
    """The real path, ``slackoff.cell.process.main``: Lightning, both loggers, checkpoints, status, guards.

    Raises:
        RuntimeError: the cell failed.
    """
    make_batch = RainyData.on_after_batch_transfer

    def gated(data: RainyData, batch: int, dataloader_idx: int) -> RainyBatch:
        gate.before_step(batch)
        return make_batch(data, batch, dataloader_idx)

    write_cell_folder(cell)
    with mock.patch.object(RainyData, "on_after_batch_transfer", gated):
        code = cell_program.main(cell.folder, LaunchOptions())
    if code:
        raise RuntimeError(f"the cell failed: {cell.status().last_error}")


def bare_way(cell: Cell, gate: Gate) -> None:
    """The same steps without Lightning and without logging."""
    loop = BareLoop(cell.config)
    for step in range(cell.config.schedule.steps):
        gate.before_step(step)
        loop.step(step)


def opencv_way(cell: Cell, gate: Gate) -> None:
    """The same network in fp32 and NCHW, fed by worker processes that draw rain with OpenCV."""
    config = cell.config
    patches = np.array(build.build_bank(config, build.build_backgrounds(config)))
    rain = OmegaConf.to_container(config.rain)
    assert isinstance(rain, dict)
    plain_way.train(
        build.build_network(config),
        patches,
        {str(key): value for key, value in rain.items()},
        config.schedule.batch_size,
        config.schedule.steps,
        config.task.learning_rate,
        gate.before_step,
    )


WAYS = {"slackoff": slackoff_way, "bare loop": bare_way, "plain way": opencv_way}


def process(way: str, cell: Cell, stretch: Stretch, turns: int, connection: Connection) -> None:
    """Body of a contestant's process; what libraries print goes to a file beside the cells."""
    log = Path(cell.config.runs) / f"{way}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        WAYS[way](cell, Gate(connection, stretch, turns))
    except Exception:
        connection.send(traceback.format_exc())
        raise
