"""Means at several points of a study with joint resamples, so that any function of them has an interval.

Points that were tested on the same images are resampled together, so that whatever is compared is paired; points on
other images are resampled independently of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import Array, Joint, joint_means

Point = tuple[Group, Any, str]
"""A group, a value of its main axis, a measure."""

Statistic = Callable[[Array], Array]
"""From (..., V) means of V points to (...) numbers, or to (..., k)."""


def samples(points: Sequence[Point]) -> Joint:
    """The means at the points, in their order.

    Of points on the same images, an image that misses a value at one is left out of all.
    """
    blocks: dict[tuple[str, ...], list[int]] = {}
    for number, (group, _, _) in enumerate(points):
        blocks.setdefault(group.units, []).append(number)
    parts = [_together([points[number] for number in members], block) for block, members in enumerate(blocks.values())]
    joint = reduce(Joint.beside, parts)
    order = np.argsort([number for members in blocks.values() for number in members])
    return replace(joint, means=joint.means[order], draws=joint.draws[:, order])


def difference(first: int, second: int) -> Statistic:
    """The statistic that takes the mean at one point from that at another: `first` less `second`, by their places."""
    return lambda means: means[..., first] - means[..., second]


def differences(pairs: Sequence[tuple[int, int]]) -> Statistic:
    """The statistic that is the k differences over pairs of places, `first` less `second`."""
    first, second = (list(places) for places in zip(*pairs, strict=True))
    return lambda means: means[..., first] - means[..., second]


def apart(draws: Array, block: int) -> Array:
    """The resamples of a block in an order of its own: what was resampled alike elsewhere becomes independent of it.

    `draws` has the resamples along its first axis. Block 0 keeps its order.
    """
    return draws[np.random.default_rng(block).permutation(len(draws))] if block else draws


def _together(points: Sequence[Point], block: int) -> Joint:
    return joint_means([group.table(value, measure) for group, value, measure in points], points[0][0].sources, block)
