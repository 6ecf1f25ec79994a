"""What a claim is: a checkable statement, a verdict, the effect behind it, the numbers, and the numbers in words."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import quantity

Verdict = Literal["supported", "contradicted", "not enough data"]

SUPPORTED: Final = "supported"
CONTRADICTED: Final = "contradicted"
NOT_ENOUGH: Final = "not enough data"


@dataclass(frozen=True)
class Effect:
    """The size of what a claim is about, with its 95 % interval, in its own unit.

    `what` names it: 'fall from N = 8 to N = 1024'. `unit` is empty for a plain number.
    """

    what: str
    mean: float
    low: float
    high: float
    unit: str = ""

    @classmethod
    def of(cls, what: str, interval: Interval, unit: str = "") -> "Effect":
        """The effect that an interval holds."""
        return cls(what, interval.mean, interval.low, interval.high, unit)

    @property
    def text(self) -> str:
        """'12.3 grey levels (11.0 to 13.5)'."""
        return quantity(self.mean, self.low, self.high, self.unit)


@dataclass(frozen=True)
class Claim:
    """A checkable statement with the numbers that support or contradict it.

    `numbers` are plain Python values (NaN where there is none), `sentence` says them in words. `group` names
    the cells that it is about where a study has several groups. `scope` says what the intervals cover and
    what they do not; it belongs to every sentence.

    `family` names the statements that belong together, `topic` the statement and `measure` what it is about,
    where that is one measure. Two claims of one family, group and topic about E_R and about the removal share are
    twins; `disagreement` says where twins come out differently.
    """

    id: str
    statement: str
    verdict: Verdict
    numbers: dict[str, Any]
    sentence: str
    group: str = ""
    scope: str = ""
    family: str = ""
    topic: str = ""
    measure: str = ""
    effect: Effect | None = None
    disagreement: str = ""

    def as_json(self) -> dict[str, Any]:
        """The claim as JSON can hold it: NaN becomes None."""
        plain = _without_nan(asdict(self))
        assert isinstance(plain, dict)
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
