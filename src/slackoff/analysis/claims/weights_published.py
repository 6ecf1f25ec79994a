"""What authors print for the weights that they published, beside what those weights reach here.

PReNet's repository (github.com/csdwren/PReNet) has PSNR and SSIM on luma, over all 100 images of each test set, from
outputs saved as 8 bit and rounded down; its SSIM does not shrink images of this size. That is the protocol `full_y`,
but for rounding to the nearest.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.text import NO_NUMBER, decimals, number, plain_label

FAMILY = "published_weights"
SOURCE = "the table of PReNet's repository, luma, all 100 images of each test set"
MEASURES = ("psnr_y", "ssim_y")
IMAGES = 100

LIGHT, HEAVY = "rain100l", "rain100h"
TRAINED_ON = {LIGHT: "Rain100L", HEAVY: "Rain100H"}

TABLE = {
    HEAVY: {"PReNet": (29.46, 0.899), "PReNet_r": (28.98, 0.892), "PRN": (28.07, 0.884), "PRN_r": (27.43, 0.874)},
    LIGHT: {"PReNet": (37.48, 0.979), "PReNet_r": (37.10, 0.977), "PRN": (36.99, 0.977), "PRN_r": (36.11, 0.973)},
}
"""Test set to PSNR (dB) and SSIM of each network that was trained for it."""


def variant(network: str, test_set: str) -> str:
    """What sweeps/published_weights.yaml calls the weights of a network that were trained for a test set."""
    return f"{network} ({TRAINED_ON[test_set]})"


def weights_table(frames: Frames) -> pd.DataFrame:
    """Measured and published numbers: one row for each set of weights and test set that was measured.

    Columns: variant, test_set, images (how many); per measure m (PSNR in dB, SSIM, on luma): m_input, m (mean), m_low,
    m_high (95 % interval), m_published and m_gap (measured less published), NaN where nothing is published.
    """
    return pd.DataFrame([row for group in groups(frames) if len(group.images) for row in _rows(group)])


def readable_weights(table: pd.DataFrame) -> pd.DataFrame:
    """The `weights_table` as text, with the interval of what was measured on a second line."""
    text = table[["variant", "test_set"]].astype(str).rename(columns={"variant": "weights", "test_set": TEST_SET})
    text["images"] = [f"{count} of {IMAGES}" for count in table["images"]]
    for measure in MEASURES:
        label, places = plain_label(measure), decimals(measure)
        text[f"{label}, input"] = [number(value, places) for value in table[f"{measure}_input"]]
        text[label] = [_with_interval(row, measure, places) for _, row in table.iterrows()]
        text[f"{label}, published"] = [number(value, places) for value in table[f"{measure}_published"]]
        text[f"{label}, difference"] = [_signed(value, places) for value in table[f"{measure}_gap"]]
    return text


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    test_set = str(group.images["test_set"].iloc[0])
    numbers = {variant(network, test_set): found for network, found in TABLE.get(test_set, {}).items()}
    for weights in group.done:
        row: dict[str, Any] = {"variant": weights, "test_set": test_set, "images": len(group.image_names)}
        for place, measure in enumerate(MEASURES):
            level = group.level(weights, measure)
            published = numbers[weights][place] if weights in numbers else float("nan")
            row |= {f"{measure}_input": group.level(weights, f"{measure}_input").mean, measure: level.mean}
            row |= {f"{measure}_low": level.low, f"{measure}_high": level.high}
            row |= {f"{measure}_published": published, f"{measure}_gap": level.mean - published}
        yield row


def _with_interval(row: pd.Series, measure: str, places: int) -> str:
    mean, low, high = (number(float(row[f"{measure}{part}"]), places) for part in ("", "_low", "_high"))
    return mean + (f"\n{low} to {high}" if low != NO_NUMBER else "")


def _signed(value: float, places: int) -> str:
    text = number(value, places)
    return f"+{text}" if value > 0 else text
