"""The measures of deraining as torchmetrics classes: fed batch by batch, on one process or many, one number at the end.

    metrics = MetricCollection([RainRemovalError(), BackgroundError(), RemovalShare()])
    metrics.update(output, background, rain, rainy)   # as often as there are batches
    metrics.compute()

Images are float (N, 3, H, W), the rain layer is (N, 1, H, W), all in [0, 1]; `compute` gives a float32 scalar.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from slackoff.errors import check_choices
from slackoff.metrics import functional
from slackoff.metrics.columns import HEADLINE_THRESHOLD
from slackoff.metrics.functional import Sums

Average = Literal["image", "pooled"]


class DerainingMetric(Metric):
    """A quotient of two sums per image, averaged over images or formed once from the pooled sums.

    An image on which a measure is not defined (no rain, say) is skipped; when nothing was seen the result is NaN.

    Args:
        threshold: grey levels above which a pixel counts as rain.
        average: "image" takes the mean of the per-image values; "pooled" adds the sums of all images first, so that
            images with more rain weigh more.
        quantise: round the images, not the rain layer, to 8 bit first, as if they had been saved and read back.
        kwargs: of `torchmetrics.Metric`.

    Raises:
        SlackoffError: another `average`.
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
        check_choices(DerainingMetric, average=average)
        self.threshold, self.average, self.quantise = threshold, average, quantise
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # A MetricCollection merges metrics whose states are equal after one batch: two that saw no rain, for example.
        digest = hashlib.sha256(repr((type(self).__name__, threshold, average, quantise)).encode()).digest()[:8]
        self.add_state("fingerprint", torch.tensor(list(digest)), dist_reduce_fx="max")

    def update(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor, sums: Sums | None = None) -> None:
        """Take in a batch.

        Args:
            output: of the network.
            background: the truth.
            rain: the rain layer before clipping, where it is known; else `functional.rain_from_pair`.
            rainy: the network's input.
            sums: of this batch, where `Protocol.sums` has formed them already, which then are not formed again.
        """
        if sums is None:
            if self.quantise:
                output, background, rainy = map(functional.quantise, (output, background, rainy))
            sums = self._sums(output, background, rain, rainy)
        seen = sums.weight > 0
        if self.average == "image":
            sums = Sums(self._quotient(sums), seen.to(sums.total.dtype))
        self.total += torch.where(seen, sums.total, 0).sum()
        self.weight += torch.where(seen, sums.weight, 0).sum()

    def compute(self) -> Tensor:
        """The average over everything seen on all processes, float32 scalar; NaN when nothing was."""
        sums = Sums(self.total, self.weight)
        return (functional.mean(sums) if self.average == "image" else self._quotient(sums)).float()

    @abstractmethod
    def _sums(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> Sums:
        """The two sums of each image; a weight of 0 marks an image to skip."""

    def _quotient(self, sums: Sums) -> Tensor:
        """From the two sums to the measure; a root mean square unless a subclass says otherwise."""
        return functional.root_mean(sums)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> "DerainingMetric":
        """Move to a device; one without float64 (MPS) gets float32 states."""
        try:
            fn(torch.zeros(1, dtype=torch.float64))
        except TypeError:
            self.set_dtype(torch.float32)
        super()._apply(fn, exclude_state)
        return self


class RainRemovalError(DerainingMetric):
    """E_R in grey levels: RMS change of the input inside the rain. See `functional.rain_error`.

    Higher means more rain removed, or a picture spoilt: read it beside the E_R of the background as output.
    """

    higher_is_better = True

    def _sums(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> Sums:
        return functional.error_sums(output, rainy, functional.rain_mask(rain, self.threshold))


class BackgroundError(DerainingMetric):
    """E_B in grey levels: RMS error on the rain-free pixels. See `functional.background_error`."""

    higher_is_better = False

    def _sums(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> Sums:
        return functional.error_sums(output, background, ~functional.rain_mask(rain, self.threshold))


class RemovalShare(DerainingMetric):
    """Share of the rain layer taken out, 1 = all, 0 = none. See `functional.removal_share`."""

    higher_is_better = True

    def _sums(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> Sums:
        return functional.removal_sums(output, rainy, rain, functional.rain_mask(rain, self.threshold)).share

    def _quotient(self, sums: Sums) -> Tensor:
        return functional.mean(sums)
