"""Measure a network on a test set: one row an image, means for the curves, a few pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.evaluation.test_sets import EvaluationImage, StreamedImages
from slackoff.metrics import BackgroundError, RainRemovalError
from slackoff.metrics.columns import INPUT, Better, for_averaging
from slackoff.metrics.functional import quantise
from slackoff.metrics.own_measures import OwnMeasure
from slackoff.metrics.protocol import Protocol
from slackoff.networks.layers import device_of, true_float32

OWN_MEASURES = "own_measures"
"""Under which name the attributes of a frame of results describe the columns of own measures."""


class Evaluation(NamedTuple):
    """What one evaluation found.

    ``rows``: a frame with one row an image (``test_set``, ``image``, ``height``, ``width`` and the protocol's
    columns); ``means``: mean of each measure over the images that have it, and the pooled E_R and E_B;
    ``pictures``: (test set, image) to uint8 (H, W, 3) arrays named rainy, output and background.
    """

    rows: pd.DataFrame
    means: dict[str, float]
    pictures: dict[tuple[str, str], dict[str, NDArray[np.uint8]]]


class Evaluator:
    """Runs a network in true float32 over test images, one at a time, on whatever device it is on.

    Args:
        name: of the first test set, for the rows.
        images: its test images.
        protocol: what is measured.
        quick_count: how many of the images, spread evenly, the evaluations during training use.
        picture_count: of how many images of a set, spread evenly, pictures are kept.
        also: further test sets by name, measured when training has ended, and not during it.
        measures: further figures of each image, of the output and, as NAME_input, of the rainy image.
    """

    def __init__(
        self,
        name: str,
        images: Sequence[EvaluationImage],
        protocol: Protocol,
        quick_count: int,
        picture_count: int,
        also: Mapping[str, Sequence[EvaluationImage]] | None = None,
        measures: Sequence[OwnMeasure] = (),
    ) -> None:
        self.name = name
        self.images = images
        self.protocol = protocol
        self.quick = _spread(len(images), quick_count)
        self.picture_count = picture_count
        self.measures = list(measures)
        self.also = dict(also or {})

    def quick_look(self, network: nn.Module, picture_count: int) -> Evaluation:
        """Measure the quick part of the test set and keep pictures of so many of its images."""
        return self._measure(network, self.name, self.images, picture_count, self.quick)

    def evaluate(self, network: nn.Module) -> Evaluation:
        """Measure every image of every test set and keep pictures; the means are those of the first set."""
        first = self._measure(network, self.name, self.images, self.picture_count)
        rows, pictures = [first.rows], first.pictures
        for name, images in self.also.items():
            further = self._measure(network, name, images, self.picture_count)
            rows.append(further.rows)
            pictures |= further.pictures
        frame = pd.concat(rows, ignore_index=True)
        if self.measures:  # kept in the file's metadata, for tables and figures
            frame.attrs[OWN_MEASURES] = {measure.name: measure.column._asdict() for measure in self.measures}
        return Evaluation(frame, first.means, pictures)

    def better(self, measure: str, key: str) -> Better:
        """Which direction of a mean is better.

        Args:
            measure: its name.
            key: the config key that names it, for the message.

        Raises:
            SlackoffError: there is no such mean, or neither direction is better.
        """
        columns = self.protocol.columns() | {own.name: own.column for own in self.measures}
        columns |= {f"{name}_pooled": columns[name] for name in ("e_r", "e_b")}
        if measure not in columns or (found := columns[measure].better) is None:
            useful = ", ".join(name for name, column in columns.items() if column.better and "_t" not in name)
            raise SlackoffError(f"{key}={measure} is no measure that can be better or worse: choose one of {useful}")
        return found

    @torch.no_grad()
    def _measure(
        self,
        network: nn.Module,
        name: str,
        images: Sequence[EvaluationImage],
        picture_count: int,
        chosen: Sequence[int] | None = None,
    ) -> Evaluation:
        """Measure the images of the chosen numbers; all of them if None."""
        if chosen is None:
            chosen = range(len(images))
        device = device_of(network)
        # Over the pixels of all images at once. Every rank that measures measures all images: nothing is synced.
        pooled = {
            "e_b": BackgroundError(self.protocol.headline, "pooled", sync_on_compute=False).to(device),
            "e_r": RainRemovalError(self.protocol.headline, "pooled", sync_on_compute=False).to(device),
        }
        was_training = network.training
        network.eval()
        rows, pictures = [], {}
        pictured = _spread(len(chosen), picture_count)
        names = _told_apart(images)
        for place, number in enumerate(chosen):
            image = images[number]._replace(name=names[number])
            background, rain, rainy = (x[None].to(device) for x in (image.background, image.rain, image.rainy))
            with true_float32(device):
                output = network(rainy).float()
            sums = self.protocol.sums(output, background, rain, rainy)
            for key, metric in pooled.items():
                metric.update(output, background, rain, rainy, sums[key])
            height, width = rainy.shape[-2:]
            row = {"test_set": name, "image": image.name, "height": height, "width": width, **image.origin}
            figures = self.protocol.figures(sums)
            row |= dict(zip(figures, torch.cat([*figures.values()]).tolist(), strict=True))
            rows.append(row | self._own(output, background, rainy))
            if place in pictured:
                shown = {"rainy": rainy, "output": output, "background": background}
                pictures[name, image.name] = {key: _to_pixels(value[0]) for key, value in shown.items()}
        network.train(was_training)
        frame = pd.DataFrame(rows)
        means = {key: _mean(frame, key) for key in [*self.protocol.columns(), *(own.name for own in self.measures)]}
        means |= {f"{key}_pooled": metric.compute().item() for key, metric in pooled.items()}
        return Evaluation(frame, means, pictures)

    def _own(self, output: Tensor, background: Tensor, rainy: Tensor) -> dict[str, float]:
        """The further figures of one image."""
        if not self.measures:
            return {}
        output = self.protocol.prepare(output)
        clean, rainy = (quantise(image) if self.protocol.quantise else image for image in (background, rainy))
        found = {measure.name: measure.of_image(output, clean, rainy) for measure in self.measures}
        return found | {f"{own.name}{INPUT}": own.of_image(rainy, clean, rainy) for own in self.measures}


def _told_apart(images: Sequence[EvaluationImage]) -> list[str]:
    """The names of the images, with the digest behind those that several of them have."""
    if isinstance(images, StreamedImages):
        heads = images.heads
    else:
        heads = [(image.name, image.origin.get("digest", "")) for image in images]
    times = Counter(name for name, _ in heads)
    return [f"{name} [{digest}]" if times[name] > 1 else name for name, digest in heads]


def _mean(frame: pd.DataFrame, key: str) -> float:
    values = for_averaging(key, frame[key])
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _spread(total: int, count: int) -> list[int]:
    """``count`` of the numbers 0 .. total - 1, evenly spread, in order."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))


def _to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """float (3, H, W) in about [0, 1] to uint8 (H, W, 3)."""
    return (image.clamp(0, 1) * 255.0).round().byte().permute(1, 2, 0).cpu().numpy()
