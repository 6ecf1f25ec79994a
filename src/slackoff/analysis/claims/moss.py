"""What the supplement of MOSS states on its ablations (Tables 3 to 5), and nothing more.

Neither decay is monotone in the published numbers, so no statement says so.
"""

from collections.abc import Callable, Mapping, Sequence

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.moss_published import FULL, MEASURES
from slackoff.analysis.claims.samples import difference, differences, samples
from slackoff.analysis.claims.scope import placed
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group, groups
from slackoff.analysis.statistics import Interval
from slackoff.analysis.trends import bounds
from slackoff.analysis.wording import first_of, listing, name, signed
from slackoff.metrics.columns import COLUMNS

COMPONENTS = ("without memory", "without self-training", "without TV", "without skip")
NO_MEMORY, NO_TEACHER = "without memory", "without self-training"
UPDATED = ("tau 0", "tau 0.9", "tau 0.99", "tau 0.999", "tau 0.9999")
TAUGHT = ("nu 0", "nu 0.9", "nu 0.99", "nu 0.999", "nu 0.9999", "nu 1")

Pair = tuple[str, str]
"""Two variants, of which the first is said to be the better one."""


def check_moss(frames: Frames) -> list[Claim]:
    """Images without truth help, as the paper shows it in its figures."""
    pairs = [("labelled and unlabelled", "labelled only")]
    return _checked(frames, {"unlabelled": ("Learning from images without truth helps", pairs)})


def check_moss_ablation(frames: Frames) -> list[Claim]:
    """Table 3: each component helps, and without all of them the network is the worst."""
    statements = {
        f"{variant.replace(' ', '_')}": (f"The full model is better than the one {variant}", [(FULL, variant)])
        for variant in COMPONENTS
    }
    statements["basic_worst"] = (
        "Without any of the components the network is the worst",
        [(variant, "basic") for variant in (*COMPONENTS, FULL)],
    )
    return _checked(frames, statements)


def check_moss_tau(frames: Frames) -> list[Claim]:
    """Table 4: a memory that is never updated is worse than none, one that is updated is better than none.

    The published SSIM does not bear out the second of these for tau = 0: 0.876, against 0.888 without memory.
    """
    return _checked(
        frames,
        {
            "fixed_memory": ("A memory that is never updated (tau = 1) is worse than none", [(NO_MEMORY, "tau 1")]),
            "updated_memory": (
                "A memory that is updated (tau from 0 to 0.9999) is better than none",
                [(variant, NO_MEMORY) for variant in UPDATED],
            ),
        },
    )


def check_moss_nu(frames: Frames) -> list[Claim]:
    """Table 5: any teacher is better than none, and one that stays as it was helps only little."""
    claims = _checked(
        frames,
        {
            "any_teacher": (
                "Self-training helps with every decay of the teacher (nu from 0 to 1)",
                [(variant, NO_TEACHER) for variant in TAUGHT],
            )
        },
    )
    return [*claims, *_for_each(frames, _fixed_teacher)]


def _fixed_teacher(group: Group, measure: str) -> Claim:
    """The gain of a teacher that stays as it was against that of one that follows: the larger one, for the paper."""
    topic = "fixed_teacher"
    statement = (
        f"A teacher that never follows (nu = 1) helps less than one with nu = 0.999: {name(measure)} rises less."
    )
    wanted = ("nu 0.999", "nu 1", NO_TEACHER)
    if reason := _undecided(group, wanted):
        return lacking(topic, measure, statement, reason)
    found = samples([(group, variant, measure) for variant in wanted])
    gap = found.interval(difference(0, 1))
    gains = [found.interval(difference(place, 2)) for place in (0, 1)]
    return judged(
        topic,
        measure,
        statement,
        found,
        difference(0, 1),
        Effect.of("nu = 0.999 less nu = 1", gap, COLUMNS[measure].unit),
        f"Over no self-training {name(measure)} changes by {signed(gains[0], measure)} with nu = 0.999 and by "
        f"{signed(gains[1], measure)} with nu = 1.",
        {"gain_0.999": bounds(gains[0]), "gain_1": bounds(gains[1])},
    )


def _checked(frames: Frames, statements: Mapping[str, tuple[str, Sequence[Pair]]]) -> list[Claim]:
    """A claim for each statement, group and measure."""

    def claims_on(topic: str, statement: str, pairs: Sequence[Pair]) -> Callable[[Group, str], Claim]:
        return lambda group, measure: _better(group, measure, topic, statement, pairs)

    return [
        claim
        for topic, (statement, pairs) in statements.items()
        for claim in _for_each(frames, claims_on(topic, statement, pairs))
    ]


def _for_each(frames: Frames, claim: Callable[[Group, str], Claim]) -> list[Claim]:
    return [
        made
        for group in groups(frames)
        for made in placed([claim(group, measure) for measure in MEASURES], group.name, [group])
    ]


def _better(group: Group, measure: str, topic: str, statement: str, pairs: Sequence[Pair]) -> Claim:
    """The claim that in each pair of variants the first one has the higher measure."""
    statement = f"{statement}: {name(measure)} is {'lower' if topic == 'fixed_memory' else 'higher'}."
    variants = list(dict.fromkeys(variant for pair in pairs for variant in pair))
    if reason := _undecided(group, variants):
        return lacking(topic, measure, statement, reason)
    found = samples([(group, variant, measure) for variant in variants])
    places = [(variants.index(first), variants.index(second)) for first, second in pairs]
    gaps = {
        f"{first} over {second}": found.interval(difference(*at))
        for (first, second), at in zip(pairs, places, strict=True)
    }
    smallest = min(gaps, key=lambda pair: gaps[pair].mean)
    return judged(
        topic,
        measure,
        statement,
        found,
        differences(places),
        Effect.of(smallest if len(gaps) == 1 else f"{smallest}, the smallest", gaps[smallest], COLUMNS[measure].unit),
        _counted(gaps, measure),
        {"gaps": {pair: bounds(gap) for pair, gap in gaps.items()}},
    )


def _counted(gaps: dict[str, Interval], measure: str) -> str:
    shown = first_of([f"{pair} ({signed(gap, measure)})" for pair, gap in gaps.items()], most=6)
    return f"Differences in {name(measure)}: {shown}."


def _undecided(group: Group, variants: Sequence[str]) -> str:
    """Why nothing can be said about these variants; empty where there is no reason."""
    if missing := [variant for variant in variants if variant not in group.done]:
        return f"There is no result for {listing(missing)}."
    best = max(group.level(variant, "psnr_rgb").mean for variant in group.done)
    untouched = group.level(group.done[0], "psnr_rgb_input").mean
    if best > untouched:
        return ""
    return (
        f"No variant gets better than its input (PSNR {best:.2f} dB at the best, input {untouched:.2f} dB): networks "
        "that were trained for so short a time say nothing about it."
    )
