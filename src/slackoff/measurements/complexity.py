"""Multi-scale structural complexity (Bagrov et al., PNAS 117(48), 2020): of images, and of whole categories of them.

An image A_0 is averaged over blocks of F x F pixels (F the filter size), the result again over blocks of F x F, and so
on; A_k, written back at full size, is constant on blocks of F^k x F^k pixels. With the overlaps
O_ij = mean over pixels of A_i . A_j (the dot product of the channels), what scale k holds is

    C_k = |O_{k+1,k} - (O_{k,k} + O_{k+1,k+1}) / 2|,        C = sum of C_k over k = k0 ... K - 1.

Because the means are nested, C_k = mean |A_k - A_{k+1}|^2 / 2 (the form that is computed here: nothing cancels), and
the sum telescopes to (Var A_{k0} - Var A_K) / 2, where Var adds up the variances of the channels. With k0 = 0 and as
many scales as the image has, C is half the variance of its pixels and says nothing of structure: k0 decides what C
means. C grows with the square of the value range.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from kornia.color import rgb_to_grayscale
from PIL import Image
from torch import Tensor

from slackoff.config.schema import AtLeast, Count
from slackoff.errors import SlackoffError, check_choices
from slackoff.images import FolderSource, ImageSource, Patch
from slackoff.images.bank import Keys, choose, cut
from slackoff.measurements.study import KEY, Measurement
from slackoff.metrics.functional import precise_dtype

Colour = Literal["rgb", "grey"]

_VERSION = 1
"""Raise it when the same settings and images would give other numbers."""

_BATCH, _SHOWN = 64, 8


def scale_complexities(image: Tensor, depth: int, filter_size: int = 2) -> Tensor:
    """C_k of each image for k = 0 ... depth - 1.

    Args:
        image: (N, C, H, W) of any dtype; values in [0, 1] unless C is meant for another range.
        depth: number of scales K.
        filter_size: side F of the block that one step averages over, in pixels of the step before.

    Returns:
        (N, depth), float64 (float32 on devices without it). A grey image repeated in three channels has three times
        the value of its single channel.

    Raises:
        SlackoffError: the filter is smaller than 2, or both sides are not divisible by F^depth.
    """
    if image.ndim != 4:
        raise ValueError(f"images are (N, C, H, W), got {tuple(image.shape)}")
    if filter_size < 2:
        raise SlackoffError(f"A filter of {filter_size} x {filter_size} pixels averages nothing: use 2 or more.")
    if depth < 1:
        raise SlackoffError(f"A depth of {depth} leaves no scale to measure: use 1 or more.")
    height, width = image.shape[-2:]
    deepest = full_depth(height, width, filter_size)
    if depth > deepest:
        lower = f" or lower the depth to {deepest}" if deepest else ""
        raise SlackoffError(
            f"Images of {height} x {width} px cannot be averaged {depth} times over {filter_size} x {filter_size} "
            f"blocks: crop both sides to multiples of {filter_size**depth} px{lower}."
        )
    current = image.to(precise_dtype(image.device))
    scales = []
    for _ in range(depth):
        count, channels, height, width = current.shape
        rows, columns = height // filter_size, width // filter_size
        blocks = current.reshape(count, channels, rows, filter_size, columns, filter_size)
        means = blocks.mean((3, 5), keepdim=True)
        scales.append((blocks - means).square().mean((2, 3, 4, 5)).sum(1) / 2)
        current = means.reshape(count, channels, rows, columns)
    return torch.stack(scales, dim=1)


def structural_complexity(image: Tensor, depth: int, filter_size: int = 2, k0: int = 0) -> Tensor:
    """C of each image, the sum of `scale_complexities` over k = k0 ... depth - 1: (N,).

    Raises:
        SlackoffError: as `scale_complexities`, or k0 is not one of the scales.
    """
    if not 0 <= k0 < depth:
        raise SlackoffError(f"k0={k0} is none of the scales 0 ... {depth - 1}: choose one of them, or a larger depth.")
    return scale_complexities(image, depth, filter_size)[:, k0:].sum(1)


def full_depth(height: int, width: int, filter_size: int = 2) -> int:
    """The largest depth that `scale_complexities` takes: 7 for 128 x 128 pixels and a filter of 2."""
    if filter_size < 2 or min(height, width) < 1:
        return 0
    depth = 0
    while height % filter_size ** (depth + 1) == 0 and width % filter_size ** (depth + 1) == 0:
        depth += 1
    return depth


def standardise(image: Tensor) -> Tensor:
    """Each image with mean 0 in every channel and variances that add up to 1 over the channels.

    (N, C, H, W) to the same shape in float64 (float32 on devices without it). So C with k0 = 0 and full depth becomes
    1/2 for every image, and what is left is how its contrast is spread over the scales. NaN for an image without any
    contrast, for which that is not defined.
    """
    precise = image.to(precise_dtype(image.device))
    centred = precise - precise.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3), keepdim=True).sum(1, keepdim=True)
    # A flat image in float64 keeps a variance of rounding errors, about 1e-32 for values up to 1.
    flat = variance <= 1e-12 * precise.square().mean((1, 2, 3), keepdim=True)
    return torch.where(flat, torch.nan, centred / variance.sqrt())


@dataclass(frozen=True)
class ComplexityMeasurement(Measurement):
    """What a config node ``study.measure`` builds: C_k of patches of several image categories.

    Args:
        categories: name -> images; a mapping {root: folder} stands for the images of that folder.
        patch_size_px: side of a patch, a multiple of 4.
        count: patches per category, the same for all; one of each photograph in turn, without overlap for as long as
            possible.
        seed: of the choice of patches.
        filter_size: side of the blocks that a step averages over.
        depth: number of scales K; None for as many as the patch has (7 for 128 px and a filter of 2).
        colours: 'rgb' (the channels' dot product) and/or 'grey' (BT.601 luma of full range).
        normalised: False measures values in [0, 1], True each patch at mean 0 and variance 1 (see
            ``standardise``).

    Raises:
        SlackoffError: a setting that cannot be, or a folder that cannot be read.
    """

    kind: ClassVar[str] = "complexity"

    categories: Mapping[str, ImageSource | Mapping[str, Any]]
    patch_size_px: Annotated[int, AtLeast(4)] = 128
    count: Count = 256
    seed: int = 0
    filter_size: Annotated[int, AtLeast(2)] = 2
    depth: Count | None = None
    colours: Sequence[Colour] = ("rgb", "grey")
    normalised: Sequence[bool] = (False, True)

    def __post_init__(self) -> None:
        deepest = full_depth(self.patch_size_px, self.patch_size_px, self.filter_size)
        if deepest == 0:
            raise SlackoffError(
                f"{KEY}.patch_size_px={self.patch_size_px} is no multiple of {KEY}.filter_size={self.filter_size}: "
                "choose a patch size that is a power of the filter size, such as 128 for 2."
            )
        if self.scales > deepest:
            raise SlackoffError(
                f"{KEY}.depth={self.depth} does not fit patches of {self.patch_size_px} px and blocks of "
                f"{self.filter_size}: give 1 to {deepest}, or null for {deepest}."
            )
        for key in ("colours", "normalised"):
            if not getattr(self, key):
                raise SlackoffError(f"{KEY}.{key}=[] leaves nothing to measure: name one or both.")
        check_choices(ComplexityMeasurement, colours=self.colours)
        if not self.categories:
            raise SlackoffError(f"{KEY}.categories is empty: add one with +{KEY}.categories.NAME.root=FOLDER.")
        for name in self.categories:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(name)):
                raise SlackoffError(f"{KEY}.categories has '{name}', which is no file name: use letters, digits, _ . -")
        sources = {name: _source(name, given) for name, given in self.categories.items()}
        object.__setattr__(self, "categories", sources)

    @property
    def scales(self) -> int:
        """The number of scales K that is measured."""
        return self.depth or full_depth(self.patch_size_px, self.patch_size_px, self.filter_size)

    @property
    def announcement(self) -> str:
        """What is going to be measured."""
        return f"Measuring {self.count} patches of each of {len(self.categories)} categories."

    def identity(self) -> list[Any]:
        """The settings, and names and bytes of the images."""
        settings = [_VERSION, self.patch_size_px, self.count, self.seed, self.filter_size, self.scales]
        images = [[name, source.fingerprint()] for name, source in self._sources()]
        return [settings, [list(self.colours), list(self.normalised)], images]

    def measure(self) -> pd.DataFrame:
        """Measure every patch.

        Returns:
            One row per patch and variant: ``category``, ``photograph``, ``patch`` (its number, place and photograph are
            the same in all variants), ``top``, ``left``, ``colour``, ``normalised``, ``half_variance`` (half the sum of
            the channels' variances, what all C_k add up to at full depth) and ``c_0`` ... ``c_{K-1}``. NaN in
            normalised rows of a patch without contrast.

        Raises:
            SlackoffError: a category has too few or too small images, or one that cannot be read.
        """
        frames = [self._measure_category(name, source) for name, source in self._sources()]
        return pd.concat(frames, ignore_index=True)

    def write_further(self, folder: Path) -> None:
        """Write the first patches of each category as they are measured: patches/CATEGORY/NUMBER.png."""
        for name, source in self._sources():
            (folder / "patches" / name).mkdir(parents=True, exist_ok=True)
            shown = self._choose(name, source)[:_SHOWN]
            for number, pixels in cut(source, _all(source), shown, self.patch_size_px):
                Image.fromarray(pixels).save(folder / "patches" / name / f"{number}.png")

    def _sources(self) -> Iterator[tuple[str, ImageSource]]:
        for name, source in self.categories.items():
            assert not isinstance(source, Mapping)  # __post_init__ has made sources of them
            yield name, source

    def _choose(self, name: str, source: ImageSource) -> list[Patch]:
        keys = Keys(f"{KEY}.count", f"{KEY}.patch_size_px")
        try:
            return choose(source, _all(source), self.patch_size_px, self.count, self.seed, keys)
        except SlackoffError as error:
            raise SlackoffError(f"Category {name}: {error}") from error

    def _measure_category(self, name: str, source: ImageSource) -> pd.DataFrame:
        patches = self._choose(name, source)
        crops = cut(source, _all(source), patches, self.patch_size_px)
        frames = []
        while batch := list(islice(crops, _BATCH)):
            rows = [row for row, _ in batch]
            common = {
                "category": name,
                "photograph": [source.names[patches[row].image] for row in rows],
                "patch": rows,
                "top": [patches[row].top for row in rows],
                "left": [patches[row].left for row in rows],
            }
            pixels = torch.from_numpy(np.stack([pixels for _, pixels in batch]))
            images = pixels.permute(0, 3, 1, 2).double() / 255.0
            frames += [pd.DataFrame(common | measures) for measures in self._variants(images)]
        return pd.concat(frames).sort_values("patch", kind="stable")

    def _variants(self, images: Tensor) -> Iterator[dict[str, Any]]:
        """The measures of one batch (N, 3, H, W), once for each colour and normalisation."""
        for colour in self.colours:
            coloured = images if colour == "rgb" else rgb_to_grayscale(images)
            for normalised in self.normalised:
                shown = standardise(coloured) if normalised else coloured
                half_variance = shown.var((2, 3), correction=0).sum(1) / 2
                row = {"colour": colour, "normalised": normalised, "half_variance": half_variance.numpy()}
                scales = scale_complexities(shown, self.scales, self.filter_size)
                yield row | {f"c_{k}": scales[:, k].numpy() for k in range(self.scales)}


def _source(name: str, given: Any) -> ImageSource:
    """The images of a category; a mapping with a root is a folder of images."""
    key = f"{KEY}.categories.{name}"
    if not isinstance(given, Mapping):
        source: ImageSource = given
        return source
    if set(given) - {"root", "key"} or "root" not in given:
        raise SlackoffError(f"{key}={dict(given)} names no images: give {key}.root=FOLDER.")
    return FolderSource(given["root"], str(given.get("key", f"{key}.root")))


def _all(source: ImageSource) -> range:
    return range(len(source.names))
