"""How a network came to be, in sentences: what it was trained on, what that took, with which versions."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from slackoff.deraining.record import CellRecord


def trained_on(record: CellRecord) -> list[str]:
    """What the weights were learned from, as the cell's config says it, one point a line."""
    config = record.config
    lines = [f"Started from the weights `{_file(config.start_from)}`."] if config.get("start_from") else []
    if not config.schedule.steps:
        return [*lines, "Not trained: measured as it was."]
    lines.append(_pairs(config) if config.get("labelled") else _synthesised(config))
    if config.get("unlabelled"):
        lines.append(f"Unlabelled images without truth: `{config.unlabelled.name}`.")
    lines.append(_regime(config))
    return [*lines, *(f"Noted in training: {note}." for note in record.status.notes)]


def cost(record: CellRecord) -> str:
    """'96.7 device-seconds of training (2,000 steps) and 21.5 of measuring, on AMD EPYC, 1 thread.'"""
    status, environment = record.status, record.environment
    device = environment.get("gpu") or environment.get("cpu") or "a device that is not recorded"
    threads = environment.get("threads")
    counted = f", {threads} thread{'s' * (threads > 1)}" if threads and not environment.get("gpu") else ""
    return (
        f"{status.train_seconds:,.1f} device-seconds of training ({status.step:,} steps) and "
        f"{status.evaluate_seconds:,.1f} of measuring, on {device}{counted}."
    )


def versions(record: CellRecord, here: Mapping[str, Any]) -> list[str]:
    """What it was trained with, and what it was exported with where that differs.

    Args:
        record: of the cell.
        here: the environment of the export, as `describe_environment` gives it.
    """
    trained = _named(record.environment)
    lines = [f"Trained with {', '.join(trained)}."] if trained else []
    if (commit := record.environment.get("git_commit")) is not None:
        changed = ", with changes that were not committed" if record.environment.get("git_dirty") else ""
        lines.append(f"Commit {commit}{changed}.")
    exported = [name for name in _named(here) if name not in trained]
    return [*lines, *([f"Exported with {', '.join(exported)}."] if exported else [])]


def _named(environment: Mapping[str, Any]) -> list[str]:
    python = [f"Python {environment['python']}"] if environment.get("python") else []
    packages = {name: found for name, found in environment.get("packages", {}).items() if found}
    return [*python, *(f"{name} {found}" for name, found in packages.items())]


def _pairs(config: DictConfig) -> str:
    share = config.labelled.get("share")
    part = f"; {share} of the clean images with their truth" if share is not None else ""
    side = config.background.patch_size_px
    return f"Pairs of rainy and clean images: `{config.labelled.name}`{part}, in crops of {side}x{side} px."


def _synthesised(config: DictConfig) -> str:
    background, rain = config.background, config.rain
    bounds = ", ".join(f"{key} {_values(value)}" for key, value in rain.items() if _is_list(value))
    return (
        f"Rain laid over N = {background.patch_count} patches of {background.patch_size_px}x{background.patch_size_px} "
        f"px from the backgrounds `{background.name}`; rain range `{rain.name}` ({bounds})."
    )


def _regime(config: DictConfig) -> str:
    schedule, task = config.schedule, config.task
    loss = task.get("loss")
    with_loss = f", loss {str(loss._target_).rsplit('.', 1)[-1]}" if loss and loss.get("_target_") else ""
    return (
        f"Task `{task.name}`{with_loss}: {schedule.steps:,} steps of batches of {schedule.batch_size}, learning rate "
        f"{task.get('learning_rate', schedule.get('learning_rate'))}, precision {config.trainer.precision}, "
        f"seed {config.seed}."
    )


def _is_list(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__")


def _values(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]"


def _file(path: Any) -> str:
    """The name of a file without the folders of the machine."""
    return str(path).replace("\\", "/").rsplit("/", 1)[-1]
