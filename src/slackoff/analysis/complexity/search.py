"""What is left of an order that was found by trying many windows: bounds that hold for all of them at once."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from slackoff.analysis.complexity.orders import PUBLISHED, Match, Spectra, matches
from slackoff.analysis.statistics import LEVEL


def certain(found: list[Spectra]) -> list[Match]:
    """The windows in the published order whose steps stay clear when the search over all windows is allowed for."""
    factor = search_factor(found)
    steps = {(one.variant, window): _steps(one, window.k0, window.depth) for one in found for window in one.windows}

    def holds(match: Match) -> bool:
        points, resampled = steps[match.variant, match.window]
        return bool((points - factor * resampled.std(axis=1) > 0).all())

    return [match for match in matches(found) if match.clear and holds(match)]


def search_factor(found: list[Spectra]) -> float:
    """How many standard deviations a step must lie above 0, for all steps of all windows at once: max-t.

    With d a step of the published order (mean C of a category less that of the next) in one window, d* the same in a
    resample and s the standard deviation of d*, it is the 95 % point of the largest (d* - d) / s of all windows and
    variants. One step alone would need 1.64.
    """
    largest = None
    for one in found:
        for window in one.windows:
            points, resampled = _steps(one, window.k0, window.depth)
            spread = resampled.std(axis=1)
            varies = spread > 0  # over all scales, normalised patches are equal whatever is drawn
            if varies.any():
                t = ((resampled - points[:, None])[varies] / spread[varies, None]).max(axis=0)
                largest = t if largest is None else np.maximum(largest, t)
    return float("inf") if largest is None else float(np.quantile(largest, LEVEL))


def _steps(one: Spectra, k0: int, depth: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The three steps of the published order, (3,), and the same in each resample, (3, RESAMPLES)."""
    pairs = [(one.samples[first], one.samples[second]) for first, second in pairwise(PUBLISHED)]
    points = [(first.mean - second.mean)[k0:depth].sum() for first, second in pairs]
    resampled = [(first.resampled - second.resampled)[:, k0:depth].sum(axis=1) for first, second in pairs]
    return np.round(points, 9), np.round(resampled, 9)
