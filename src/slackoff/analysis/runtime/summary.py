"""What the rounds of a runtime study amount to: medians, quartiles, and ratios to a reference with intervals."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from slackoff.analysis.runtime.record import RuntimeStudy
from slackoff.analysis.statistics import LEVEL

MIN_ROUNDS = 3
"""Fewest rounds of which quartiles are given."""


@dataclass(frozen=True)
class Timing:
    """Seconds per image over the rounds: median and quartiles; NaN where there are too few rounds."""

    median: float
    lower: float
    upper: float
    rounds: int


@dataclass(frozen=True)
class Ratio:
    """Median over the common rounds of seconds over the reference's, with its 95 % interval (NaN: too few rounds)."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class OnDevice:
    """A network on one device; ``failure`` says why it has no numbers."""

    timing: Timing
    ratio: Ratio
    failure: str = ""


@dataclass(frozen=True)
class NetworkSummary:
    """A network: what it is made of (0 and NaN: unknown), and its times by device."""

    name: str
    parameters: int
    gflops: float
    paper: str
    devices: dict[str, OnDevice]


def timing(seconds: ArrayLike) -> Timing:
    """Median and quartiles (linear between ranks) of the seconds of all rounds."""
    values = np.asarray(seconds, dtype=np.float64)
    if not len(values):
        return Timing(math.nan, math.nan, math.nan, 0)
    lower, upper = np.percentile(values, [25, 75]) if len(values) >= MIN_ROUNDS else (math.nan, math.nan)
    return Timing(float(np.median(values)), float(lower), float(upper), len(values))


def median_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of a median from order statistics, without any assumption on the distribution.

    The number of values below the median is binomial (n, 1/2): at either end so many values are left out that the
    coverage is at least 95 %. NaN with fewer than 6 values, of which no such interval exists.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    tails = stats.binom.cdf(np.arange(count), count, 0.5)
    left_out = int((tails <= (1 - LEVEL) / 2).sum()) - 1
    if left_out < 0:
        return math.nan, math.nan
    return float(ordered[left_out]), float(ordered[count - 1 - left_out])


def ratio(seconds: "pd.Series[float]", reference: "pd.Series[float]") -> Ratio:
    """Seconds over the reference's, round by round; both are indexed by round, and only common rounds count."""
    common = seconds.index.intersection(reference.index)
    if not len(common):
        return Ratio(math.nan, math.nan, math.nan, 0)
    ratios = (seconds[common] / reference[common]).to_numpy()
    return Ratio(float(np.median(ratios)), *median_interval(ratios), len(common))


def ratio_between(study: RuntimeStudy, device: str, name: str, reference: str) -> Ratio:
    """The seconds of one network over those of another, on a device."""
    return ratio(_seconds(study, name, device), _seconds(study, reference, device))


def reference_of(study: RuntimeStudy) -> str | None:
    """The network that ratios refer to: the one asked for, else the fastest on the first device; None if all failed."""
    if study.reference is not None:
        return study.reference
    first = study.rows[(study.rows["device"] == study.devices[0]) & (study.rows["failure"] == "")]
    medians = first.groupby("network", sort=False)["seconds"].median()
    return str(medians.idxmin()) if len(medians) else None


def summaries(study: RuntimeStudy) -> list[NetworkSummary]:
    """Every network, the fastest on the first device first; what failed there stands last."""
    found = [_summary(study, name, reference_of(study)) for name in study.networks]
    first = study.devices[0]
    return sorted(found, key=lambda one: _last_if_none(one.devices[first].timing.median))


def _summary(study: RuntimeStudy, name: str, reference: str | None) -> NetworkSummary:
    own = study.rows[study.rows["network"] == name]
    devices = {}
    for device in study.devices:
        seconds = _seconds(study, name, device)
        failure = next(iter(own[(own["device"] == device) & (own["failure"] != "")]["failure"]), "")
        against = ratio_between(study, device, name, reference if reference is not None else name)
        devices[device] = OnDevice(timing(seconds), against, str(failure))
    parameters, gflops = int(own["parameters"].max()), float(own["gflops"].max())
    return NetworkSummary(name, parameters, gflops, str(own["paper"].max()), devices)


def _seconds(study: RuntimeStudy, name: str, device: str) -> "pd.Series[float]":
    """Seconds by round; empty for what failed."""
    rows = study.rows
    chosen = rows[(rows["network"] == name) & (rows["device"] == device) & (rows["failure"] == "")]
    return chosen.set_index("round")["seconds"]


def _last_if_none(value: float) -> float:
    return math.inf if math.isnan(value) else value
