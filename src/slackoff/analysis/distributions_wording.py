"""What a page says about distributions: the caption of a figure and the table as text."""

import math
from collections.abc import Sequence

import pandas as pd

from slackoff.analysis.distributions import Distribution, Distributions
from slackoff.analysis.groups import TEST_SET
from slackoff.analysis.wording import decimals, number, plain_label, symbol


def caption(found: Distributions) -> str:
    """What is drawn, over how many images and seeds, and where the most and the fewest images got worse."""
    measured = [one for one in found.variants if len(one.values)]
    seeds = sorted({one.seeds for one in measured})
    of = "" if found.photographs in (None, found.images) else f" from {found.photographs:,} photographs"
    between = " to ".join(dict.fromkeys(map(str, (seeds[0], seeds[-1]))))
    trained = f"{between} training seeds together" if seeds[-1] > 1 else "one training seed"
    drawn = (
        "Histograms on common bins and scales, as shares of the images; the line is the median"
        if found.measure.startswith("psnr")
        else "Boxes: quartiles and median; whiskers: to the last value within 1.5 times their distance; points: what "
        "lies beyond; diamonds: means"
    )
    dashed = "; grey: the untouched input, dashed: its median" if found.untouched is not None else ""
    return f"{drawn}{dashed}. Each row: {found.images:,} test images{of}, {trained}. {harm(found)}".rstrip()


def harm(found: Distributions) -> str:
    """'PSNR is below that of the input on 0.5 % of the images with A (the fewest) and on 12.0 % with B (the most).'"""
    known = [one for one in found.variants if math.isfinite(one.worse.mean)]
    if not known:
        return ""
    fewest, most = min(known, key=_worse), max(known, key=_worse)
    label = plain_label(found.measure)
    text = f"{label} is below that of the input on {percent(fewest.worse.mean)} of the images with {fewest.name}"
    if fewest.worse.mean == most.worse.mean:
        others = " and with all others" if len(known) > 1 else ""
        return f"{text}{others}."
    return f"{text} (the fewest) and on {percent(most.worse.mean)} with {most.name} (the most)."


def readable_distributions(found: Sequence[Distributions], axis: str) -> pd.DataFrame:
    """`distribution_table` as text: the median over the quartiles, the share that got worse over its interval."""
    rows = []
    for some in found:
        places = decimals(some.measure)
        for one in some.shown:
            lower, median, upper = (number(value, places) for value in one.quartiles)
            mean, minimum = (one.values.mean(), one.values.min()) if len(one.values) else (math.nan, math.nan)
            row = {"measure": plain_label(some.measure)}
            row |= {TEST_SET: str(some.labels[TEST_SET])} if TEST_SET in some.labels else {}
            row |= {symbol(axis): one.name if len(one.values) else f"{one.name} ({one.state})"}
            row |= {"median and quartiles": f"{median}\n{lower} to {upper}" if len(one.values) else median}
            row |= {"mean": number(mean, places), "minimum": number(minimum, places)}
            rows.append(row | {"worse than input": _interval(one)})
    return pd.DataFrame(rows)


def percent(share: float) -> str:
    """'12.0 %'; what is not quite 0 or 100 does not read so; empty where there is no number."""
    if not math.isfinite(share):
        return ""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{number(100 * share, 1)} %"


def _worse(one: Distribution) -> float:
    return one.worse.mean


def _interval(one: Distribution) -> str:
    if not math.isfinite(one.worse.mean):
        return ""
    bounds = f"\n{number(100 * one.worse.low, 1)} to {number(100 * one.worse.high, 1)} %"
    return percent(one.worse.mean) + (bounds if math.isfinite(one.worse.low) else "")
