"""One cell, top to bottom: config, objects, training, evaluation, record.

Run as ``python -m slackoff.cell FOLDER`` by the sweep, in a process of its own.
"""

import errno
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from lightning import Trainer
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from slackoff import build
from slackoff.errors import SlackoffError
from slackoff.evaluation import Evaluation
from slackoff.record.atomic import write_json, write_text, write_whole
from slackoff.record.callbacks import (
    CheckpointCallback,
    EvaluationCallback,
    LossGuard,
    StatusCallback,
    TrainingLogger,
    log_all,
)
from slackoff.record.checkpoint import WholeFileCheckpointIO, find_resume_point
from slackoff.record.environment import describe_environment
from slackoff.record.loggers import GuardedWandbLogger, RecordLogger
from slackoff.record.status import LOCK, Status, now, read_status


def run_cell(config: DictConfig, folder: Path, status: Status, process_start: float) -> None:
    """Train and measure one cell, going on from its last checkpoint; the record is whole when this returns.

    Args:
        config: the cell's resolved config.
        folder: the cell's folder.
        status: the cell's status; kept up to date on disk.
        process_start: ``time.time()`` at the start of the process.

    Raises:
        SlackoffError: a mistake in the config or data, a foreign checkpoint, a loss that is not finite.
    """
    backgrounds = build.build_backgrounds(config)
    evaluator = build.build_evaluator(config, backgrounds)
    data = build.build_data(config, build.build_bank(config, backgrounds))
    network = build.build_network(config)
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    task = build.build_task(config, network)

    checkpoints = folder / "checkpoints"
    resume = find_resume_point(checkpoints, status.id)
    status.notes += resume.notes
    record = RecordLogger(folder, resume.step)
    wandb = _wandb_logger(config, status, folder)
    guard = LossGuard(checkpoints, config.schedule.log_every)
    evaluation = EvaluationCallback(evaluator, config.schedule.evaluate_every)
    trainer = Trainer(
        accelerator=config.trainer.accelerator,
        devices=1,
        precision=config.trainer.precision,
        max_steps=config.schedule.steps,
        logger=[record, *wandb],
        callbacks=[
            guard,
            evaluation,
            TrainingLogger(evaluation, config.schedule.log_every),
            CheckpointCallback(checkpoints, config.schedule.checkpoint_every, guard),
            StatusCallback(status, folder, process_start),
        ],
        plugins=[WholeFileCheckpointIO(status.id)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    try:
        trainer.fit(task, data, ckpt_path=resume.path, weights_only=True)
        guard.check()
        status.train_seconds = round(record.elapsed() - evaluation.seconds, 2)

        started = time.monotonic()
        found = evaluator.evaluate(network.to(trainer.strategy.root_device))
        status.evaluate_seconds = round(evaluation.seconds + time.monotonic() - started, 2)
        log_all(trainer, {f"final/{key}": value for key, value in found.means.items()})
        record.close()
        _write_results(folder, network, found)
    except BaseException:
        _finish_wandb(wandb, exit_code=1)
        raise
    _finish_wandb(wandb, exit_code=0)


def _write_results(folder: Path, network: nn.Module, found: Evaluation) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_whole(folder / "network.safetensors", lambda path: save_file(weights, path))
    write_whole(folder / "images.parquet", lambda path: found.rows.to_parquet(path))
    for image, shown in found.pictures.items():
        pictures = folder / "pictures" / image
        pictures.mkdir(parents=True, exist_ok=True)
        for kind, pixels in shown.items():
            Image.fromarray(pixels).save(pictures / f"{kind}.png")


def _wandb_logger(config: DictConfig, status: Status, folder: Path) -> list[Logger]:
    if not config.logger.wandb:
        return []
    status.wandb_id = f"cell-{status.id}"
    logger = GuardedWandbLogger(
        project=config.logger.project,
        id=status.wandb_id,
        name=" ".join(str(value) for value in status.label.values()),
        group=config.study.name,
        tags=[f"{key}={value}" for key, value in status.label.items()],
        config=OmegaConf.to_container(config),
        save_dir=str(folder),
        resume="allow",
    )
    return [logger]


def _finish_wandb(loggers: list[Logger], exit_code: int) -> None:
    for logger in loggers:
        if isinstance(logger, GuardedWandbLogger):
            logger.finish(exit_code)


def main(folder: Path, process_start: float) -> int:
    """Run the cell whose ``config.yaml`` lies in ``folder``; 0 when it is done, else the status says why not."""
    status = read_status(folder)
    if status is None:
        print(f"{folder} holds no cell: it has no status.json", file=sys.stderr)
        return 2
    try:
        with FileLock(folder / LOCK, timeout=0):
            return _attempt(folder, status, process_start)
    except Timeout:
        print(f"{folder} is being trained by another process", file=sys.stderr)
        return 3


def _attempt(folder: Path, status: Status, process_start: float) -> int:
    status.state, status.attempts, status.last_error = "running", status.attempts + 1, None
    status.started_at = status.started_at or now()
    status.notes, status.seconds_to_first_step = [], None
    error_file = folder / "error.txt"
    try:
        status.write(folder)
        error_file.unlink(missing_ok=True)
        config = OmegaConf.load(folder / "config.yaml")
        assert isinstance(config, DictConfig)
        write_json(folder / "environment.json", describe_environment())
        run_cell(config, folder, status, process_start)
        status.state, status.step, status.finished_at = "done", status.steps_total, now()
        status.write(folder)
        return 0
    except Exception as error:
        status.state, status.finished_at = "failed", now()
        status.last_error = _one_sentence(error, folder)
        print(status.last_error, file=sys.stderr)
        try:
            write_text(error_file, traceback.format_exc())
            status.write(folder)
        except OSError:
            traceback.print_exc()
        return 1


def _one_sentence(error: Exception, folder: Path) -> str:
    if isinstance(error, SlackoffError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space is left for {folder}: free some, then run the same command again; it goes on from there"
    return f"{type(error).__name__}: {error} (traceback in {folder / 'error.txt'})"


def _quiet() -> None:
    """Keep log.txt to what a person can act on."""
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


if __name__ == "__main__":
    _quiet()
    sys.exit(main(Path(sys.argv[1]), float(os.environ.get("SLACKOFF_PROCESS_START", time.time()))))
