"""One cell, top to bottom: config, objects, training, evaluation, record."""

import logging
import os
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slackoff.cell.best import BestWeights
from slackoff.cell.callbacks import (
    CheckpointCallback,
    EvaluationCallback,
    LossGuard,
    StatusCallback,
    StopRequest,
    TrainingLogger,
    log_all,
)
from slackoff.cell.continuation import point_to_continue, under_own_schedule
from slackoff.cell.launch import Pruned, Stopped, ignore_stop_signals, launcher_variables
from slackoff.cell.pruning import Pruning, PruningRule
from slackoff.config import build, packages
from slackoff.errors import SlackoffError
from slackoff.record.checkpoint import WholeFileCheckpointIO, find_resume_point
from slackoff.record.config import read_config
from slackoff.record.environment import describe_environment, device_kind, is_emulated, refuse_float16_on_cpu
from slackoff.record.files import remove_partials, write_json
from slackoff.record.results import RecordLogger, write_results
from slackoff.record.status import Status
from slackoff.tasks import StepSeed
from slackoff.wandb_view.live import WandbView

_LONGEST_EVALUATION = timedelta(days=1)  # the other ranks wait for the first one while it measures


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes of a cell this one is."""

    number: int
    count: int

    @property
    def first(self) -> bool:
        return self.number == 0

    def fix_rank(self) -> None:
        """Let no library take this process for another rank.

        Lightning reads its rank from the environment when it is imported: below a launcher (srun, Kubeflow) a process
        that trains alone would log nothing. Torchrun's variables are right.
        """
        rank_zero_only.rank = self.number  # type: ignore[attr-defined]
        if self.count == 1:
            for name in launcher_variables(os.environ):
                del os.environ[name]


ALONE = Ranks(0, 1)


def train(folder: Path, status: Status, process_start: float, ranks: Ranks = ALONE) -> None:
    """Train the cell whose config lies in ``folder`` in this process; arguments and errors as of ``run_cell``."""
    config = OmegaConf.create(read_config(folder))
    if ranks.first:
        together = {"ranks": ranks.count} if ranks.count > 1 else {}
        named = {"named_packages": found} if (found := packages.describe(build.plain(config))) else {}
        write_json(folder / "environment.json", describe_environment() | named | together)
    run_cell(config, folder, status, process_start, ranks)


def run_cell(config: DictConfig, folder: Path, status: Status, process_start: float, ranks: Ranks = ALONE) -> None:
    """Train and measure one cell, going on from its last checkpoint; the record is whole when this returns.

    Several ranks share each batch and follow the same lines; the first one measures and writes.

    Args:
        config: the cell's resolved config.
        folder: the cell's folder.
        status: the cell's status; kept up to date on disk.
        process_start: ``time.monotonic()`` at the start of the process.
        ranks: which of how many processes of the cell this one is.

    Raises:
        SlackoffError: a mistake in the config or data, a foreign checkpoint, a loss that is not finite.
        Stopped: the process was asked to stop; a checkpoint was written if training had begun.
    """
    ranks.fix_rank()
    silence_libraries()
    kind = device_kind(config.trainer.accelerator)
    refuse_float16_on_cpu(config.trainer.precision, kind)
    torch.backends.cudnn.allow_tf32 = config.trainer.tf32
    backgrounds = build.build_backgrounds(config)
    evaluator = build.build_evaluator(config, backgrounds)
    validation = build.build_validation(config, evaluator)
    measure = config.schedule.get("keep_best")
    best = BestWeights(validation, measure) if validation and measure else None
    data = build.build_training_data(config, backgrounds)
    network = build.build_started_network(config)
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    task = build.build_task(config, network)

    checkpoints = folder / "checkpoints"
    if ranks.first:  # free the room of what a killed attempt left
        for place in (folder, checkpoints, *folder.glob("pictures/*/*")):
            remove_partials(place, kept=("config.yaml", "status.json"))  # other drivers may be writing these
    resume = find_resume_point(checkpoints, status.id)
    if resume.path is None and config.get("continue_from"):
        resume = point_to_continue(config)
    status.notes += data.notes + resume.notes
    if is_emulated(config.trainer.precision, kind):
        status.notes.append(f"trained in {config.trainer.precision}, which is emulated here: 32-true is faster")
    record = RecordLogger(folder, resume.step) if ranks.first else None
    view = WandbView(config, status, folder, record) if record and config.logger.wandb else None
    guard = LossGuard(checkpoints, config.schedule.log_every)
    stop = StopRequest(checkpoints, guard)

    def judge(step: int, means: dict[str, float]) -> None:
        if pruning is not None and (verdict := pruning.verdict(step, means)):
            stop.prune(verdict)

    rule = PruningRule.read()
    pruning = Pruning(rule, record.kept, status.notes) if rule and record else None
    evaluation = EvaluationCallback(
        evaluator, config.schedule.evaluate_every, view.show_progress if view else None, judge, validation, best
    )
    trains = any(parameter.requires_grad for parameter in network.parameters())
    if config.schedule.steps and not trains:
        status.notes.append(f"{config.network.name} has nothing to train: no step was taken")
    trainer = Trainer(
        accelerator=kind,
        devices=ranks.count,
        strategy=DDPStrategy(timeout=_LONGEST_EVALUATION) if ranks.count > 1 else "auto",
        sync_batchnorm=ranks.count > 1,
        precision=config.trainer.precision,
        max_steps=config.schedule.steps if trains else 0,
        gradient_clip_val=config.trainer.get("gradient_clip_norm"),
        logger=[record, *([view.logger] if view else [])] if record else False,
        callbacks=[
            guard,
            evaluation,
            TrainingLogger(evaluation, config.schedule.log_every),
            CheckpointCallback(checkpoints, config.schedule.checkpoint_every, guard),
            StatusCallback(status, folder, process_start),
            stop,
            StepSeed(config.seed),
            *([best] if best else []),
        ],
        plugins=[
            WholeFileCheckpointIO(status.id, lambda content: under_own_schedule(task, content)),
            # Named, so that Lightning does not find Slurm around it and start more processes.
            TorchElasticEnvironment() if ranks.count > 1 else LightningEnvironment(),
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    refuse_split_norm(network, trainer)
    try:
        trainer.fit(task, data, ckpt_path=resume.path, weights_only=True)
        guard.check()
        if record is None:
            return
        status.train_seconds = round(record.elapsed() - evaluation.seconds, 2)

        started = time.monotonic()
        measured = {"": network, **task.teachers}
        if best and (chosen := best.network(network)) is not None:
            measured["best"] = chosen
            status.notes.append(best.note)
        found = {name: evaluator.evaluate(each.to(trainer.strategy.root_device)) for name, each in measured.items()}
        status.evaluate_seconds = round(evaluation.seconds + time.monotonic() - started, 2)
        for name, evaluated in found.items():
            log_all(trainer, {"/".join(filter(None, ("final", name, key))): v for key, v in evaluated.means.items()})
        record.close()
        for name, each in measured.items():
            write_results(folder, name, each, found[name].rows, found[name].pictures)
        if view:
            view.show_results(found)
    except BaseException as error:
        ignore_stop_signals()  # another signal must not take the place of this error
        if view:
            stopped = isinstance(error, Stopped)
            view.end("pruned" if isinstance(error, Pruned) else "interrupted" if stopped else "failed")
        raise
    if view:
        view.end("done")


def silence_libraries() -> None:
    """Leave in a cell's log only what a person can act on; Lightning must be imported before.

    Holds for the libraries of this process and of those that it starts.
    """
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def refuse_split_norm(network: nn.Module, trainer: Trainer) -> None:
    """Torch normalises over the batches of all ranks on GPUs only; anything else would change the training.

    Raises:
        SlackoffError: the network does that, and the ranks are on a CPU.
    """
    norms = any(isinstance(module, _BatchNorm) for module in network.modules())
    if norms and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise SlackoffError(
            f"{type(network).__name__} normalises over the batch (BatchNorm), which ranks on a CPU cannot do together: "
            "train it with hydra.launcher.gpus_per_cell=1 or on GPUs"
        )
