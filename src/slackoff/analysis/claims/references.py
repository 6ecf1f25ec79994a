"""Are the cells comparable, and where do they lie between doing nothing and the perfect output?"""

from dataclasses import replace

import numpy as np

from slackoff.analysis.claim import NOT_ENOUGH, Claim
from slackoff.analysis.claims.scope import scope
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.text import amount, at, flipped, listing, number

REFERENCES = ("e_r_oracle", "removal_share_oracle", "psnr_rgb_input", "ssim_rgb_input")
"""Columns that depend on the test images alone: no network can change them."""

TOLERANCE = 1e-3
"""Largest difference of a reference between cells, in its own unit; rounding differs between machines."""

ID = "references"

_STATEMENT = "All networks were tested on the same rainy images."


def check_references(frames: Frames) -> list[Claim]:
    """For every group of a study, whether its cells are comparable."""
    found = []
    for group in groups(frames):
        found.append(replace(references(group), group=group.name, scope=scope(group), topic=ID))
    return found


def references(group: Group) -> Claim:
    """The claim that the references agree between cells; says which networks pass beyond a reference."""
    if not group.done:
        return Claim(ID, _STATEMENT, NOT_ENOUGH, {}, "There are no results yet.")
    levels = {name: group.level(group.done[0], name).mean for name in REFERENCES}
    spread = _spread(group)
    numbers = {"largest_difference": spread, **levels}
    if not spread <= TOLERANCE:
        what = f"their references differ by up to {spread:.2g} in the same image"
        what = "they have different test images" if np.isnan(spread) else what
        sentence = f"The cells do not compare, {what}: evaluate all of them on one test set."
        return Claim(ID, _STATEMENT, "contradicted", numbers, sentence)
    sentence = (
        f"Doing nothing gives E_R 0, removal share 0 and PSNR {number(levels['psnr_rgb_input'], 2)} dB; "
        f"the perfect output gives E_R {number(levels['e_r_oracle'], 1)}, "
        f"removal share {number(levels['removal_share_oracle'], 2)} and E_B 0."
    )
    if above := _beyond(group, "e_r", "e_r_oracle", 1):
        sentence += f" E_R exceeds its oracle at {listing(above)}: that cannot be rain removal alone."
    if worse := _beyond(group, "psnr_rgb", "psnr_rgb_input", -1):
        sentence += f" PSNR is below that of the untouched input at {listing(worse)}."
    return Claim(ID, _STATEMENT, "supported", numbers, sentence)


def _spread(group: Group) -> float:
    """Largest difference of a reference between cells in one image; NaN where cells have different images."""
    largest = 0.0
    for name in REFERENCES:
        table = np.concatenate([group.table(value, name) for value in group.done])
        missing = np.isnan(table)
        if (missing.any(axis=0) != missing.all(axis=0)).any():
            return float("nan")
        present = table[:, ~missing.any(axis=0)]
        largest = max(largest, float(np.ptp(present, axis=0).max(initial=0.0)))
    return largest


def _beyond(group: Group, measure: str, reference: str, side: int) -> list[str]:
    """'N = 8 by 8.4 (7.1 to 9.9)' for each value at which a measure lies clearly beyond its reference."""
    found = []
    for value in group.done:
        own, bound = group.table(value, measure), group.table(value, reference)
        gap = difference_interval(own, bound, group.sources)
        if gap.sign == side:
            found.append(f"{at(group.axis, value)} by {amount(gap if side > 0 else flipped(gap), measure)}")
    return found
