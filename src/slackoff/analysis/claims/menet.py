"""What Tables I, II and IV of MENET show on the losses, their weights, attention and depth, and nothing more.

The paper calls the texture loss a gain by its SSIM; its PSNR falls, and the statement says both. Its numbers are of
single runs: with several seeds the intervals are over the seeds too, and the verdicts say which differences survive.
"""

from collections.abc import Sequence
from itertools import product

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking, within
from slackoff.analysis.claims.menet_published import EDGE_FIXED, PIXEL
from slackoff.analysis.claims.samples import Statistic, difference, differences, samples
from slackoff.analysis.claims.variants import Pair, Statement, checked, for_each, places_of, told, undecided
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import Array
from slackoff.analysis.text import first_of, name, number, signed
from slackoff.analysis.trends import bounds

HEAVY, LIGHT = "rain100h", "rain100l"
"""The test sets that the statements are made of."""

WEIGHTINGS = ("GB", "LB")

MARGIN = 0.1
"""dB of PSNR within which two weightings count as alike: our choice. The published differences are 0.03 at the most."""

LOSSES = (EDGE_FIXED, *(f"{losses} {weighting}" for losses in ("Lp Le", "Lp Le Lt") for weighting in WEIGHTINGS))
"""The combinations of losses on the network of 8 blocks without attention."""

DEEPER: list[Pair] = [(f"Lp Le Lt {weighting} CA deep", f"Lp Le Lt {weighting} CA") for weighting in WEIGHTINGS]

_PSNR = ("psnr_rgb",)


def check_menet_ablation(frames: Frames) -> list[Claim]:
    """Table I, Rain100H: adaptive weights, the texture loss, attention, depth, and GB against LB."""
    claims = checked(
        frames,
        {
            "adaptive_edge": Statement(
                "On Rain100H adaptive weights (GB, LB) of pixel and edge loss are better than fixed ones",
                [(f"Lp Le {weighting}", EDGE_FIXED) for weighting in WEIGHTINGS],
            ),
            "texture": Statement(
                "On Rain100H the texture loss beside adaptive weights trades PSNR for SSIM",
                [(f"Lp Le Lt {weighting}", f"Lp Le {weighting}") for weighting in WEIGHTINGS],
                {"psnr_rgb": "lower", "ssim_rgb": "higher"},
            ),
            "attention": Statement(
                "On Rain100H channel attention (CA) helps with either weighting",
                [(f"Lp Le Lt {weighting} CA", f"Lp Le Lt {weighting}") for weighting in WEIGHTINGS],
            ),
            "depth": Statement("On Rain100H twice the depth helps with either weighting", DEEPER),
        },
        HEAVY,
    )
    claims += for_each(frames, _depth_over_losses, _PSNR, HEAVY)
    alike = [tuple(f"Lp Le Lt {weighting}{part}" for weighting in WEIGHTINGS) for part in ("", " CA", " CA deep")]
    return [*claims, *_alike(frames, [(first, second) for first, second in alike])]


def check_menet_table2(frames: Frames) -> list[Claim]:
    """Table II, Rain100H: depth, and GB against LB. On Rain100L there is no clear winner."""
    depth = Statement(
        "On Rain100H twice the depth helps with either weighting",
        [(f"MENET-{weighting}-deep", f"MENET-{weighting}") for weighting in WEIGHTINGS],
    )
    pairs = [("MENET-GB", "MENET-LB"), ("MENET-GB-deep", "MENET-LB-deep")]
    return [*checked(frames, {"depth": depth}, HEAVY), *_alike(frames, pairs)]


def check_menet_lossnet(frames: Frames) -> list[Claim]:
    """Table IV, Rain100L: the edge loss at a fixed weight does not raise PSNR. Supported where it clearly falls."""
    words = "On Rain100L the edge loss at a fixed weight does not raise PSNR"
    statement = Statement(words, [(EDGE_FIXED, PIXEL)], {"psnr_rgb": "lower"})
    return checked(frames, {"fixed_edge": statement}, LIGHT)


