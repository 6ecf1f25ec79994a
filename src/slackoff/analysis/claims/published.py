"""The numbers that papers print beside the measured ones, with what makes the two not comparable.

They stand in published.yaml, by the family of claims that goes with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from slackoff.analysis.claims.claim import Comparison, comparisons
from slackoff.analysis.claims.contrasts import TableRow, baseline, network, table_rows
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, describe, groups
from slackoff.analysis.statistics import NOTHING
from slackoff.analysis.study import Study
from slackoff.analysis.tables import interval_columns
from slackoff.analysis.text import decimals, entry, listing, number, plain_label

NAN = float("nan")

TABLE2 = "table2"
TABLE2_MEASURES = ("e_r", "e_b", "psnr_rgb")
TABLE2_SET = "r100"


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    `source` says where the numbers are from and under which protocol they were measured, as the end of a sentence;
    `reference` is the variant that the others are compared with, published and measured. `numbers`: by test set and
    variant one number per entry of `measures`; in Table 2 by network a list of (N, rain, E_R, E_B (grey levels),
    PSNR (dB)). `images`: where a test set has so many images for all sizes of a study, that number.
    """

    source: str
    numbers: dict[str, Any]
    reference: str = ""
    measures: tuple[str, ...] = ("psnr_rgb", "ssim_rgb")
    images: int = 0

    @property
    def variants(self) -> list[str]:
        """All variants, in the order of the table."""
        return list(dict.fromkeys(variant for rows in self.numbers.values() for variant in rows))


@dataclass(frozen=True)
class Beside:
    """Published numbers beside measured ones: as numbers, as text (what the page shows), and where they are from."""

    table: pd.DataFrame
    text: pd.DataFrame
    source: str


@cache
def published_tables() -> dict[str, PublishedTable]:
    """All published tables by their family."""
    found = yaml.safe_load((Path(__file__).parent / "published.yaml").read_text(encoding="utf-8"))
    return {family: PublishedTable(**table) for family, table in found.items()}


def published_beside(frames: Frames) -> Beside | None:
    """The published numbers that go with the first family of a study that has any; None where the paper has none."""
    family = next((family for family in frames.study.claims if family in published_tables()), None)
    if family is None or not len(frames.cells):
        return None
    of_paper = published_tables()[family]
    if family == TABLE2:
        table = published_table2(frames)
        return Beside(table, readable_table2(table), of_paper.source)
    table = variant_table(frames, of_paper)
    return Beside(table, readable_variants(table, of_paper), of_paper.source)


def published_table2(frames: Frames) -> pd.DataFrame:
    """Table 2, one row per row of the paper or of the study.

    Columns: network, test_set, background_count, rain; per measure m the columns m_published, m (mean), m_low, m_high
    (95 % interval); `remark`. The published baseline stands beside the study's own, the most backgrounds that it has.
    """
    found = [row for comparison in comparisons(frames, "rain") for row in _rows_of_network(comparison, frames.study)]
    columns = [f"{measure}{part}" for measure in TABLE2_MEASURES for part in ("_published", "", "_low", "_high")]
    return pd.DataFrame(found, columns=["network", "test_set", "background_count", "rain", *columns, "remark"])


