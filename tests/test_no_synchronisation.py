"""A training step asks no tensor for its values and copies none from the host: on a GPU either waits for all before it.

Without a GPU the operations that would wait there are recognised by name. What is computed on the CPU whatever the
device, and what is made once for all steps, is left out by function.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import slackoff
from slackoff.cell.callbacks import LossGuard
from slackoff.config import build, config_folder
from slackoff.tasks import StepSeed, SupervisedTask

SOURCE = str(Path(slackoff.__file__).parent)
WAITING = {
    "aten::_local_scalar_dense",  # item, float, int, bool
    "aten::nonzero",  # a boolean index too
    "aten::masked_select",
    "aten::equal",
    "aten::_linalg_check_errors",
    "aten::lift_fresh",  # torch.tensor, new_tensor
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::bincount",
    "aten::repeat_interleave",
}
ON_THE_CPU = {"cut", "draw"}  # of data: where to crop is worked out there
ONCE = {"_blur_matrices"}
SYNTHESISED = ("unlabelled=synthesised", "unlabelled.patch_count=4")


def choices(group: str, pattern: str = "*") -> list[str]:
    return sorted(path.stem for path in (config_folder() / group).glob(f"{pattern}.yaml"))


class Waiting(TorchDispatchMode):
    """Notes where in slackoff an operation is asked for that waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if name in WAITING or (name.startswith("aten::index") and _has_mask(args)):
            self._note(name)
        return func(*args, **(kwargs or {}))

    def _note(self, name: str) -> None:
        frame = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            if "/torch/optim/" in code.co_filename:
                return  # what it reads, the number of its steps, is on the CPU
            if code.co_filename.startswith(SOURCE):
                if code.co_name not in ON_THE_CPU | ONCE:
                    self.found.add(f"{name} in {Path(code.co_filename).relative_to(SOURCE)}:{frame.f_lineno}")
                return
            frame = frame.f_back  # type: ignore[assignment]


def _has_mask(args: Any) -> bool:
    given = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in given)


class From(Callback):
    """Watches from the start of training on, when all that is made once is made."""

    def __init__(self, waiting: Waiting) -> None:
        self.waiting = waiting

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.waiting.__enter__()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.waiting.__exit__(None, None, None)


def waits(config: Any, tmp_path: Path) -> set[str]:
    """Where three steps of a cell wait."""
    config.schedule.batch_size, config.background.patch_size_px = 2, 32
    data = build.build_training_data(config, build.build_backgrounds(config))
    task = build.build_task(config, build.build_network(config))
    waiting = Waiting()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=3,
        logger=False,
        callbacks=[LossGuard(tmp_path, 100), StepSeed(config.seed), From(waiting)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    return waiting.found


def with_its_task(preset: str) -> tuple[str, ...]:
    name = preset.removesuffix("_small")
    task = name if (config_folder() / f"task/{name}.yaml").exists() else "supervised"
    return (f"network={preset}", f"task={task}", *(SYNTHESISED if task in ("sirr", "syn2real") else ()))


def weighted(name: str) -> tuple[str, ...]:
    terms = ("task=multitask", "terms@task.terms=pixel_edge", f"weighting@task.weighting={name}")
    return (*terms, "~task.weighting.weights.vgg") if name == "fixed" else terms


@pytest.mark.parametrize(
    "overrides",
    [
        *map(with_its_task, choices("network", "*_small")),
        *((f"rain={rain}", f"fixed_rain_per_patch={fixed}") for rain in choices("rain") for fixed in (False, True)),
        *map(weighted, choices("weighting")),
        ("task=semi_supervised", "task.supervised=1steps", "task.labelled_residue=prediction", *SYNTHESISED),
        ("task=semi_supervised", "network=moss_small", "task.supervised=2steps", *SYNTHESISED),
        ("task=prenet", "network=prenet_small", "task.loss.weights=[0.5,0.5,1.0]"),
        ("task=syn2real", "network=syn2real_small", "task.kernel=squared_exponential", *SYNTHESISED),
        ("task=syn2real", "network=syn2real_small", "task.kernel=rational_quadratic", *SYNTHESISED),
        ("task=sirr", "network=ddn_small", "task.shared_norm=false", *SYNTHESISED),
        ("task=multitask", "terms@task.terms=pixel_edge_texture", "task.log_gradient_norms=true"),
        ("+task.optimizer={_target_: slackoff.tasks.SGD, momentum: 0.9}",),
    ],
    ids=lambda overrides: " ".join(overrides[:3]),
)
def test_a_step_never_waits(composed: Any, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert waits(composed(*overrides), tmp_path) == set()


@pytest.mark.parametrize("ask", [Tensor.item, lambda loss: loss.new_tensor(0.5), lambda loss: loss[loss > 0]])
def test_a_step_that_waits_is_seen(composed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    losses = SupervisedTask.losses

    def waiting(*given: Any) -> Any:
        found = losses(*given)
        ask(found["loss"])
        return found

    monkeypatch.setattr(SupervisedTask, "losses", waiting)
    assert {place.rpartition(" ")[2].partition(":")[0] for place in waits(composed(), tmp_path)} == {"tasks/task.py"}
