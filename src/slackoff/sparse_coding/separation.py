"""Discriminative sparse coding: an image is taken apart into a background and a rain layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from slackoff.sparse_coding.atoms import across_streaks, split_atoms
from slackoff.sparse_coding.dictionary import learn_dictionary, sweep_atoms
from slackoff.sparse_coding.patches import average_patches, count_patches, sample_patches
from slackoff.sparse_coding.pursuit import pursue
from slackoff.sparse_coding.screen_blend import unblend, update_layer


@dataclass(frozen=True)
class Settings:
    """Numbers of the method; the defaults are those of the authors' demo script, and `weight` is our choice.

    - `side`: of a patch, px.
    - `background_atoms`, `rain_atoms`: sizes of the two dictionaries.
    - `background_sparsity`, `rain_sparsity`: atoms of a patch.
    - `samples`: patches that dictionaries are learned from; `sample_step`: between their possible places, px.
    - `sweeps`: of K-SVD for the first dictionary.
    - `rounds`: of coding, pixel update and fitting of both dictionaries.
    - `step`: between the patches that are coded, px.
    - `weight`: of the distance to what was coded, against the squared error of the blend.
    """

    side: int = 16
    background_atoms: int = 512
    rain_atoms: int = 128
    background_sparsity: int = 5
    rain_sparsity: int = 8
    samples: int = 10_000
    sample_step: int = 3
    sweeps: int = 5
    rounds: int = 5
    step: int = 2
    weight: float = 1.0


class Layers(NamedTuple):
    """Background and rain, (H, W) in [0, 1] each, and the two dictionaries, (K, side * side)."""

    background: Tensor
    rain: Tensor
    background_atoms: Tensor
    rain_atoms: Tensor


def separate(
    observed: Tensor,
    base: Tensor,
    settings: Settings,
    generator: torch.Generator,
    advance: Callable[[float], object] = lambda share: None,
) -> Layers:
    """Take the luminance of a rainy image apart: O = B + R - B * R.

    Args:
        observed: O, float, (H, W), in [0, 1]; at least `settings.side` a side, and `settings.step` divides what is
            more than that.
        base: O without what may be rain, such as a smoothed O, (H, W); the first guess of R is what O exceeds it by.
        settings: see `Settings`.
        generator: on the CPU; decides which patches dictionaries are learned from.
        advance: told the share of the work that has been done since it was last told; the shares add up to 1.
    """
    progress = _Progress(settings, tuple(observed.shape), advance)
    background, rain = unblend(observed, (observed - base).clamp(min=0))
    samples = _samples(observed, settings, generator)
    dictionary = learn_dictionary(
        samples,
        settings.background_atoms + settings.rain_atoms,
        settings.background_sparsity,
        settings.sweeps,
        generator,
        lambda sweep: progress.coded(len(samples), settings.background_sparsity),
    )
    atoms = split_atoms(dictionary, settings.side, across_streaks(rain), settings.rain_atoms)
    for number in range(settings.rounds):
        if number:  # fitted to layers of the round before: after the last round nobody would use them
            atoms = (
                _refitted(background, atoms[0], settings.background_sparsity, settings, generator, progress),
                _refitted(rain, atoms[1], settings.rain_sparsity, settings, generator, progress),
            )
        coded_background = _coded(background, atoms[0], settings.background_sparsity, settings, progress)
        coded_rain = _coded(rain, atoms[1], settings.rain_sparsity, settings, progress)
        rain = update_layer(observed, background, coded_rain.clamp(min=0), settings.weight)
        background = update_layer(observed, rain, coded_background, settings.weight)
    background, rain = unblend(observed, rain)
    return Layers(background, rain, *atoms)


class _Progress:
    """Tells shares of the whole work; it is counted in atoms that are looked for."""

    def __init__(self, settings: Settings, size: tuple[int, ...], advance: Callable[[float], object]) -> None:
        samples = min(settings.samples, count_patches(size, settings.side, settings.sample_step))
        patches = count_patches(size, settings.side, settings.step)
        first = settings.sweeps * samples * settings.background_sparsity
        in_rounds = settings.rounds * patches + max(0, settings.rounds - 1) * samples
        self._total = first + in_rounds * (settings.background_sparsity + settings.rain_sparsity)
        self._advance = advance

    def coded(self, patches: int, sparsity: int) -> None:
        self._advance(patches * sparsity / self._total)


def _coded(layer: Tensor, atoms: Tensor, sparsity: int, settings: Settings, progress: _Progress) -> Tensor:
    """A layer as its atoms give it: (H, W)."""

    def code(patches: Tensor) -> Tensor:
        mean = patches.mean(1, keepdim=True)
        return pursue(patches - mean, atoms, sparsity).signals(atoms) + mean

    return average_patches(layer, settings.side, settings.step, code, lambda done: progress.coded(done, sparsity))


def _refitted(
    layer: Tensor,
    atoms: Tensor,
    sparsity: int,
    settings: Settings,
    generator: torch.Generator,
    progress: _Progress,
) -> Tensor:
    """A dictionary after one sweep of K-SVD on its own layer."""
    samples = _samples(layer, settings, generator)
    progress.coded(len(samples), sparsity)
    return sweep_atoms(samples, atoms, pursue(samples, atoms, sparsity))


def _samples(layer: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    """Patches to learn from, without their means."""
    patches = sample_patches(layer, settings.side, settings.sample_step, settings.samples, generator)
    return patches - patches.mean(1, keepdim=True)
