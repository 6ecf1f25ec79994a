"""The published numbers of Table 2 beside the measured ones, with what makes the two not comparable.

The numbers are those of the paper's ICLR 2023 submission, test set R100 (Rain100L). Its Table 2 gives no row for
SPDNet at 64 patches and none for ResNet at 512.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from slackoff.analysis.claims.comparisons import Comparison, comparisons
from slackoff.analysis.claims.table2 import Row, baseline, network, rows
from slackoff.analysis.frames import Frames
from slackoff.analysis.study import Study
from slackoff.analysis.text import NO_NUMBER, decimals, listing, number, plain_label

MEASURES = ("e_r", "e_b", "psnr_rgb")
TEST_SET = "r100"
FAMILY = "table2"


@dataclass(frozen=True)
class Published:
    """A row of the published table: E_R and E_B in grey levels, PSNR in dB."""

    count: int
    rain: str
    e_r: float
    e_b: float
    psnr_rgb: float


TABLE = {
    "resnet": (
        Published(30000, "medium", 31.24, 10.79, 25.15),
        Published(64, "medium", 53.33, 25.02, 20.87),
        Published(256, "large", 45.64, 16.51, 24.30),
        Published(128, "large", 51.75, 23.53, 21.45),
    ),
    "spdnet": (
        Published(30000, "medium", 33.63, 5.49, 30.51),
        Published(512, "large", 39.88, 8.91, 28.57),
        Published(256, "large", 38.87, 8.03, 29.40),
        Published(128, "large", 43.20, 14.59, 25.67),
    ),
    "rcdnet": (
        Published(30000, "medium", 26.55, 5.41, 28.54),
        Published(64, "medium", 45.47, 14.78, 25.32),
        Published(512, "large", 37.53, 7.16, 29.60),
        Published(256, "large", 40.40, 8.52, 29.08),
        Published(128, "large", 44.67, 13.72, 26.09),
    ),
}


def published_table(frames: Frames) -> pd.DataFrame | None:
    """Published and measured numbers side by side, one row per row of either; None for other studies.

    Columns: network, test_set, background_count, rain; per measure m the columns m_published, m (mean), m_low, m_high
    (95 % interval); `remark`. The published baseline stands beside the study's own, the most backgrounds that it has.
    """
    if FAMILY not in frames.study.claims:
        return None
    found = [row for comparison in comparisons(frames, "rain") for row in _of_network(comparison, frames.study)]
    columns = [f"{measure}{part}" for measure in MEASURES for part in ("_published", "", "_low", "_high")]
    return pd.DataFrame(found, columns=["network", "test_set", "background_count", "rain", *columns, "remark"])


def readable_published(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text; an entry is '31.2 / 30.1' and, on a second line, the interval of the measured."""
    text = table[["network", "background_count", "rain"]].astype(str).rename(columns={"background_count": "N"})
    for measure in MEASURES:
        text[plain_label(measure)] = [_entry(row, measure) for _, row in table.iterrows()]
    text["remark"] = table["remark"]
    return text


def _of_network(comparison: Comparison, study: Study) -> list[dict[str, Any]]:
    label = str(comparison.labels.get("network", "")) or network(comparison)
    published = {(row.count, row.rain): row for row in TABLE.get(network(comparison), ())}
    base, measured = baseline(comparison), {(row.count, row.rain): row for row in rows(comparison)}
    most = max(published, default=None)
    found = []
    for key in list(dict.fromkeys([*published, *measured])):
        own = base if key == most else measured.get(key)
        if base is not None and key == (base.count, base.rain) and most is not None and key != most:
            continue  # stands beside the published baseline
        found.append(_row(label, published.get(key), own, study))
    return found


def _row(label: str, published: Published | None, own: Row | None, study: Study) -> dict[str, Any]:
    either = own or published
    assert either is not None
    row: dict[str, Any] = {"network": label, "background_count": either.count, "rain": either.rain}
    done = own is not None and own.done
    row["test_set"] = str(own.group.images["test_set"].iloc[0]) if own is not None and done else ""
    for measure in MEASURES:
        row[f"{measure}_published"] = getattr(published, measure) if published else float("nan")
        level = own.group.level(own.count, measure) if own is not None and done else None
        row[measure] = level.mean if level else float("nan")
        row[f"{measure}_low"], row[f"{measure}_high"] = (level.low, level.high) if level else (float("nan"),) * 2
    return row | {"remark": _remark(published, own, row["test_set"], study)}


def _remark(published: Published | None, own: Row | None, test_set: str, study: Study) -> str:
    """What keeps the two from being compared."""
    if published is None:
        return "not in the paper"
    if own is None or not own.done:
        return "not in this study" if own is None else "no result"
    reasons = [f"N = {published.count} in the paper"] if own.count != published.count else []
    reasons += [f"tested on {test_set} instead of R100"] if test_set != TEST_SET else []
    reasons += [f"not the paper's size but {study.size}"] if study.size not in ("", "paper") else []
    return f"not comparable: {listing(reasons)}" if reasons else ""


def _entry(row: pd.Series, measure: str) -> str:
    published, mean, low, high = (
        number(float(row[f"{measure}{part}"]), decimals(measure)) for part in ("_published", "", "_low", "_high")
    )
    return f"{published} / {mean}" + (f"\n{low} to {high}" if low != NO_NUMBER else "")