def _depth_over_losses(group: Group, measure: str) -> Claim:
    """What depth adds, with either weighting, is more than what any combination of losses adds to the pixel loss.

    Every such pair is a criterion of its own, so that no best combination is picked from noisy means.
    """
    topic = "depth_over_losses"
    statement = f"On Rain100H twice the depth adds more {name(measure)} than any combination of losses adds to Lp."
    variants = [PIXEL, *LOSSES, *(shallow for _, shallow in DEEPER), *(deep for deep, _ in DEEPER)]
    if reason := undecided(group, variants):
        return lacking(topic, measure, statement, reason)
    found = samples([(group, variant, measure) for variant in variants])
    depth, losses = places_of(DEEPER, variants), places_of([(loss, PIXEL) for loss in LOSSES], variants)
    pairs = list(product(depth, losses))
    names = [f"depth ({weighting}) less {loss}" for weighting, loss in product(WEIGHTINGS, LOSSES)]
    gaps = {what: found.interval(_gain_less([pair])) for what, pair in zip(names, pairs, strict=True)}
    smallest = min(gaps, key=lambda pair: gaps[pair].mean)
    gains = {w: found.interval(difference(*at)) for w, at in zip(WEIGHTINGS, depth, strict=True)}
    over = {loss: found.interval(difference(*at)) for loss, at in zip(LOSSES, losses, strict=True)}
    shown = [[f"{what} ({signed(gain, measure)})" for what, gain in some.items()] for some in (gains, over)]
    return judged(
        topic,
        measure,
        statement,
        found,
        _gain_less(pairs),
        Effect.of(f"{smallest}, the smallest", gaps[smallest], "dB"),
        f"Twice the depth changes {name(measure)} with {first_of(shown[0])}. Over Lp it changes with "
        f"{first_of(shown[1], most=5)}.",
        {
            "depth": {what: bounds(gain) for what, gain in gains.items()},
            "losses": {what: bounds(gain) for what, gain in over.items()},
            "depth_less_losses": {what: bounds(gap) for what, gap in gaps.items()},
        },
    )


def _gain_less(pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> Statistic:
    """The statistic that is, for each pair of gains, the first less the second; a gain is a pair of places.

    From (..., V) means to (..., k), and to (...) for one pair.
    """
    firsts, seconds = (differences(gains) for gains in zip(*pairs, strict=True))

    def less(means: Array) -> Array:
        found = firsts(means) - seconds(means)
        return found[..., 0] if len(pairs) == 1 else found

    return less


def _alike(frames: Frames, pairs: list[Pair]) -> list[Claim]:
    """That the two variants of each pair, GB and LB, come out within `MARGIN` of each other on Rain100H."""

    def claim(group: Group, measure: str) -> Claim:
        topic = "gb_lb_alike"
        statement = (
            f"On Rain100H GB and LB come out alike where all three losses are weighted: their {name(measure)} differs "
            f"by less than {MARGIN} dB."
        )
        variants = [variant for pair in pairs for variant in pair]
        if reason := undecided(group, variants):
            return lacking(topic, measure, statement, reason)
        found = samples([(group, variant, measure) for variant in variants])
        places = places_of(pairs, variants)
        gaps = {
            f"{first} less {second}": found.interval(difference(*at))
            for (first, second), at in zip(pairs, places, strict=True)
        }
        largest = max(gaps, key=lambda pair: abs(gaps[pair].mean))
        return judged(
            topic,
            measure,
            statement,
            found,
            lambda means: within(differences(places)(means), MARGIN),
            Effect.of(largest if len(gaps) == 1 else f"{largest}, the largest", gaps[largest], "dB"),
            f"{told(gaps, measure)} Less than {number(MARGIN, 1)} dB either way counts as alike, which is our choice.",
            {"margin": MARGIN, "gaps": {pair: bounds(gap) for pair, gap in gaps.items()}},
        )

    return for_each(frames, claim, _PSNR, HEAVY)
