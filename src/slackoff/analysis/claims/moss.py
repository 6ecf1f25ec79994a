"""What the supplement of MOSS states on its ablations (Tables 3 to 5), and nothing more.

Neither decay is monotone in the published numbers, so no statement says so.
"""

from slackoff.analysis.claim import Claim, Effect
from slackoff.analysis.claims.decision import judged, lacking
from slackoff.analysis.claims.moss_published import FULL
from slackoff.analysis.claims.samples import difference, samples
from slackoff.analysis.claims.variants import WORSE, Statement, checked, for_each, undecided
from slackoff.analysis.frames import Frames
from slackoff.analysis.groups import Group
from slackoff.analysis.text import name, signed
from slackoff.analysis.trends import bounds
from slackoff.metrics.columns import COLUMNS

COMPONENTS = ("without memory", "without self-training", "without TV", "without skip")
NO_MEMORY, NO_TEACHER = "without memory", "without self-training"
UPDATED = ("tau 0", "tau 0.9", "tau 0.99", "tau 0.999", "tau 0.9999")
TAUGHT = ("nu 0", "nu 0.9", "nu 0.99", "nu 0.999", "nu 0.9999", "nu 1")


def check_moss(frames: Frames) -> list[Claim]:
    """Images without truth help, as the paper shows it in its figures."""
    pairs = [("labelled and unlabelled", "labelled only")]
    return checked(frames, {"unlabelled": Statement("Learning from images without truth helps", pairs)})


def check_moss_ablation(frames: Frames) -> list[Claim]:
    """Table 3: each component helps, and without all of them the network is the worst."""
    statements = {
        f"{variant.replace(' ', '_')}": Statement(f"The full model is better than the one {variant}", [(FULL, variant)])
        for variant in COMPONENTS
    }
    statements["basic_worst"] = Statement(
        "Without any of the components the network is the worst",
        [(variant, "basic") for variant in (*COMPONENTS, FULL)],
    )
    return checked(frames, statements)


def check_moss_tau(frames: Frames) -> list[Claim]:
    """Table 4: a memory that is never updated is worse than none, one that is updated is better than none.

    The published SSIM does not bear out the second of these for tau = 0: 0.876, against 0.888 without memory.
    """
    return checked(
        frames,
        {
            "fixed_memory": Statement(
                "A memory that is never updated (tau = 1) is worse than none", [("tau 1", NO_MEMORY)], WORSE
            ),
            "updated_memory": Statement(
                "A memory that is updated (tau from 0 to 0.9999) is better than none",
                [(variant, NO_MEMORY) for variant in UPDATED],
            ),
        },
    )


def check_moss_nu(frames: Frames) -> list[Claim]:
    """Table 5: any teacher is better than none, and one that stays as it was helps only little."""
    claims = checked(
        frames,
        {
            "any_teacher": Statement(
                "Self-training helps with every decay of the teacher (nu from 0 to 1)",
                [(variant, NO_TEACHER) for variant in TAUGHT],
            )
        },
    )
    return [*claims, *for_each(frames, _fixed_teacher)]


def _fixed_teacher(group: Group, measure: str) -> Claim:
    """The gain of a teacher that stays as it was against that of one that follows: the larger one, for the paper."""
    topic = "fixed_teacher"
    statement = (
        f"A teacher that never follows (nu = 1) helps less than one with nu = 0.999: {name(measure)} rises less."
    )
    wanted = ("nu 0.999", "nu 1", NO_TEACHER)
    if reason := undecided(group, wanted):
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
