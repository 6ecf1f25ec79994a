"""What a sweep does about cells that fail, hang or belong to others."""

from dataclasses import dataclass
from typing import Any

from slackoff.errors import SlackoffError
from slackoff.record.ledger import STALE_AFTER_S

GRACE_S = 60.0


@dataclass(frozen=True)
class Policy:
    """Settings of a driver.

    Args:
        stop_after: end the sweep, in order, after so many failed cells; None goes on with the others.
        max_attempts: how often this command tries a cell that fails.
        time_limit_s: seconds after which a cell counts as hanging; None for no limit.
        grace_s: seconds that a cell over its limit has to write a checkpoint and end by itself.
        stale_after_s: seconds without a heartbeat after which a cell of another machine counts as dead.
    """

    stop_after: int | None = None
    max_attempts: int = 1
    time_limit_s: float | None = None
    grace_s: float = GRACE_S
    stale_after_s: float = STALE_AFTER_S

    @classmethod
    def of(
        cls,
        on_failure: Any = "continue",
        max_attempts: Any = 1,
        time_limit_h: Any = None,
        grace_s: Any = GRACE_S,
        stale_after_s: Any = STALE_AFTER_S,
    ) -> "Policy":
        """From the launcher's settings.

        Args:
            on_failure: ``continue``, or ``stop_after=K`` as text.
            max_attempts, grace_s, stale_after_s: as above.
            time_limit_h: hours, or None.

        Raises:
            SlackoffError: a setting that cannot be.
        """
        return cls(
            stop_after=_stop_after(on_failure),
            max_attempts=int(_positive("max_attempts", max_attempts)),
            time_limit_s=None if time_limit_h is None else 3600 * _positive("time_limit_h", time_limit_h),
            grace_s=_positive("grace_s", grace_s),
            stale_after_s=_positive("stale_after_s", stale_after_s),
        )


def _stop_after(on_failure: Any) -> int | None:
    if on_failure == "continue":
        return None
    word, _, number = str(on_failure).partition("=")
    if word == "stop_after" and number.isdecimal() and int(number) > 0:
        return int(number)
    raise SlackoffError(
        f"hydra.launcher.on_failure={on_failure} is not known: continue, or 'stop_after=K' with K failed cells"
    )


def _positive(key: str, value: Any) -> float:
    if isinstance(value, (int, float)) and value > 0:
        return value
    raise SlackoffError(f"hydra.launcher.{key}={value} must be a number above 0")
