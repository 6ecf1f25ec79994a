"""Semi-supervised training with an EMA teacher: MOSS (Huang, Yu, He, CVPR 2021), for any network.

The images that teach are rain of one image on the background of another (Eq. 9).
"""

import copy
import math
import re
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError, check_choices
from slackoff.losses.terms import check_weights, total_variation
from slackoff.tasks.task import Buffers, Cosine, Steps, Task, follow, with_parts


class Mixed(NamedTuple):
    """Images with other images' rain, and what they are to be restored to; (N, 3, H, W) each, in [0, 1]."""

    rainy: Tensor
    target: Tensor


def mix_residues(
    labelled: Tensor,
    background: Tensor,
    labelled_residue: Tensor,
    unlabelled: Tensor,
    pseudo_label: Tensor,
    strength: tuple[float, float] = (0.5, 1.1),
    generator: Generator | None = None,
) -> Mixed:
    """Put residues (rainy image less clean image) of labelled and unlabelled images onto all of both.

    Each of the 2 L + 2 U images unlabelled, pseudo-label, labelled, background gets one residue of a shuffled list that
    holds each labelled and each unlabelled residue twice, times a strength of its own, and is cut to [0, 1]. An image
    that was rainy before keeps its own clean target. The list is as long as there are images whatever L and U are: the
    authors' code mixes only where L = U and silently trains on the unlabelled images as they are elsewhere.

    Args:
        labelled, background: rainy and clean, (L, 3, H, W), in [0, 1].
        labelled_residue: (L, 3, H, W), in [-1, 1].
        unlabelled, pseudo_label: rainy and what a teacher made of it, (U, 3, H, W), in [0, 1].
        strength: what residues are multiplied by, uniform between the two.
        generator: of the shuffling and the strengths; None is torch's own.
    """
    images = torch.cat([unlabelled, pseudo_label, labelled, background])
    target = torch.cat([pseudo_label, pseudo_label, background, background])
    unlabelled_residue = unlabelled - pseudo_label
    residues = torch.cat([labelled_residue, labelled_residue, unlabelled_residue, unlabelled_residue])
    order = torch.randperm(len(residues), generator=generator, device=images.device)
    low, high = strength
    scale = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return Mixed((images + scale * residues[order]).clamp(0.0, 1.0), target)


