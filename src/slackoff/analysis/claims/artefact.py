"""Is a change of E_R rain removal, or damage to the picture?

E_R is the RMS change inside the rain. A network that removes the share s of the rain and does nothing else
has E_R = s * oracle, in grey levels; whatever E_R moves beyond that does not follow the rain. So three paired
changes are set side by side: of E_R, of the removal share, and of removal share * oracle.
"""

from typing import Any

from slackoff.analysis.claim import NOT_ENOUGH, Claim, Effect, Verdict
from slackoff.analysis.groups import REMOVED, Group
from slackoff.analysis.statistics import MIN_UNITS, Interval
from slackoff.analysis.text import amount, at, flipped
from slackoff.analysis.trends import bounds, move, too_few

ANSWER = "removal_or_damage"
"""Id of the claim that answers the question of a patch-count study."""

_STATEMENT = "E_R falls because less of the rain is removed, not only because the background is damaged less."
_MORE = "the network trained on few patches really removes more of the unseen rain"
_LESS = "the network trained on few patches removes less of the unseen rain, not more"


def removal_or_damage(group: Group) -> Claim:
    """Says which of E_R and removal share moved from the smallest to the largest N, and what that means."""
    if len(group.done) < 2:
        return _claim(NOT_ENOUGH, {}, "It takes results at two values to say what moved.")
    first, last = group.done[0], group.done[-1]
    e_r, share, removed = (group.change(last, first, name) for name in ("e_r", "removal_share", REMOVED))
    numbers = {
        "from": first,
        "to": last,
        "e_r_fall": bounds(e_r),
        "removal_share_fall": bounds(share),
        "removed_rain_fall": bounds(removed),
        "part_of_e_r_fall": removed.mean / e_r.mean if e_r.sign > 0 else float("nan"),
    }
    fewest = min(e_r, share, key=lambda interval: interval.units)
    if fewest.units < MIN_UNITS:
        verdict: Verdict = NOT_ENOUGH
        words = f"E_R falls by {amount(e_r, 'e_r', first=True)} and the removal share by "
        words += f"{amount(share, 'removal_share')}. {too_few(fewest)}"
    else:
        verdict, words = _judge(e_r, share, removed, at(group.axis, first))
    sentence = f"From {at(group.axis, first)} to {at(group.axis, last)} {words}"
    effect = Effect.of(
        f"fall of the rain taken out from {at(group.axis, first)} to {at(group.axis, last)}", removed, "grey levels"
    )
    return _claim(verdict, numbers, sentence, effect if removed.images else None)


def _claim(verdict: Verdict, numbers: dict[str, Any], sentence: str, effect: Effect | None = None) -> Claim:
    return Claim(ANSWER, _STATEMENT, verdict, numbers, sentence, topic=ANSWER, effect=effect)


def _judge(e_r: Interval, share: Interval, removed: Interval, few: str) -> tuple[Verdict, str]:
    """Verdict and words from how far E_R, removal share and removed rain fall (negative: rise) as N grows."""
    of_e_r, of_share = move(flipped(e_r), "e_r", first=True), move(flipped(share), "removal_share")
    if e_r.sign > 0 and share.sign > 0:
        by = amount(share, "removal_share")
        return "supported", f"{of_e_r} and the removal share by {by}: {_MORE}. {_part(e_r, removed)}"
    if e_r.sign > 0 and share.sign < 0:
        return "contradicted", f"{of_e_r}, but {of_share}: {_LESS}; its higher E_R is background damage."
    if e_r.sign > 0:
        return _e_r_alone(e_r, removed, f"{of_e_r}, but {of_share}", few)
    if share.sign > 0:
        verdict: Verdict = "contradicted" if e_r.sign < 0 else NOT_ENOUGH
        return verdict, f"{of_e_r}, but {of_share}: {_MORE}, though E_R does not show it."
    if share.sign < 0:
        return "contradicted", f"{of_e_r} and {of_share}: {_LESS}, the opposite of the paper's finding."
    if e_r.sign < 0:
        return "contradicted", f"{of_e_r}, the opposite of the paper's finding, and {of_share}."
    return NOT_ENOUGH, f"{of_e_r} and {of_share}: the effect does not show in this study."


def _e_r_alone(e_r: Interval, removed: Interval, words: str, few: str) -> tuple[Verdict, str]:
    """E_R falls, the share not clearly: damage, if the removed rain can only be the smaller part.

    "At most" is the upper bound of the removed rain's interval against half the lower bound of E_R's, since
    an interval that holds 0 alone would not prove that nothing was removed.
    """
    most = max(removed.high, 0.0)
    if most > e_r.low / 2:
        unsure = "too uncertain to say whether"
        return NOT_ENOUGH, f"{words}: {unsure} the higher E_R at {few} is rain removal or background damage."
    reason = f"at most {most:.1f} of the grey levels that E_R falls by can be rain"
    return "contradicted", (f"{words}: the higher E_R at {few} is background damage, not rain removal ({reason}).")


def _part(e_r: Interval, removed: Interval) -> str:
    """How much of the fall of E_R the removed rain accounts for."""
    percent = 100 * removed.mean / e_r.mean
    overstates = "; the larger part is change that does not follow the rain, so E_R overstates the effect"
    return (
        f"The rain taken out (removal share \N{MULTIPLICATION SIGN} oracle E_R) falls by "
        f"{amount(removed, 'e_r')} grey levels, "
        f"{percent:.0f} % of the fall of E_R{overstates if percent < 50 else ''}."
    )
