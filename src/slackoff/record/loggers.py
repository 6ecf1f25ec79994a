"""Where a cell's numbers go while it trains: the local record, and W&B behind a guard."""

import json
import logging
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment, Logger
from lightning.pytorch.utilities import rank_zero_only

from slackoff.record.atomic import write_text, write_whole
from slackoff.record.lines import read_lines

_log = logging.getLogger(__name__)


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


class GuardedWandbLogger(WandbLogger):
    """Lightning's WandbLogger that can fail without anybody noticing but the log: training goes on without it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.broken = False

    @property
    def experiment(self) -> Any:
        """The W&B run; an offline one where the server cannot be reached, a dummy where W&B fails altogether."""
        if self.broken:
            return DummyExperiment()
        try:
            return super().experiment
        except Exception as error:  # W&B is a view: whatever it raises must not stop a cell
            return self._without_server(error)

    def _without_server(self, error: Exception) -> Any:
        _log.warning("W&B is written offline, to be synced later (%s: %s)", type(error).__name__, error)
        self._wandb_init["mode"] = "offline"
        try:
            return super().experiment
        except Exception as second:
            self._give_up(second)
            return DummyExperiment()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._guard(lambda: super(GuardedWandbLogger, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: Any) -> None:
        """Nothing here: the config is given at the start of the run."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Nothing: checkpoints stay in the record."""

    def finalize(self, status: str) -> None:
        """Nothing: ``finish`` ends the run, once the final evaluation is logged too."""

    def finish(self, exit_code: int) -> None:
        """End the run; 0 marks it finished, anything else failed."""
        run = self._experiment
        if run is not None:
            self._guard(lambda: run.finish(exit_code=exit_code))

    def _guard(self, call: Callable[[], object]) -> None:
        if self.broken:
            return
        try:
            call()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.broken = True
        _log.warning("W&B is left out from here on (%s: %s)", type(error).__name__, error)
