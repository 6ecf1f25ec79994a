"""Where a cell's numbers go while it trains: the local record."""

import json
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from slackoff.record.files import read_lines, write_text, write_whole


class RecordLogger(Logger):
    """Appends one JSON line an event to ``steps.jsonl``: ``step``, ``elapsed_s`` (training time so far) and values.

    Args:
        folder: the cell's folder.
        resume_step: lines of later steps are dropped, because those steps are about to be trained again, and so is the
            last measurement, which is about to be taken again.
    """

    def __init__(self, folder: Path, resume_step: int = 0) -> None:
        super().__init__()
        self.path = folder / "steps.jsonl"
        kept = [row for row in read_lines(self.path) if row["step"] <= resume_step and not _is_last_measurement(row)]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.kept = kept
        self.elapsed_before = max((row["elapsed_s"] for row in kept), default=0.0)
        self.started = time.monotonic()

    @property
    def name(self) -> str:
        return "record"

    @property
    def version(self) -> str:
        return "0"

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved config is in the record already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row: dict[str, float | int] = {"step": step or 0, "elapsed_s": round(self.elapsed(), 3)}
        row |= {key: float(value) for key, value in metrics.items() if key != "epoch"}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def elapsed(self) -> float:
        """Seconds of training so far, earlier attempts counted up to where this one goes on from."""
        return self.elapsed_before + time.monotonic() - self.started

    def close(self) -> None:
        """Turn the lines into ``steps.parquet``, one row a step."""
        frame = pd.DataFrame(read_lines(self.path))
        if not frame.empty:
            frame = frame.groupby("step", as_index=False).last()
            write_whole(self.path.with_suffix(".parquet"), frame.to_parquet)


def _is_last_measurement(row: Mapping[str, float]) -> bool:
    return any(key.startswith("final/") for key in row)
