"""Seconds from the rows of a manifest to cells with identity and state, before anything is trained."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from rich.console import Console

from slackoff.config import config_folder
from slackoff.sweep.expand import Expander, expand_jobs
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import read_manifest
from slackoff.sweep.plan import plan


def measure_planning(rows: int, rounds: int, runs: Path) -> list[float]:
    """Plan a manifest of so many rows from nothing, a few times; seconds of each.

    The rows are those of paper150 with more and more seeds, so that networks, categories and ranges are the paper's.
    Reading the file, Hydra's compositions, identities and the states of all cells count; Python's and Hydra's own
    start do not, nor does reading images: no category has a folder here.
    """
    manifest = runs / "manifest.yaml"
    runs.mkdir(parents=True, exist_ok=True)
    manifest.write_text("\n".join(["rows:", *itertools.islice(_lines(), rows)]) + "\n", encoding="utf-8")
    return [_plan(manifest, runs, rows) for _ in range(rounds)]


def _plan(manifest: Path, runs: Path, rows: int) -> float:
    overrides = ["+experiment=manifest", f"study.manifest={manifest}", "size=paper", f"runs={runs}"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        compose("config", [])  # what Hydra loads at its first composition is its own start
        started = time.perf_counter()
        expander = Expander(_compose, hydra.config_loader.list_groups(""))
        jobs, configs = expand_jobs([overrides], expander, Console(quiet=True))
        fingerprints = Fingerprints(missing_allowed=True)
        cells = plan(configs, [job.overrides for job in jobs], [job.row for job in jobs], fingerprints)
        states = [cell.status().state for cell in cells]
        seconds = time.perf_counter() - started
    assert states == ["pending"] * rows
    return seconds


def _compose(overrides: list[str]) -> DictConfig:
    return compose("config", overrides)


def _lines() -> Iterator[str]:
    """Rows without end, each a cell of its own."""
    rows = [row.assignments for row in read_manifest("paper150")]
    for number in itertools.count():
        for row in rows:
            values = {key: assignment.partition("=")[2] for key, assignment in row.items()}
            values["seed"] = str(int(values["seed"]) + 10 * number)
            yield f"  - {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"
