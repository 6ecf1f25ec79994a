"""The measures as torchmetrics classes: fed batch by batch, on one process or many, one number at the end.

All take the same `update(output, background, rain, rainy)`, so a `MetricCollection` can hold any of them.
Images are float (N, 3, H, W), the rain layer is (N, 1, H, W), all in [0, 1]; `compute` gives a float32
scalar.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from slackoff.metrics import fidelity, functional
from slackoff.metrics.columns import HEADLINE_THRESHOLD, PSNR_CAP_DB
from slackoff.metrics.fidelity import Channel

Average = Literal["image", "pooled"]


class Scene(NamedTuple):
    """What a measure may look at: the images of one batch and the mask of its rain."""

    output: Tensor
    background: Tensor
    rain: Tensor
    rainy: Tensor
    mask: Tensor


class SceneMetric(Metric):
    """A quotient of two sums per image, averaged over images or formed once from the pooled sums.

    `average='image'` takes the mean of the per-image values, `'pooled'` adds the sums of all images first, so
    that images with more rain weigh more. An image on which a measure is not defined (an empty mask) is
    skipped; when nothing was seen the result is NaN. `threshold` is in grey levels; `quantise` rounds the
    images, not the rain layer, to 8 bit first.
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    weight: Tensor

    def __init__(
        self,
        threshold: float = HEADLINE_THRESHOLD,
        average: Average = "image",
        quantise: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if average not in ("image", "pooled"):
            raise ValueError(f"average is 'image' or 'pooled', not {average!r}")
        self.threshold, self.average, self.quantise = threshold, average, quantise
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._add_fingerprint(type(self).__name__, threshold, average, quantise)

    def _add_fingerprint(self, *settings: object) -> None:
        """Keep `MetricCollection` from merging two measures that happen to agree on the first batch.

        It takes metrics with equal states for the same metric, and E_R equals E_B while all masks are empty.
        """
        digest = hashlib.sha256(repr(settings).encode()).digest()[:8]
        self.add_state("fingerprint", torch.tensor(list(digest)), dist_reduce_fx="max")

    def update(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> None:
        """Take in a batch; shapes and ranges as in the module's docstring."""
        if self.quantise:
            output, background, rainy = map(functional.quantise, (output, background, rainy))
        mask = functional.rain_mask(rain, self.threshold)
        numerator, denominator = self._sums(Scene(output, background, rain, rainy, mask))
        seen = denominator > 0
        if self.average == "image":
            numerator = self._finish(numerator, denominator)
            denominator = seen.to(numerator.dtype)
        self.total += torch.where(seen, numerator, 0).sum()
        self.weight += torch.where(seen, denominator, 0).sum()

    def compute(self) -> Tensor:
        """The average over everything seen on all processes, float32 scalar; NaN when nothing was."""
        if self.average == "image":
            return (self.total / self.weight).float()
        return self._finish(self.total, self.weight).float()

    @abstractmethod
    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Numerator and denominator per image, (N,) each; a denominator of 0 marks an image to skip."""

    def _finish(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """From the two sums to the measure; a root mean square unless a subclass says otherwise."""
        return (numerator / denominator).sqrt()

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> "SceneMetric":
        """Move to a device; one without float64 (MPS) gets float32 states."""
        try:
            fn(torch.zeros(1, dtype=torch.float64))
        except TypeError:
            self.set_dtype(torch.float32)
        super()._apply(fn, exclude_state)
        return self


class RainError(SceneMetric):
    """E_R in grey levels: RMS change of the input inside the rain. See `functional.rain_error`."""

    higher_is_better = True

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        return functional.error_sums(scene.output, scene.rainy, scene.mask)


class OracleRainError(SceneMetric):
    """E_R of the perfect output, in grey levels: what E_R must be read against."""

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        return functional.error_sums(scene.background, scene.rainy, scene.mask)


class BackgroundError(SceneMetric):
    """E_B in grey levels: RMS error on the rain-free pixels. See `functional.background_error`."""

    higher_is_better = False

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        return functional.error_sums(scene.output, scene.background, ~scene.mask)


class ResidualRMS(SceneMetric):
    """RMS error against the background inside the rain, in grey levels."""

    higher_is_better = False

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        return functional.error_sums(scene.output, scene.background, scene.mask)


class RemovalShare(SceneMetric):
    """Share of the rain layer taken out, 1 = all, 0 = none. See `functional.removal_share`."""

    higher_is_better = True

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        sums = functional.removal_sums(scene.output, scene.rainy, scene.rain, scene.mask)
        return sums.along_rain, sums.rain_energy

    def _finish(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        return numerator / denominator


class LeftoverRMS(SceneMetric):
    """Companion of `RemovalShare`, in grey levels: RMS change in the rain that is neither rain nor shift."""

    higher_is_better = False

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        sums = functional.removal_sums(scene.output, scene.rainy, scene.rain, scene.mask)
        return sums.leftover, sums.samples


class PSNR(SceneMetric):
    """PSNR in dB on 'rgb' or 'y'; each image (pooled: the whole) counts as at most 100 dB."""

    higher_is_better = True

    def __init__(
        self, channel: Channel = "rgb", average: Average = "image", quantise: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(average=average, quantise=quantise, **kwargs)
        self.channel: Channel = channel
        self._add_fingerprint(type(self).__name__, channel, average, quantise)

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        return fidelity.psnr_sums(scene.output, scene.background, self.channel)

    def _finish(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        return fidelity.decibel(numerator, denominator).clamp_max(PSNR_CAP_DB)


class SSIM(SceneMetric):
    """Mean SSIM over images, on 'rgb' or 'y'; images smaller than its window are skipped."""

    higher_is_better = True

    def __init__(self, channel: Channel = "rgb", quantise: bool = True, **kwargs: Any) -> None:
        super().__init__(quantise=quantise, **kwargs)
        self.channel: Channel = channel
        self._add_fingerprint(type(self).__name__, channel, quantise)

    def _sums(self, scene: Scene) -> tuple[Tensor, Tensor]:
        fits = min(scene.output.shape[-2:]) >= fidelity.SSIM_WINDOW["gaussian"]
        values = fidelity.ssim(scene.output, scene.background, self.channel)
        return values, torch.full_like(values, float(fits))

    def _finish(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        return numerator / denominator
