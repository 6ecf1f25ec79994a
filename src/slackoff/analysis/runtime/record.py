"""A runtime study on disk: study.json with "kind": "runtime", and runtime.parquet beside it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from slackoff.errors import SlackoffError

ROWS = "runtime.parquet"
_NEEDED = {"network", "device", "round", "seconds", "threads", "parameters", "gflops", "paper", "failure"}
_TEXTS = ("name", "title", "question", "experiment", "size", "created_at", "command", "paper")
_DEVICES = {"cpu": "CPU", "cuda": "GPU"}


@dataclass(frozen=True)
class RuntimeStudy:
    """What study.json says, and the measured rows (see ``RuntimeMeasurement.measure``).

    ``reference`` is the network that was asked for as the one that ratios refer to, if any.
    """

    folder: Path
    rows: pd.DataFrame
    size_px: int
    reference: str | None
    settings: dict[str, Any]
    environment: dict[str, Any]
    name: str = ""
    title: str = ""
    question: str = ""
    experiment: str = ""
    size: str = ""
    created_at: str = ""
    command: str = ""
    paper: str = ""

    @cached_property
    def networks(self) -> list[str]:
        """The networks in the order in which they were measured."""
        return list(dict.fromkeys(self.rows["network"]))

    @cached_property
    def devices(self) -> list[str]:
        """'cpu' and 'cuda', those that were measured."""
        return list(dict.fromkeys(self.rows["device"]))

    @property
    def threads(self) -> int:
        """Threads of the CPU."""
        return int(self.rows["threads"].iloc[0])

    def hardware(self, device: str) -> str:
        """What a device is: 'AMD EPYC, 2 threads' or 'NVIDIA H100'."""
        if device == "cuda":
            return str(self.environment.get("gpu") or "unknown GPU")
        return f"{self.environment.get('cpu') or 'unknown CPU'}, {self.threads} thread{'s' * (self.threads != 1)}"

    @property
    def torch(self) -> str:
        """The version of torch."""
        return str((self.environment.get("packages") or {}).get("torch") or "of unknown version")


def label(device: str) -> str:
    """'CPU' or 'GPU'."""
    return _DEVICES.get(device, device)


def load(study_dir: str | Path) -> RuntimeStudy:
    """Read a runtime study.

    Raises:
        SlackoffError: a file is missing or damaged.
    """
    folder = Path(study_dir)
    path = folder / "study.json"
    cure = "remove it and run the study's command again."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = dict(content["measure"])
        size_px = int(settings["size_px"])
        environment = dict(content.get("environment") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlackoffError(f"{path} is missing or damaged ({type(error).__name__}: {error}): {cure}") from error
    try:
        rows = pd.read_parquet(folder / ROWS)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise SlackoffError(f"{folder / ROWS} is missing or damaged ({str(error).splitlines()[0]}): {cure}") from error
    if lacking := sorted(_NEEDED - set(rows)) or ([] if len(rows) else ["any row"]):
        raise SlackoffError(f"{folder / ROWS} lacks {', '.join(lacking)}: {cure}")
    texts = {key: str(content.get(key) or "") for key in _TEXTS}
    return RuntimeStudy(folder, rows, size_px, settings.get("reference"), settings, environment, **texts)
