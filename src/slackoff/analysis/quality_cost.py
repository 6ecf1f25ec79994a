"""Quality against cost: each network once on each test set, over all settings in which it was trained.

For studies whose main axis is the network and which kept what networks cost. The settings (ranges of rain, numbers of
patches) are taken as they are: a mean over them weighs them alike, and its interval is over the test images only.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import TEST_SET, Group, groups
from slackoff.analysis.network_costs import NetworkCosts, network_costs
from slackoff.analysis.pareto import non_dominated
from slackoff.analysis.statistics import joint_means
from slackoff.analysis.summary import DO_NOTHING, INPUTS, ORACLES, interval_columns, shown_measures
from slackoff.metrics.columns import COLUMNS

NETWORK = "network"


def quality_cost_table(frames: Frames) -> pd.DataFrame:
    """One row per test set and network, the rainy input first; empty for a study that kept no costs.

    Columns: `test set`; `network`; `parameters`, `gflops` and `seconds` per image (median; quartiles in `seconds_low`
    and `seconds_high`), NaN where unknown; `done` of `settings`; then each measure m as m, m_low and m_high (mean over
    settings and test images, 95 % interval over the images), m_worst and m_best (the settings' means), and m_oracle,
    what the perfect output has, after E_R and the removal share; `front`: whether no faster network has a better mean
    of PSNR.
    """
    costs = network_costs(frames.study.folder) if frames.study.axis == NETWORK else None
    if costs is None or not len(frames.images):
        return pd.DataFrame()
    shown = shown_measures(frames.images)
    parts = [_part(name, found, costs, shown) for name, found in _by_test_set(frames).items()]
    return pd.concat(parts, ignore_index=True)


def headline(table: pd.DataFrame) -> tuple[str, str]:
    """The two measures that are drawn against the cost: what is removed, and fidelity."""
    return "removal_share", next(column for column in ("psnr_rgb", "psnr_y") if column in table)


def _by_test_set(frames: Frames) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups(frames):
        name = group.labels.get(TEST_SET) or str(frames.images["test_set"].iloc[0])
        found.setdefault(str(name), []).append(group)
    return found


def _part(test_set: str, found: Sequence[Group], costs: NetworkCosts, shown: Sequence[str]) -> pd.DataFrame:
    names = list(dict.fromkeys(str(name) for group in found for name in group.values))
    rows = [_input_row(found, shown), *(_row(name, found, costs, shown) for name in names)]
    table = pd.DataFrame(rows)
    fidelity = headline(table)[1]
    placed = table["seconds"].notna() & table[fidelity].notna()
    table["front"] = False
    table.loc[placed, "front"] = non_dominated(
        table.loc[placed, fidelity].to_numpy(float), table.loc[placed, "seconds"].to_numpy(float)
    )
    table.insert(0, TEST_SET, test_set)
    return table


def _row(name: str, found: Sequence[Group], costs: NetworkCosts, shown: Sequence[str]) -> dict[str, Any]:
    done = [group for group in found if name in group.done]
    row: dict[str, Any] = {NETWORK: name, **_cost_columns(name, costs), "done": len(done), "settings": len(found)}
    for measure in shown:
        row |= _over_settings(measure, name, done)
    return row


def _cost_columns(name: str, costs: NetworkCosts) -> dict[str, float]:
    known = costs.networks.get(name)
    if known is None:
        return dict.fromkeys(("parameters", "gflops", "seconds", "seconds_low", "seconds_high"), math.nan)
    timed = known.timing
    seconds = {"seconds": timed.median, "seconds_low": timed.lower, "seconds_high": timed.upper}
    return {"parameters": known.parameters, "gflops": known.gflops, **seconds}


def _over_settings(measure: str, name: str, done: Sequence[Group]) -> dict[str, float]:
    """The columns of one measure of a network; an image that misses a value in one setting is left out of all."""
    if not done:
        ends = ("", "_low", "_high", "_worst", "_best", *["_oracle"] * (measure in ORACLES))
        return dict.fromkeys([f"{measure}{end}" for end in ends], math.nan)
    joint = joint_means([group.table(name, measure) for group in done], done[0].sources)
    worst, best = float(joint.means.min()), float(joint.means.max())
    if COLUMNS[measure].better == "lower":
        worst, best = best, worst
    columns = interval_columns(measure, joint.interval(lambda means: means.mean(axis=-1)))
    columns |= {f"{measure}_worst": worst, f"{measure}_best": best}
    if measure in ORACLES:
        columns[f"{measure}_oracle"] = done[0].level(name, ORACLES[measure]).mean
    return columns


def _input_row(found: Sequence[Group], shown: Sequence[str]) -> dict[str, Any]:
    """The output that does nothing: removes nothing, costs nothing, and has the PSNR and SSIM of the input."""
    row: dict[str, Any] = {NETWORK: DO_NOTHING, "parameters": math.nan, "gflops": math.nan, "seconds": math.nan}
    group, name = next((group, group.done[0]) for group in found if group.done)
    for measure in shown:
        if measure in ORACLES:
            row |= {measure: 0.0, f"{measure}_oracle": group.level(name, ORACLES[measure]).mean}
        else:
            row[measure] = group.level(name, INPUTS[measure]).mean if measure in INPUTS else np.nan
    return row
