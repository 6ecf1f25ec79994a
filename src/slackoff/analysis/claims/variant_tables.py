"""The published numbers of an ablation beside the measured ones: PSNR and SSIM of named variants on each test set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import NO_NUMBER, decimals, listing, number, plain_label

MEASURES = ("psnr_rgb", "ssim_rgb")


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper: for each test set the PSNR (dB) and SSIM of each variant, in its order.

    `source` says where the numbers are from and under which protocol they were measured, as the end of a sentence;
    `reference` is the variant that the others are compared with, published and measured.
    """

    source: str
    reference: str
    numbers: dict[str, dict[str, tuple[float, float]]]

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(variant for rows in self.numbers.values() for variant in rows))


def variant_table(frames: Frames, published: PublishedTable) -> pd.DataFrame:
    """Published and measured numbers side by side: one row per group and variant of either.

    Columns: variant, test_set, labels (of the group, where there are several); per measure m: m_published, m (mean),
    m_low, m_high (95 % interval), m_gap_published and m_gap (less the reference variant; the measured one paired over
    the images) with m_gap_low and m_gap_high; `remark`.
    """
    return pd.DataFrame([row for group in groups(frames) for row in _rows(frames, group, published)])


def readable_variants(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """The `variant_table` as text; an entry is '22.91 / 21.30' and, on a second line, the interval of the measured."""
    text = table[["variant", "test_set"]].astype(str).rename(columns={"test_set": TEST_SET})
    if table["labels"].any():
        text["cells"] = table["labels"]
    for measure in MEASURES:
        label = plain_label(measure)
        text[label] = [_entry(row, measure, "") for _, row in table.iterrows()]
        text[f"{label} less {reference}"] = [_entry(row, measure, "_gap") for _, row in table.iterrows()]
    text["remark"] = table["remark"]
    return text


def _rows(frames: Frames, group: Group, table: PublishedTable) -> Iterator[dict[str, Any]]:
    """Rows of the paper's variants in its order, then of those that it does not have."""
    test_set = str(group.images["test_set"].iloc[0]) if len(group.images) else ""
    published = table.numbers.get(test_set, {})
    measured = [str(value) for value in group.values]
    for variant in dict.fromkeys([*(name for name in table.variants if name in {*published, *measured}), *measured]):
        yield _row(frames, group, test_set, variant, table)


def _row(frames: Frames, group: Group, test_set: str, variant: str, table: PublishedTable) -> dict[str, Any]:
    labels = ", ".join(f"{key} = {value}" for key, value in group.labels.items() if key != TEST_SET)
    row: dict[str, Any] = {"variant": variant, "test_set": test_set, "labels": labels}
    published, reference = table.numbers.get(test_set, {}), table.reference
    for place, measure in enumerate(MEASURES):
        row[f"{measure}_published"] = published[variant][place] if variant in published else float("nan")
        row |= _interval(measure, group.level(variant, measure))
        both = {variant, reference} <= set(published)
        gap = published[variant][place] - published[reference][place] if both else float("nan")
        row[f"{measure}_gap_published"] = gap
        row |= _interval(f"{measure}_gap", _gap(group, variant, reference, measure))
    return row | {"remark": _remark(frames, group, test_set, variant, table)}


def _gap(group: Group, variant: str, reference: str, measure: str) -> Interval:
    """The measured difference to the reference; NaN where there is none."""
    if variant != reference and {variant, reference} <= set(group.done):
        return group.change(reference, variant, measure)
    return Interval(float("nan"), float("nan"), float("nan"))


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _remark(frames: Frames, group: Group, test_set: str, variant: str, table: PublishedTable) -> str:
    """What keeps the two from being compared."""
    if variant not in group.done:
        return "no result" if variant in group.values else "not in this study"
    if variant not in table.numbers.get(test_set, {}):
        elsewhere = test_set in table.numbers and variant in table.variants
        return f"no published number for {test_set}" if elsewhere else "not in the paper"
    size = frames.study.size
    reasons = [f"not the paper's size but {size}"] if size not in ("", "paper") else []
    return f"not comparable: {listing(reasons)}" if reasons else ""


def _entry(row: pd.Series, measure: str, part: str) -> str:
    places = decimals(measure)
    published = number(float(row[f"{measure}{part}_published"]), places)
    mean, low, high = (number(float(row[f"{measure}{part}{end}"]), places) for end in ("", "_low", "_high"))
    return f"{published} / {mean}" + (f"\n{low} to {high}" if low != NO_NUMBER else "")