def readable_table2(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text; an entry is '31.2 / 30.1' and, on a second line, the interval of the measured."""
    text = table[["network", "background_count", "rain"]].astype(str).rename(columns={"background_count": "N"})
    for measure in TABLE2_MEASURES:
        text[plain_label(measure)] = _entries(table, measure)
    return text.assign(remark=table["remark"])


def variant_table(frames: Frames, published: PublishedTable) -> pd.DataFrame:
    """The measures of named variants: one row per group and variant of the paper or of the study.

    Columns: variant, test_set, labels (of the group, where there are several); per measure m: m_published, m (mean),
    m_low, m_high (95 % interval) and, where the paper has a reference variant, m_gap_published and m_gap (less the
    reference; the measured one paired over the images) with m_gap_low and m_gap_high; `remark`.
    """
    return pd.DataFrame([row for group in groups(frames) for row in _rows_of_variants(frames.study, group, published)])


def readable_variants(table: pd.DataFrame, published: PublishedTable) -> pd.DataFrame:
    """The `variant_table` as text; an entry is '22.91 / 21.30' and, on a second line, the interval of the measured."""
    text = table[["variant", "test_set"]].astype(str).rename(columns={"test_set": TEST_SET})
    if table["labels"].any():
        text["cells"] = table["labels"]
    for measure in published.measures:
        label = plain_label(measure)
        text[label] = _entries(table, measure)
        if published.reference:
            text[f"{label} less {published.reference}"] = _entries(table, measure, "_gap")
    return text.assign(remark=table["remark"])


def _rows_of_network(comparison: Comparison, study: Study) -> Iterator[dict[str, Any]]:
    label = str(comparison.labels.get("network", "")) or network(comparison)
    published = {
        (count, rain): numbers
        for count, rain, *numbers in published_tables()[TABLE2].numbers.get(network(comparison), ())
    }
    base, measured = baseline(comparison), {(row.count, row.rain): row for row in table_rows(comparison)}
    most = max(published, default=None)
    for key in dict.fromkeys([*published, *measured]):
        own = base if key == most else measured.get(key)
        if base is not None and key == (base.count, base.rain) and most is not None and key != most:
            continue  # stands beside the published baseline
        count, rain = (own.count, own.rain) if own is not None else key
        row: dict[str, Any] = {"network": label, "background_count": count, "rain": rain}
        done = own is not None and own.done
        row["test_set"] = own.group.test_set if own is not None and done else ""
        for place, measure in enumerate(TABLE2_MEASURES):
            row[f"{measure}_published"] = published[key][place] if key in published else NAN
            level = own.group.level(own.count, measure) if own is not None and done else NOTHING
            row |= interval_columns(measure, level)
        yield row | {"remark": _remark_of_row(key if key in published else None, own, row["test_set"], study)}


def _remark_of_row(published: tuple[int, str] | None, own: TableRow | None, test_set: str, study: Study) -> str:
    """What keeps a row of Table 2 from being compared."""
    if published is None:
        return "not in the paper"
    if own is None or not own.done:
        return "not in this study" if own is None else "no result"
    reasons = [f"N = {published[0]} in the paper"] if own.count != published[0] else []
    reasons += [f"tested on {test_set} instead of R100"] if test_set != TABLE2_SET else []
    return _not_comparable([*reasons, _other_size(study)])


def _rows_of_variants(study: Study, group: Group, table: PublishedTable) -> Iterator[dict[str, Any]]:
    """Rows of the paper's variants in its order, then of those that it does not have."""
    published, reference = table.numbers.get(group.test_set, {}), table.reference
    measured = [str(value) for value in group.values]
    for variant in dict.fromkeys([*(name for name in table.variants if name in {*published, *measured}), *measured]):
        row: dict[str, Any] = {"variant": variant, "test_set": group.test_set, "labels": describe(group.own_labels)}
        numbers, others = (published.get(name, [NAN] * len(table.measures)) for name in (variant, reference))
        compared = variant != reference and {variant, reference} <= set(group.done)
        for measure, number_of, other in zip(table.measures, numbers, others, strict=True):
            row |= {f"{measure}_published": number_of} | interval_columns(measure, group.level(variant, measure))
            if reference:
                gap = group.change(reference, variant, measure) if compared else NOTHING
                row |= {f"{measure}_gap_published": number_of - other} | interval_columns(f"{measure}_gap", gap)
        yield row | {"remark": _remark_of_variant(study, group, variant, table)}


def _remark_of_variant(study: Study, group: Group, variant: str, table: PublishedTable) -> str:
    """What keeps the two numbers of a variant from being compared."""
    if variant not in group.done:
        return "no result" if variant in group.values else "not in this study"
    if variant not in table.numbers.get(group.test_set, {}):
        elsewhere = group.test_set in table.numbers and variant in table.variants
        return f"no published number for {group.test_set}" if elsewhere else "not in the paper"
    if table.images:
        count = len(group.image_names)
        return _not_comparable([f"{count} of {table.images} images" if count < table.images else ""])
    return _not_comparable([_other_size(study)])


def _other_size(study: Study) -> str:
    return "" if study.size in ("", "paper") else f"not the paper's size but {study.size}"


def _not_comparable(reasons: list[str]) -> str:
    told = list(filter(None, reasons))
    return f"not comparable: {listing(told)}" if told else ""


def _entries(table: pd.DataFrame, measure: str, part: str = "") -> list[str]:
    """'22.91 / 21.30' with the interval of the measured on a second line."""
    places = decimals(measure)
    columns = table[[f"{measure}{part}{end}" for end in ("_published", "", "_low", "_high")]]
    return [
        f"{number(published, places)} / {entry(mean, low, high, places)}"
        for published, mean, low, high in columns.to_numpy(dtype=float).tolist()
    ]
