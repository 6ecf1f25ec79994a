"""A cell in W&B while it trains: its run, what it shows, and how it ends."""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from slackoff.evaluation import Evaluation
from slackoff.record.results import RecordLogger
from slackoff.record.status import State, Status
from slackoff.record.wandb_content import headline_threshold, image_tables, pictures, record_digest, run_id, run_options
from slackoff.record.wandb_logger import GuardedWandbLogger


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
        status.wandb_id, project = _given_by_agent() or (run_id(status.id), config.logger.project)
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
        self.logger.tell(lambda: {"status": status, "record": record_digest(self.folder)})
        self.logger.finish(exit_code=0 if state == "done" else 1)


def _given_by_agent() -> tuple[str, str] | None:
    """Id and project of the run that an agent of a W&B sweep waits for; None without one."""
    if not os.environ.get("WANDB_SWEEP_ID") or not os.environ.get("WANDB_RUN_ID"):
        return None
    return os.environ["WANDB_RUN_ID"], os.environ.get("WANDB_PROJECT", "")
