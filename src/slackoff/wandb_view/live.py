"""A cell in W&B while it trains: its run, what it shows, and how it ends."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from omegaconf import DictConfig, OmegaConf

from slackoff.evaluation import Evaluation
from slackoff.record.results import RecordLogger
from slackoff.record.status import State, Status
from slackoff.wandb_view import agent_run
from slackoff.wandb_view.content import (
    DIGEST,
    STEP,
    headline_threshold,
    image_tables,
    known_step,
    pictures,
    record_digest,
    run_id,
    run_options,
    with_step,
)

_log = logging.getLogger(__name__)


class WandbView:
    """Shows a cell in W&B; nothing that it does can fail the cell or change its result.

    Args:
        config: the cell's resolved config.
        status: the cell's status; told the id of the run.
        folder: the cell's folder, where offline runs are written.
        record: the local record, which the run follows.
    """

    def __init__(self, config: DictConfig, status: Status, folder: Path, record: RecordLogger) -> None:
        self.folder, self.status, self.steps = folder, status, int(config.schedule.steps)
        content: Any = OmegaConf.to_container(config)
        self.threshold = headline_threshold(content)
        given = agent_run()
        status.wandb_id = given or run_id(status.id)
        project = os.environ.get("WANDB_PROJECT", "") if given else config.logger.project
        self.logger = GuardedWandbLogger(
            past=record.kept,
            elapsed=record.elapsed,
            project=project,
            id=status.wandb_id,
            save_dir=str(folder),
            resume="allow",
            **run_options(content, status),
        )

    def show_progress(self, step: int, found: Evaluation) -> None:
        """Show the pictures of an evaluation during training."""
        self.logger.show(lambda: pictures(found.pictures, self.threshold), step)

    def show_results(self, found: Mapping[str, Evaluation]) -> None:
        """Show the pictures of the last evaluation and its results per test image.

        Args:
            found: by name of the network; the cell's own, whose pictures are shown, has none.
        """

        def results() -> dict[str, Any]:
            tables = image_tables({name: each.rows for name, each in found.items()})
            return {**pictures(found[""].pictures, self.threshold), **tables}

        self.logger.show(results, self.steps, last=True)

    def end(self, state: State) -> None:
        """End the run as the cell ended."""
        status: dict[str, Any] = asdict(replace(self.status, state=state))
        exit_code = 0 if state == "done" else 1
        self.logger.finish(exit_code, lambda: {"status": status, DIGEST: record_digest(self.folder)})


class GuardedWandbLogger(WandbLogger):
    """Lightning's WandbLogger that can fail without anybody noticing but the log: training goes on without it.

    The step never goes backwards: a run that is resumed on the server passes over what it has already; offline, where
    each attempt writes a file of its own, that file begins with what earlier attempts recorded, so that the newest one
    is whole.

    Args:
        past: rows of the record up to the step that training goes on from.
        elapsed: seconds of training so far, logged as ``elapsed_s``.
        options: as Lightning's.
    """

    def __init__(
        self, past: Sequence[Mapping[str, float]] = (), elapsed: Callable[[], float] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.broken = False
        self._past, self._elapsed = past, elapsed
        self._known_step = -1

    @property
    def experiment(self) -> Any:
        """The W&B run; an offline one where the server cannot be reached, a dummy where W&B fails altogether."""
        if self._experiment is None and not self.broken:
            with self._guarded():
                self._begin()
        return DummyExperiment() if self.broken else super().experiment

    def _begin(self) -> None:
        """Start the run and bring it to the step that training goes on from."""
        try:
            run = super().experiment
        except Exception as error:  # whatever W&B raises without its server, offline it may work
            _log.warning("W&B is written offline, to be synced later (%s: %s)", type(error).__name__, error)
            self._wandb_init["mode"] = "offline"
            run = super().experiment
        if run.offline:
            for row in self._past:
                run.log(with_step(row))
        self._known_step = known_step(run)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Leave W&B out from here on, whatever it raises: it is a view, and must not stop a cell."""
        try:
            yield
        except Exception as error:
            self.broken = True
            _log.warning("W&B is left out from here on (%s: %s)", type(error).__name__, error)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        timed = {**metrics, "elapsed_s": round(self._elapsed(), 3)} if self._elapsed else metrics
        self.show(lambda: timed, step or 0, last=any(key.startswith("final/") for key in metrics))

    def show(self, values: Callable[[], Mapping[str, Any]], step: int, last: bool = False) -> None:
        """Log what ``values`` gives, such as pictures and tables, at a step; ``last``: at the end of the cell."""
        if not self.broken:
            with self._guarded():
                run = self.experiment  # begins the run, which says what it has already
                if last or step > self._known_step:
                    run.log({**values(), STEP: step})

    def log_hyperparams(self, params: Any) -> None:
        """Nothing here: the config is given at the start of the run."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Nothing: checkpoints stay in the record."""

    def finalize(self, status: str) -> None:
        """Nothing: ``finish`` ends the run, once the final evaluation is logged too."""

    def finish(self, exit_code: int, marker: Callable[[], Mapping[str, Any]]) -> None:
        """End the run, if there is one; 0 marks it finished, anything else failed.

        ``marker`` gives items that are written into the dict ``slackoff`` of its config before.
        """
        run = self._experiment
        if run is not None and not self.broken:
            with self._guarded():
                there: Any = run.config["slackoff"]
                run.config.update({"slackoff": {**there, **marker()}}, allow_val_change=True)
                run.finish(exit_code=exit_code)