def count_steps(length: str, key: str, run_steps: int, epoch_steps: float) -> int:
    """A length in steps: '2000 steps', '10 epochs' (passes over the labelled images) or '50%' of the run, rounded up.

    Args:
        length: as it is written.
        key: the config key that it stands at.
        run_steps: of the whole run.
        epoch_steps: of one pass over the labelled images.

    Raises:
        SlackoffError: it is no such length.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|epochs?|steps?)\s*", str(length))
    if not found:
        raise SlackoffError(f"{key}={length} is no length: write it as 2000steps, 10epochs or 50%")
    whole = {"%": run_steps / 100, "epoch": epoch_steps, "step": 1.0}[found[2].rstrip("s")]
    return math.ceil(float(found[1]) * whole - 1e-9)


class SemiSupervisedTask(Task):
    """Two stages in one run: supervised, then taught by a moving average of the network itself.

    The first stage minimises the labelled loss. At its end the teacher becomes a copy of the network; from then on each
    step restores the unlabelled images with the teacher (evaluation mode, no gradient), mixes rain of labelled and
    unlabelled images over all backgrounds (``mix_residues``), minimises

        labelled_weight * |f(labelled) - background| + unlabelled_weight * |f(mixed) - target|
        + tv_weight * total_variation(f(mixed))

    (mean absolute errors of images in [0, 1]) and lets the teacher follow. In the first stage ``labelled_weight``
    counts too, so that Adam's averages stay valid at the switch. Several ranks mix each within its own share of the
    batch, so the losses of the second stage depend on their number.

    Args:
        network: any.
        supervised: length of the first stage: '2000steps', '10epochs' (passes over the labelled images) or '40%'.
        self_training: False leaves out the second stage, and with it teacher, mixing and total variation.
        labelled_weight, unlabelled_weight, tv_weight: of the three losses. The defaults are those of the authors' code
            (10, 1, 0.001), which has images in [-1, 1]: there absolute errors are twice as large, the quadratic total
            variation four times, so 0.001 is 0.002 here.
        teacher_decay: nu of Eq. 7: 0 makes the network its own teacher, 1 keeps the teacher of the switch.
        teacher_buffers: see ``slackoff.tasks.task.follow``.
        labelled_residue: rain that labelled images give to the mixing: 'background' is rainy less true background,
            as in the supplement; 'prediction' is rainy less what the network made of it, as in the authors' code.
        mixing_strength: what the rain is multiplied by, uniform between the two.
        steps, learning_rate, betas, decay: see ``Task``.

    Raises:
        SlackoffError: a setting that cannot be, or a first stage that leaves no step for the second.
    """

    uses_unlabelled = True
    preset = "semi_supervised"

    def __init__(
        self,
        network: nn.Module,
        steps: int,
        supervised: str = "40%",
        self_training: bool = True,
        labelled_weight: float = 10.0,
        unlabelled_weight: float = 1.0,
        tv_weight: float = 0.002,
        teacher_decay: float = 0.999,
        teacher_buffers: Buffers = "copy",
        labelled_residue: Literal["background", "prediction"] = "background",
        mixing_strength: tuple[float, float] = (0.5, 1.1),
        learning_rate: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        decay: Cosine | Steps | None = None,
    ) -> None:
        super().__init__(network, steps, learning_rate, betas, decay)
        check_choices(SemiSupervisedTask, teacher_buffers=teacher_buffers, labelled_residue=labelled_residue)
        check_weights("task", labelled_weight=labelled_weight, unlabelled_weight=unlabelled_weight, tv_weight=tv_weight)
        if not 0 <= teacher_decay <= 1:
            raise SlackoffError(f"task.teacher_decay={teacher_decay} must lie between 0 and 1")
        low, high = mixing_strength
        if not 0 <= low <= high:
            raise SlackoffError(f"task.mixing_strength={[low, high]} must be [low, high] with 0 <= low <= high")
        self.self_training = self_training
        self.labelled_weight = labelled_weight
        self.unlabelled_weight = unlabelled_weight
        self.tv_weight = tv_weight
        self.teacher_decay = teacher_decay
        self.teacher_buffers = teacher_buffers
        self.labelled_residue = labelled_residue
        self.mixing_strength = (low, high)
        self.supervised = supervised
        self._set_switch()
        self.teacher = copy.deepcopy(network).requires_grad_(False) if self_training else None

    @property
    def teachers(self) -> dict[str, nn.Module]:
        """The teacher, once it teaches, beside those of every regime."""
        if self.teacher is None or self.global_step <= self.switch:
            return super().teachers
        return {"teacher": self.teacher, **super().teachers}

    def losses(self, batch: RainyBatch, step: int) -> dict[str, Tensor]:
        """``loss``, ``labelled`` and, in the second stage, ``unlabelled`` and ``total_variation``.

        Raises:
            SlackoffError: the second stage has no unlabelled images.
        """
        restored = self.network(batch.rainy)
        labelled = F.l1_loss(restored.float(), batch.background)
        loss = self.labelled_weight * labelled
        if self.teacher is None or step < self.switch:
            return with_parts(loss, {"labelled": labelled})
        mixed = self._mix(batch, restored)
        output = self.network(mixed.rainy).float()
        unlabelled = F.l1_loss(output, mixed.target)
        smoothness = total_variation(output)
        loss = loss + self.unlabelled_weight * unlabelled + self.tv_weight * smoothness
        return with_parts(loss, {"labelled": labelled, "unlabelled": unlabelled, "total_variation": smoothness})

    @torch.no_grad()
    def _mix(self, batch: RainyBatch, restored: Tensor) -> Mixed:
        assert self.teacher is not None
        photos = self.photos(batch, ", or set task.self_training=false")
        pseudo_label = self.teacher.eval()(photos).float().clamp(0.0, 1.0)
        clean = restored.float() if self.labelled_residue == "prediction" else batch.background
        return mix_residues(
            batch.rainy, batch.background, batch.rainy - clean, photos, pseudo_label, self.mixing_strength
        )

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self._set_switch(data.labelled_images / data.batch_size)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.teacher is not None and self.global_step == self.switch:
            self.teacher.load_state_dict(self.network.state_dict())

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Adam's step, and at once the teacher's, so that a checkpoint never lies between the two."""
        step = self.global_step
        super().optimizer_step(*args, **kwargs)
        if self.teacher is not None and step >= self.switch:
            follow(self.teacher, self.network, self.teacher_decay, self.teacher_buffers)

    def _set_switch(self, epoch_steps: float = 0.0) -> None:
        """At which step the second stage begins; before the data are known, epochs count as none."""
        self.switch = count_steps(self.supervised, "task.supervised", self.steps, epoch_steps)
        if self.self_training and self.switch >= self.steps:
            raise SlackoffError(
                f"task.supervised takes {self.switch} of the {self.steps} steps and leaves none for self-training: "
                "shorten it, raise schedule.steps, or set task.self_training=false"
            )
