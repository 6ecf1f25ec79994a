"""What a balance says in words: the recommended pair with its numbers, the rule, and where the two fronts differ."""

from slackoff.analysis.balance import COST, Balance, Point
from slackoff.analysis.statistics import MIN_UNITS
from slackoff.analysis.trends import too_few
from slackoff.analysis.wording import amount, listing, number

_RUNNER_UP = 0.1
"""Points that the rule names in at least this share of the resamples are told."""


def describe(balance: Balance) -> list[str]:
    """Sentences on one balance, the recommendation first; each is a paragraph of the report."""
    found = [_recommended(balance), _rule(balance), _fronts(balance)]
    if balance.absent:
        found.append(f"Not in the balance, for want of results: {listing(balance.absent)}.")
    return found


def _recommended(balance: Balance) -> str:
    point = balance.recommended
    numbers = (
        f"removal share {amount(point.levels['removal_share'], 'removal_share', first=True)}, "
        f"E_B {amount(point.levels[COST], COST, first=True)}, "
        f"E_R {amount(point.levels['e_r'], 'e_r')} with an oracle of {number(point.e_r_oracle, 1)}"
    )
    if point.levels[COST].units < MIN_UNITS:
        return f"The rule names {point.name}: {numbers}. {too_few(point.levels[COST])}"
    return f"Recommended: {point.name}. It has {numbers}."


def _rule(balance: Balance) -> str:
    """The rule with its numbers, and how often it names the same pair when the images are drawn anew."""
    cheapest = min(balance.points, key=lambda point: point.levels[COST].mean)
    front = balance.fronts["removal_share"]
    rule = (
        f"The rule is ours: among the pairs whose E_B is at most {balance.margin:g} grey levels above the lowest "
        f"({number(cheapest.levels[COST].mean, 1)} at {cheapest.name}), the one with the greatest removal share."
    )
    shares = front.recommended_shares
    if shares[front.recommended] != shares[front.recommended]:
        return rule
    others = [
        f"{point.name} in {_percent(share)}"
        for place, (point, share) in enumerate(zip(balance.points, shares, strict=True))
        if place != front.recommended and share >= _RUNNER_UP
    ]
    also = f"; {listing(others)}" if others else ""
    return f"{rule} It names this pair in {_percent(shares[front.recommended])} of the bootstrap resamples{also}."


def _percent(share: float) -> str:
    """'58 %'; '100 %' only of all."""
    return "over 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _fronts(balance: Balance) -> str:
    """Which pairs are on the front by removal share, and what E_R would have made of it."""
    on_share, on_e_r = balance.on_front("removal_share"), balance.on_front("e_r")
    more = [point for point in on_e_r if point not in on_share]
    fewer = [point for point in on_share if point not in on_e_r]
    differs = [f"has {_compact(more)} as well"] if more else []
    differs += [f"lacks {_compact(fewer)}"] if fewer else []
    words = f"On the Pareto front by removal share: {_compact(on_share)}. The front by E_R "
    words += f"{', and '.join(differs) or 'is the same'}."
    if beyond := [point for point in on_e_r if point.beyond_oracle.sign > 0]:
        words += f" E_R clearly exceeds its oracle at {_compact(beyond)}: that cannot be rain removal alone."
    by_e_r = balance.points[balance.fronts["e_r"].recommended]
    if by_e_r is balance.recommended:
        return f"{words} By E_R the rule names the same pair."
    share, e_b = by_e_r.levels["removal_share"].mean, by_e_r.levels[COST].mean
    return (
        f"{words} By E_R the rule would name {by_e_r.name} instead (removal share {number(share, 2)}, "
        f"E_B {number(e_b, 1)})."
    )


def _compact(points: list[Point]) -> str:
    """'small, N = 512 and 1024; large, N = 8': the counts of each rain range together."""
    together: dict[str, list[str]] = {}
    for point in points:
        together.setdefault("" if point.rain is None else f"{point.rain}, ", []).append(str(point.patch_count))
    return "; ".join(f"{rain}N = {listing(counts)}" for rain, counts in together.items())
