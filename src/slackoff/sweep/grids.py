"""Grids that are no plain product of lists: axes that go together (``study.zip``), cells left out (``study.skip``)."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from slackoff.errors import SlackoffError, did_you_mean
from slackoff.sweep.expand import Config, select
from slackoff.sweep.manifest import Job

_REASON = "reason"


def jobs_of_lists(values: Mapping[str, Sequence[str]], together: Any = ()) -> list[list[str]]:
    """The jobs of lists of values: their product, in which some keys go together as pairs, triples and so on.

    Args:
        values: by config key, the overrides that the command gives for it, one for each value.
        together: ``study.zip``: a list of keys whose lists are gone through at the same pace, or a list of such lists.

    Returns:
        The overrides of each job.

    Raises:
        SlackoffError: such a key has no list of its own, is named twice, or the lists differ in length.

    Example:
        >>> jobs_of_lists({"a": ["a=1", "a=2"], "b": ["b=3", "b=4"]}, ["a", "b"])
        [['a=1', 'b=3'], ['a=2', 'b=4']]
    """
    groups = _groups(together)
    named = [key for group in groups for key in group]
    for key in named:
        if key not in values:
            cure = did_you_mean(key, values, f"add {key}=VALUE,VALUE to the command")
            raise SlackoffError(f"study.zip names {key}, for which the command gives no values: {cure}")
    if twice := [key for key in dict.fromkeys(named) if named.count(key) > 1]:
        raise SlackoffError(f"study.zip names {twice[0]} twice: remove one")
    axes: dict[str, list[tuple[str, ...]]] = {}
    for key, overrides in values.items():
        group = next((group for group in groups if key in group), [key])
        if group[0] in axes:
            continue
        lengths = {each: len(values[each]) for each in group}
        if len(set(lengths.values())) > 1:
            words = ", ".join(f"{each} {length}" for each, length in lengths.items())
            raise SlackoffError(f"study.zip: the lists differ in length ({words}): give each as many values")
        axes[group[0]] = (
            list(zip(*(values[each] for each in group), strict=True))
            if group != [key]
            else [(override,) for override in overrides]
        )
    return [list(itertools.chain(*job)) for job in itertools.product(*axes.values())]


def _groups(together: Any) -> list[list[str]]:
    groups = [together] if together and all(isinstance(key, str) for key in together) else list(together or ())
    for group in groups:
        if not isinstance(group, list) or len(group) < 2 or not all(isinstance(key, str) for key in group):
            raise SlackoffError(
                "study.zip lists config keys whose values go together, at least two: such as "
                "'study.zip=[background.patch_count,schedule.steps]'"
            )
    return groups


class Skipped(NamedTuple):
    """What was asked for and is not trained, and why; ``words`` tell it from the others of its command."""

    job: Job
    reason: str
    words: str

    def told(self) -> dict[str, Any]:
        """As the record of a study keeps it."""
        return {"overrides": self.job.overrides, "reason": self.reason}

    def __str__(self) -> str:
        return f"skipped: {self.words}: {self.reason}"


def leave_out(jobs: Sequence[Job], configs: Sequence[Config]) -> tuple[list[Job], list[Config], list[Skipped]]:
    """Part the jobs into those to do and those that their row or a condition of ``study.skip`` leaves out.

    A condition is a mapping of config keys to a value, or a list of values, and a ``reason``; it holds where all keys
    have such values. A config group stands for the name of its choice.

    Raises:
        SlackoffError: a condition that is none, a key that no config has, or nothing is left.
    """
    kept: list[tuple[Job, Config]] = []
    skipped: list[Skipped] = []
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    for job, config in zip(jobs, configs, strict=True):
        conditions = [_checked(condition, config) for condition in config["study"].get("skip") or ()]
        reasons = [job.row.skip] if job.row and job.row.skip else []
        reasons += [str(condition[_REASON]) for condition in conditions if _holds(condition, config)]
        if reasons:
            words = " ".join(override for override in job.overrides if override not in common)
            skipped.append(Skipped(job, reasons[0], job.row.place if job.row else words))
        else:
            kept.append((job, config))
    if not kept and skipped:
        raise SlackoffError(
            f"Every cell is skipped ({skipped[0].reason}): take a condition out of study.skip, or skip out of a row"
        )
    return [job for job, _ in kept], [config for _, config in kept], skipped


def _checked(condition: Any, config: Config) -> dict[str, Any]:
    if not isinstance(condition, dict) or not isinstance(condition.get(_REASON), str) or len(condition) < 2:
        raise SlackoffError(
            "study.skip lists mappings of config keys to values with a reason: such as "
            "{network: swinir, seed: [1, 2], reason: one seed is enough}"
        )
    for key in condition:
        if key != _REASON and _value(config, key) is None:
            raise SlackoffError(f"study.skip names {key}, which is no key of the config: {_cure(key, config)}")
    return condition


def _cure(key: str, config: Config) -> str:
    known = [*config, *(f"{group}.{name}" for group, node in config.items() if isinstance(node, dict) for name in node)]
    return did_you_mean(key, known, "python -m slackoff --cfg job shows the keys")


def _holds(condition: Mapping[str, Any], config: Config) -> bool:
    return all(
        _value(config, key) in (wanted if isinstance(wanted, list) else [wanted])
        for key, wanted in condition.items()
        if key != _REASON
    )


def _value(config: Config, key: str) -> Any:
    value = select(config, key)
    return value.get("name") if isinstance(value, dict) else value
