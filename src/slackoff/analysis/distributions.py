"""How a measure is spread over the test images: of each variant of a study, beside that of the untouched input.

A mean hides on how many images a network does harm; Figures 8 and 9 of MENET (arXiv 2003.09689) show all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups, is_number
from slackoff.analysis.statistics import Array, Interval, mean_interval
from slackoff.analysis.summary import DO_NOTHING, interval_columns
from slackoff.analysis.wording import at
from slackoff.errors import SlackoffError

KNOWN = ("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")
"""What `study.options.distributions` may name: measures of which more is better."""

_NOWHERE = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Distribution:
    """A measure on all test images, of the networks of one variant or of the untouched input.

    `value` of the main axis and `labels` of its group (without the test set) make its `name`.
    `values` (k,) are in the unit of the measure, those of all training seeds together; empty where there is no result,
    and `state` then says why. `worse`: the share of images and seeds on which the network has less than the input, with
    its 95 % interval; NaN for the input itself and where the record has nothing of the input.
    """

    name: str
    value: Any
    labels: dict[str, Any]
    values: Array
    seeds: int
    images: int
    worse: Interval = _NOWHERE
    state: str = "done"

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile (linear between the two nearest values); NaN without values."""
        if not len(self.values):
            return (float("nan"),) * 3
        lower, median, upper = (float(value) for value in np.percentile(self.values, [25, 50, 75]))
        return lower, median, upper


@dataclass(frozen=True, eq=False)
class Distributions:
    """One measure on one test set: the untouched input (None where it is not recorded), then the variants.

    `labels` names the test set where a study has several. `photographs`: how many the images were cut from, None where
    that is not recorded.
    """

    measure: str
    labels: dict[str, Any]
    untouched: Distribution | None
    variants: list[Distribution]
    photographs: int | None

    @property
    def shown(self) -> list[Distribution]:
        """All of them, the input first."""
        return [*([] if self.untouched is None else [self.untouched]), *self.variants]

    @property
    def images(self) -> int:
        return max(variant.images for variant in self.variants)


def distributions(frames: Frames) -> list[Distributions]:
    """The distributions that the study's option `distributions` asks for, by measure and test set.

    Raises SlackoffError when it names an unknown measure, or one that the record does not have.
    """
    measures = _asked(frames)
    if not len(frames.images):
        return []
    on_sets: dict[str, list[Group]] = {}
    for group in groups(frames):
        on_sets.setdefault(str(group.labels.get(TEST_SET, "")), []).append(group)
    tested = [found for found in on_sets.values() if any(group.done for group in found)]
    return [_distributions(measure, found) for measure in measures for found in tested]


def distribution_table(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """One row per measure, test set and variant, the input first.

    Columns: measure, the labels (test set and others) where there are several, the main axis, `seeds`, `images`,
    `mean`, `minimum`, `lower_quartile`, `median`, `upper_quartile`, `maximum`, and `worse_than_input`, the share of
    images (of all seeds) on which the network has less than the input, with its 95 % interval _low and _high.
    """
    keys = list(dict.fromkeys(key for some in found for one in some.variants for key in one.labels))
    return pd.DataFrame(
        [
            {"measure": some.measure, **some.labels, **{key: one.labels.get(key) for key in keys}, axis: one.value}
            | _numbers(one)
            for some in found
            for one in some.shown
        ]
    )


def _numbers(one: Distribution) -> dict[str, float]:
    values = one.values if len(one.values) else np.array([np.nan])
    lower, median, upper = one.quartiles
    return {
        "seeds": one.seeds,
        "images": one.images,
        "mean": float(values.mean()),
        "minimum": float(values.min()),
        "lower_quartile": lower,
        "median": median,
        "upper_quartile": upper,
        "maximum": float(values.max()),
        **interval_columns("worse_than_input", one.worse),
    }


def _asked(frames: Frames) -> list[str]:
    """The measures that the study asks for, each once."""
    asked = frames.study.options.get("distributions") or []
    where = f"study.options.distributions of the study '{frames.study.name}'"
    if not isinstance(asked, list):
        raise SlackoffError(f"{where} must be a list of measures, and is {asked!r}: there are {', '.join(KNOWN)}.")
    for measure in asked:
        if measure not in KNOWN:
            raise SlackoffError(f"{where} names '{measure}', which cannot be drawn: there are {', '.join(KNOWN)}.")
        if len(frames.images) and measure not in frames.images:
            there = [known for known in KNOWN if known in frames.images]
            raise SlackoffError(f"{where} names '{measure}', which no cell has measured: they have {', '.join(there)}.")
    return list(dict.fromkeys(asked))


def _distributions(measure: str, found: Sequence[Group]) -> Distributions:
    first = next(group for group in found if group.done)
    variants = [_variant(measure, group, value) for group in found for value in group.values]
    values = _finite(first.table(first.done[0], f"{measure}_input")[:1])
    untouched = Distribution(DO_NOTHING, DO_NOTHING, {}, values, 1, len(values)) if len(values) else None
    labels = {key: label for key, label in first.labels.items() if key == TEST_SET}
    photographs = None if first.sources is None else len(set(first.sources))
    return Distributions(measure, labels, untouched, variants, photographs)


def _variant(measure: str, group: Group, value: Any) -> Distribution:
    labels = {key: label for key, label in group.labels.items() if key != TEST_SET}
    own_name = at(group.axis, value) if is_number(value) else str(value)
    name = ", ".join([*map(str, labels.values()), own_name])
    if value not in group.done:
        states = group.cells.loc[group.cells[group.axis] == value, "state"]
        return Distribution(name, value, labels, np.empty(0), 0, 0, state=", ".join(dict.fromkeys(map(str, states))))
    table, untouched = group.table(value, measure), group.table(value, f"{measure}_input")
    worse = np.where(np.isfinite(table) & np.isfinite(untouched), table < untouched, np.nan)
    seeds, images = len(table), int(np.isfinite(table).any(axis=0).sum())
    return Distribution(name, value, labels, _finite(table), seeds, images, mean_interval(worse, group.sources))


def _finite(table: Array) -> Array:
    return table[np.isfinite(table)]
