"""What weightings of several loss terms cost: ``python -m benchmarks.weighting_overhead NETWORK [OVERRIDE ...]``.

Steps of ``task=multitask`` (forward, weighting, backward, Adam) of a network preset at laptop size, on the CPU with one
thread, each weighting in turns; the ratio to fixed weights is taken round by round. Overrides such as
``schedule.batch_size=2 background.patch_size_px=224 trainer.precision=32-true`` change the cell.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from benchmarks.cell_config import batch_shape, plan_cell
from slackoff.config import build
from slackoff.data import RainyBatch

WEIGHTINGS = ("fixed", "lb", "gb", "uncertainty", "gradnorm", "dwa", "pcgrad")
GOAL = 1.15  # of gb over fixed


class Steps:
    """Training steps with one weighting, on one random batch.

    Args:
        config: of a cell with ``task=multitask``.
    """

    def __init__(self, config: DictConfig) -> None:
        side, count = config.background.patch_size_px, config.schedule.batch_size
        self.half = config.trainer.precision != "32-true"
        memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
        network = build.build_network(config).to(memory_format=memory_format)
        self.task = build.build_task(config, network)
        self.optimizer = torch.optim.Adam(self.task.trained_parameters(), config.task.learning_rate)
        torch.manual_seed(0)
        rainy, background = (torch.rand(count, 3, side, side).to(memory_format=memory_format) for _ in range(2))
        self.batch = RainyBatch(background, rainy[:, :1], rainy)

    def seconds(self, count: int) -> float:
        """Mean CPU seconds of a step over so many; on a quiet machine those of the clock, on a busy one steadier."""
        started = time.process_time()
        for _ in range(count):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                loss = self.task.losses(self.batch, 0)["loss"]
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return (time.process_time() - started) / count


def measure_weightings(
    network: str, overrides: Sequence[str], weightings: Sequence[str], rounds: int, steps: int
) -> tuple[str, dict[str, list[float]]]:
    """The batch in words, and seconds of a step for each weighting and round; ``fixed`` is measured in any case."""
    with tempfile.TemporaryDirectory() as runs:
        configs = {
            name: _config(network, overrides, name, Path(runs)) for name in dict.fromkeys(["fixed", *weightings])
        }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        contestants = {name: Steps(config) for name, config in configs.items()}
        for each in contestants.values():
            each.seconds(1)
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, each in contestants.items():
                seconds[name].append(each.seconds(steps))
    finally:
        torch.set_num_threads(threads)
    return batch_shape(configs["fixed"]), seconds


def _config(network: str, overrides: Sequence[str], weighting: str, runs: Path) -> DictConfig:
    common = ["task=multitask", f"network={network}", "size=laptop", *overrides]
    chosen = [*common, f"weighting@task.weighting={weighting}"]
    if weighting == "fixed":
        terms = plan_cell(common, runs).config.task.terms
        chosen += [f"++task.weighting.weights.{name}=1.0" for name in terms]
    return plan_cell(chosen, runs).config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a preset of conf/network, such as menet")
    parser.add_argument("overrides", nargs="*", help="of the config")
    parser.add_argument("--weightings", nargs="+", default=WEIGHTINGS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="of each weighting in a round")
    given = parser.parse_args()
    batch, seconds = measure_weightings(given.network, given.overrides, given.weightings, given.rounds, given.steps)
    table = Table("weighting", "ms a step", "over fixed", "extremes", title=f"{given.network}, a batch of {batch}")
    for name, found in seconds.items():
        ratios = [own / fixed for own, fixed in zip(found, seconds["fixed"], strict=True)]
        verdict = f" (goal {GOAL}: {'met' if median(ratios) <= GOAL else 'missed'})" if name == "gb" else ""
        extremes = f"{min(ratios):.3f} to {max(ratios):.3f}"
        table.add_row(name, f"{1000 * median(found):.0f}", f"{median(ratios):.3f}{verdict}", extremes)
    Console().print(table)


if __name__ == "__main__":
    main()
