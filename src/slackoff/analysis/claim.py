"""What a claim is: a checkable statement, a verdict, the numbers, and the numbers in words."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["supported", "contradicted", "undecided"]


@dataclass(frozen=True)
class Claim:
    """A checkable statement with the numbers that support or contradict it.

    `numbers` are plain Python values (NaN where there is none), `sentence` says them in words. `group` names
    the cells that it is about where a study has several groups. `scope` says what the intervals cover and
    what they do not; it belongs to every sentence.
    """

    id: str
    statement: str
    verdict: Verdict
    numbers: dict[str, Any]
    sentence: str
    group: str = ""
    scope: str = ""

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
