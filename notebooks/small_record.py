"""The small record that the notebooks show when they are given no other: seven tiny cells, trained by slackoff."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slackoff.errors import SlackoffError
from slackoff.record.files import write_json
from slackoff.record.status import read_status

MANIFEST = Path(__file__).with_suffix(".yaml")

STUDIES: dict[str, tuple[str, str, Callable[[str], bool]]] = {
    "small_patchcount": ("patch_count", "How many backgrounds?", lambda task: task == "supervised"),
    "small_semi_supervised": ("variant", "Does self-training help?", lambda task: task == "semi_supervised"),
    "small_multitask": ("variant", "How are two losses balanced?", lambda task: task == "multitask"),
    "small_comparison": ("variant", "All cells of the small record", lambda task: True),
}
"""Study -> its main axis, its title, and which of the cells are in it, by their task."""


def small_record(runs: Path | None = None) -> Path:
    """The folder of the small record; trains it (a minute or two) where it is not there yet.

    Args:
        runs: where to put it; None: `runs/` beside this file.

    Raises:
        SlackoffError: it could not be trained; with the last lines of what the command said.
    """
    runs = runs or Path(__file__).with_name("runs")
    if not all((runs / "studies" / name / "study.json").is_file() for name in STUDIES):
        print(f"Training the seven tiny cells of the small record in {runs.name}/ (a minute or two, once).")
        _train(runs)
        _write_studies(runs)
    return runs


def _train(runs: Path) -> None:
    command = [sys.executable, "-m", "slackoff", "+experiment=manifest", "-m", f"study.manifest='{MANIFEST}'"]
    command += ["study.name=small", "study.axis=study.variant", "size=smoke", f"runs='{runs}'"]
    command += ["logger.wandb=false", "hydra.launcher.threads=1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "agg"}, check=False)
    if done.returncode:
        last = " ".join((done.stdout + done.stderr).split()[-60:])
        raise SlackoffError(f"The small record could not be trained in {runs}: {last}")


def _write_studies(runs: Path) -> None:
    """A study for each notebook, of the cells that concern it."""
    trained = max((runs / "studies").glob("small-*/study.json"), key=lambda path: path.stat().st_mtime)
    whole: dict[str, Any] = json.loads(trained.read_text(encoding="utf-8"))
    labels = {cell["id"]: _label(runs, cell["id"]) | cell["axes"] for cell in whole["cells"]}
    for name, (axis, title, wanted) in STUDIES.items():
        named = [
            {"id": cell, "axes": {axis: label[axis]}} for cell, label in labels.items() if wanted(str(label["task"]))
        ]
        folder = runs / "studies" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "study.json", whole | {"name": name, "title": title, "axis": axis, "cells": named})


def _label(runs: Path, cell: str) -> dict[str, Any]:
    status = read_status(runs / "cells" / cell)
    assert status is not None  # the command has ended well, so all cells are done
    return dict(status.label)
