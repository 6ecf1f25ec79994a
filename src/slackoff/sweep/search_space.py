"""The space of a search: what Hydra's overrides sweep over, as distributions of Optuna."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from slackoff.errors import SlackoffError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DIGITS = 6  # of a value between two ends: what a person can type, and an identity can be made from


class Space:
    """Config keys and what is searched over for each.

    ``a,b`` and ``choice(a,b)`` are names without an order; ``range(1,10)`` is whole numbers without the stop, as
    everywhere in Hydra; ``interval(0.1,2)`` is numbers, both ends among them, ``int(interval(1,64))`` whole ones;
    ``tag(log,interval(...))`` is searched in the logarithm.

    Args:
        overrides: of the keys, as Hydra parsed them.

    Raises:
        SlackoffError: there is none, or one that cannot be searched over.
    """

    def __init__(self, overrides: Mapping[str, Override]) -> None:
        if not overrides:
            raise SlackoffError(
                "hydra/sweeper=optuna has nothing to search over: give a key several values, such as "
                "'schedule.learning_rate=tag(log,interval(1e-4,1e-2))' or network=unet_small,resnet_small"
            )
        self.distributions = {key: _distribution(key, override) for key, override in overrides.items()}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """The overrides of a job that has these parameters."""
        return [f"{key}={self.value(key, params[key])}" for key in self.distributions]

    def value(self, key: str, value: Any) -> Any:
        """A parameter as the config has it: numbers between two ends in six digits."""
        distribution = self.distributions[key]
        if not isinstance(value, float):
            return value
        low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
        return min(max(float(f"{value:.{_DIGITS}g}"), low), high)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether parameters, which may come from anybody's journal, are of this space."""
        return params.keys() == self.distributions.keys() and all(
            _is_within(distribution, params[key]) for key, distribution in self.distributions.items()
        )

    def corners(self) -> list[dict[str, Any]]:
        """Parameters in which each end and each choice occurs once: what is wrong with a value shows in them."""
        ends = {key: _ends(distribution) for key, distribution in self.distributions.items()}
        first = {key: values[0] for key, values in ends.items()}
        return [first, *({**first, key: value} for key, values in ends.items() for value in values[1:])]

    def __str__(self) -> str:
        return ", ".join(f"{key} {_words(distribution)}" for key, distribution in self.distributions.items())


def _distribution(key: str, override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    tags: set[str] = getattr(sweep, "tags", set())
    if unknown := tags - {"log"}:
        raise SlackoffError(f"{key}: the tag {sorted(unknown)[0]} is not known: tag(log,...) is")
    log = "log" in tags
    try:
        step: Any = None
        if override.is_interval_sweep():
            low, high = sweep.start, sweep.end
        elif override.is_range_sweep():
            steps = math.ceil(round((sweep.stop - sweep.start) / sweep.step, 9))
            low, high = sorted((sweep.start, sweep.start + (steps - 1) * sweep.step))
            step = abs(sweep.step)
        else:
            if log:
                raise SlackoffError(f"{key}: tag(log,...) is for interval and range, not for a list of names")
            return CategoricalDistribution(list(override.sweep_string_iterator()))
        if all(isinstance(part, int) for part in (low, high, step or 1)):
            return IntDistribution(low, high, log=log, step=step or 1)
        return FloatDistribution(low, high, log=log, step=step)
    except ValueError as error:
        raise SlackoffError(f"{key} cannot be searched over as {override.input_line}: {error}") from error


def _ends(distribution: "BaseDistribution") -> list[Any]:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return list(choices)
    return list(dict.fromkeys([distribution.low, distribution.high]))  # type: ignore[attr-defined]


def _is_within(distribution: "BaseDistribution", value: Any) -> bool:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return isinstance(value, str) and value in choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return bool(distribution.low <= value <= distribution.high)  # type: ignore[attr-defined]


def _words(distribution: "BaseDistribution") -> str:
    ends = _ends(distribution)
    if hasattr(distribution, "choices"):
        return "|".join(map(str, ends))
    log = " (log)" if distribution.log else ""  # type: ignore[attr-defined]
    return f"{ends[0]:g} to {ends[-1]:g}{log}"
