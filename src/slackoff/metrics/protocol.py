"""The choices behind a number, under a name: compare two tables only when their protocols are the same."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from slackoff.errors import SlackoffError, check_choices
from slackoff.metrics import functional
from slackoff.metrics.columns import HEADLINE_THRESHOLD, THRESHOLDS, Channel, Column, measure_columns
from slackoff.metrics.functional import Sums, masked_sums, squared_error

Images = Literal["any", "whole", "five"]
_FOR = {"any": "", "whole": "; for whole images", "five": "; for five crops of each pair and of its mirror image"}

_KEY = "evaluation.protocol.thresholds"
_WINDOWS = {
    "gaussian": "SSIM 11x11 Gaussian, sigma 1.5, where the window fits",
    "uniform": "SSIM 7x7 uniform, sample covariance, where the window fits",
}


@dataclass(frozen=True)
class Protocol:
    """How test images are measured. Built from the config node `evaluation.protocol`.

    `thresholds`: grey levels above which a pixel is rain, kept in rising order; `headline`: the one of them
    behind the short names; `quantise`: round images (not the rain layer) to 8 bit first, as if they had been
    saved and read back; `clip`: where they are not rounded, clamp the output to 0..255 all the same; `channel`: of
    the PSNR and SSIM that tables and figures show, "rgb" or "y" (both are measured, whichever it is); `images`: what
    the protocol is for, "any" test images, only "whole" ones or only "five" crops of pairs; `truncate`: round down;
    `ssim_window`: see `functional.ssim`. Raises `SlackoffError` for thresholds outside [0, 255), repeated or missing
    ones, or another headline.
    """

    name: str = "slackoff-v1"
    thresholds: tuple[float, ...] = THRESHOLDS
    headline: float = HEADLINE_THRESHOLD
    quantise: bool = True
    clip: bool = False
    channel: Channel = "rgb"
    images: Images = "any"
    truncate: bool = False
    ssim_window: functional.Window = "gaussian"

    def __post_init__(self) -> None:
        check_choices(Protocol, channel=self.channel, images=self.images, ssim_window=self.ssim_window)
        object.__setattr__(self, "thresholds", _checked(self.thresholds))
        if self.headline not in self.thresholds:
            listed = ", ".join(f"{t:g}" for t in self.thresholds)
            raise SlackoffError(
                f"evaluation.protocol.headline is {self.headline!r}, which is not one of {_KEY} "
                f"({listed}): add it there or choose one of them."
            )

    def columns(self) -> dict[str, Column]:
        """Name -> meaning of what `measure` returns, in the same order."""
        return measure_columns(self.thresholds, self.headline, self.channel)

    def describe(self) -> str:
        """One line for table captions and records; the same settings always give the same text."""
        listed = ", ".join(f"{t:g}" for t in self.thresholds)
        depth = "8-bit" if self.quantise else "float, clipped" if self.clip else "float"
        depth += " (rounded down)" if self.quantise and self.truncate else ""
        shown = "; PSNR and SSIM in tables are those on Y" if self.channel == "y" else ""
        return (
            f"{self.name}: rain R > {listed} of 255 (headline {self.headline:g}); {depth} images; "
            "all figures per image, then mean; PSNR peak 255, no crop, on RGB and on BT.601 Y (16..235); "
            f"{_WINDOWS[self.ssim_window]}{_FOR[self.images]}{shown}"
        )

    def prepare(self, output: Tensor) -> Tensor:
        """The output of a network, (N, 3, H, W) in about [0, 1], as it is measured: rounded, clamped or neither."""
        if self.quantise:
            return functional.quantise(output, self.truncate)
        return output.float().clamp(0, 1) if self.clip else output

    def measure(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> dict[str, Tensor]:
        """Every figure of `columns()` for a batch: name -> float32 (N,), NaN where a figure is not defined.

        `output`, `background`, `rainy` are float (N, 3, H, W), `rain` is (N, 1, H, W), all in [0, 1], on one
        device. `rain` is the layer before clipping, where it is known; else `functional.rain_from_pair`.
        """
        return self.figures(self.sums(output, background, rain, rainy))

    def figures(self, sums: dict[str, Sums]) -> dict[str, Tensor]:
        """From what `sums` gives to what `measure` gives."""
        return {name: _quotient(name)(sums[name]).float() for name in self.columns()}

    @torch.no_grad()
    def sums(self, output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> dict[str, Sums]:
        """The sums that every figure of `columns()` is taken from, for a batch as in `measure`."""
        _check_shapes(output, background, rain, rainy)
        output = self.prepare(output)
        if self.quantise:
            background, rainy = map(functional.quantise, (background, rainy))
        change, error, visible_rain = (
            squared_error(first, second)
            for first, second in ((output, rainy), (output, background), (background, rainy))
        )
        found: dict[str, Sums] = {}
        for threshold in self.thresholds:
            mask = functional.rain_mask(rain, threshold)
            at_threshold = {
                "e_r": masked_sums(change, mask),
                "e_b": masked_sums(error, ~mask),
                "e_r_oracle": masked_sums(visible_rain, mask),
            }
            found |= {f"{name}_t{threshold:g}": sums for name, sums in at_threshold.items()}
            if threshold == self.headline:
                removal = functional.removal_sums(output, rainy, rain, mask)
                found |= at_threshold
                found["residual_rms"] = masked_sums(error, mask)
                found["removal_share"], found["leftover_rms"] = removal
                found["removal_share_oracle"] = functional.removal_sums(background, rainy, rain, mask).share
        found["psnr_rgb"], found["psnr_rgb_input"] = map(functional.whole_sums, (error, visible_rain))
        found["psnr_y"] = functional.psnr_sums(output, background, "y")
        if self.channel == "y":
            found["psnr_y_input"] = functional.psnr_sums(rainy, background, "y")
        for name in (name for name in self.columns() if name.startswith("ssim")):
            image = rainy if name.endswith("_input") else output
            channel: Channel = "y" if name.startswith("ssim_y") else "rgb"
            values = functional.ssim(image, background, channel, self.ssim_window)
            found[name] = Sums(values, torch.ones_like(values))
        return found


def _quotient(name: str) -> Callable[[Sums], Tensor]:
    """How the figure of this name is taken from its sums."""
    if name.startswith("psnr"):
        return functional.decibel
    return functional.mean if name.startswith(("ssim", "removal_share")) else functional.root_mean


def _check_shapes(output: Tensor, background: Tensor, rain: Tensor, rainy: Tensor) -> None:
    count, channels, height, width = background.shape
    if channels != 3 or output.shape != background.shape or rainy.shape != background.shape:
        raise ValueError(
            "output, background and rainy are all (N, 3, H, W), got "
            f"{tuple(output.shape)}, {tuple(background.shape)}, {tuple(rainy.shape)}"
        )
    if rain.shape != (count, 1, height, width):
        raise ValueError(f"rain is {(count, 1, height, width)} beside these images, got {tuple(rain.shape)}")


def _checked(given: Iterable[float]) -> tuple[float, ...]:
    thresholds = tuple(sorted(given))
    if not thresholds:
        raise SlackoffError(f"{_KEY} is empty: give at least one threshold in grey levels, e.g. [10].")
    for value in thresholds:
        if not 0 <= value < functional.GREY_LEVELS:
            raise SlackoffError(f"{_KEY} has {value!r}: give numbers of grey levels from 0 to below 255, e.g. [0, 10].")
    if len({f"{value:g}" for value in thresholds}) < len(thresholds):
        raise SlackoffError(f"{_KEY} repeats a value in {list(thresholds)}: list each threshold once.")
    return thresholds
