"""The published numbers of MOSS's ablations (supplement, Tables 3 to 5) beside the measured ones.

PSNR in dB and SSIM on the synthetic test images of DDN-SIRR: the ten dense and the ten sparse ones, or the mean over
all twenty.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.statistics import Interval
from slackoff.analysis.wording import NO_NUMBER, decimals, listing, number, plain_label

FULL = "full"
VARIANT = "variant"
MEASURES = ("psnr_rgb", "ssim_rgb")


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper: for each test set the PSNR and SSIM of each variant, in its order."""

    source: str
    numbers: dict[str, dict[str, tuple[float, float]]]

    @property
    def variants(self) -> list[str]:
        return list(dict.fromkeys(variant for rows in self.numbers.values() for variant in rows))


TABLES = {
    "moss_ablation": PublishedTable(
        "Table 3",
        {
            "dense": {
                "basic": (19.99, 0.835),
                "without memory": (22.21, 0.870),
                "without self-training": (20.99, 0.860),
                "without TV": (22.68, 0.876),
                "without skip": (22.00, 0.858),
                FULL: (22.91, 0.883),
            },
            "sparse": {
                "basic": (25.74, 0.881),
                "without memory": (26.82, 0.906),
                "without self-training": (25.83, 0.890),
                "without TV": (27.58, 0.908),
                "without skip": (26.80, 0.900),
                FULL: (27.78, 0.912),
            },
        },
    ),
    "moss_tau": PublishedTable(
        "Table 4",
        {
            "sirr": {
                "tau 0": (25.06, 0.876),
                "tau 0.9": (25.24, 0.896),
                "tau 0.99": (25.01, 0.894),
                "tau 0.999": (25.35, 0.898),
                "tau 0.9999": (25.19, 0.894),
                "tau 1": (24.13, 0.885),
                "without memory": (24.52, 0.888),
            }
        },
    ),
    "moss_nu": PublishedTable(
        "Table 5",
        {
            "sirr": {
                "nu 0": (25.17, 0.887),
                "nu 0.9": (24.93, 0.890),
                "nu 0.99": (25.28, 0.892),
                "nu 0.999": (25.35, 0.898),
                "nu 0.9999": (25.04, 0.885),
                "nu 1": (24.15, 0.8884),
                "without self-training": (23.41, 0.875),
            }
        },
    ),
}
"""By the family of claims that goes with them."""


def variant_table(frames: Frames, family: str) -> pd.DataFrame:
    """Published and measured numbers side by side: one row per group and variant of either.

    Columns: variant, test_set, labels (of the group, where there are several); per measure m: m_published, m (mean),
    m_low, m_high (95 % interval), m_gap_published and m_gap (less the full model; the measured one paired over the
    images) with m_gap_low and m_gap_high; `remark`.
    """
    return pd.DataFrame([row for group in groups(frames) for row in _rows(frames, group, TABLES[family])])


def readable_variants(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text; an entry is '22.91 / 21.30' and, on a second line, the interval of the measured."""
    text = table[["variant", "test_set"]].astype(str).rename(columns={"test_set": TEST_SET})
    if table["labels"].any():
        text["cells"] = table["labels"]
    for measure in MEASURES:
        label = plain_label(measure)
        text[label] = [_entry(row, measure, "") for _, row in table.iterrows()]
        text[f"{label} less full"] = [_entry(row, measure, "_gap") for _, row in table.iterrows()]
    text["remark"] = table["remark"]
    return text


def _rows(frames: Frames, group: Group, table: PublishedTable) -> Iterator[dict[str, Any]]:
    """Rows of the paper's variants in its order, then of those that it does not have."""
    test_set = str(group.images["test_set"].iloc[0]) if len(group.images) else ""
    published = table.numbers.get(test_set, {})
    measured = [str(value) for value in group.values]
    for variant in dict.fromkeys([*(name for name in table.variants if name in {*published, *measured}), *measured]):
        yield _row(frames, group, test_set, variant, published)


def _row(
    frames: Frames, group: Group, test_set: str, variant: str, published: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    labels = ", ".join(f"{key} = {value}" for key, value in group.labels.items() if key != TEST_SET)
    row: dict[str, Any] = {"variant": variant, "test_set": test_set, "labels": labels}
    for place, measure in enumerate(MEASURES):
        row[f"{measure}_published"] = published[variant][place] if variant in published else float("nan")
        row |= _interval(measure, group.level(variant, measure))
        both = variant in published and FULL in published
        row[f"{measure}_gap_published"] = published[variant][place] - published[FULL][place] if both else float("nan")
        compared = variant != FULL and {variant, FULL} <= set(group.done)
        gap = group.change(FULL, variant, measure) if compared else Interval(float("nan"), float("nan"), float("nan"))
        row |= _interval(f"{measure}_gap", gap)
    return row | {"remark": _remark(frames, group, test_set, variant, variant in published)}


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _remark(frames: Frames, group: Group, test_set: str, variant: str, published: bool) -> str:
    """What keeps the two from being compared."""
    if variant not in group.done:
        return "no result" if variant in group.values else "not in this study"
    if not published:
        return "not in the paper"
    size = frames.study.size
    reasons = [f"not the paper's size but {size}"] if size not in ("", "paper") else []
    return f"not comparable: {listing(reasons)}" if reasons else ""


def _entry(row: pd.Series, measure: str, part: str) -> str:
    places = decimals(measure)
    published = number(float(row[f"{measure}{part}_published"]), places)
    mean, low, high = (number(float(row[f"{measure}{part}{end}"]), places) for end in ("", "_low", "_high"))
    return f"{published} / {mean}" + (f"\n{low} to {high}" if low != NO_NUMBER else "")
