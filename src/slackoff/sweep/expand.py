"""From the command line to the resolved config of every job: Hydra composes, manifests add their rows.

Hydra takes tens of milliseconds to compose a config from files, and the jobs of a sweep mostly differ in values such as
``seed=3``. So each combination of files is composed once; values are set in a copy of it, as Hydra sets them itself.
"""

import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import Progress

from slackoff.config.mistakes import explain
from slackoff.errors import SlackoffError
from slackoff.sweep.manifest import Job, Row, jobs_of, read_manifest
from slackoff.sweep.python_grid import read_python, refuse_untyped

Config = dict[str, Any]
"""A resolved config without Hydra's own node: dicts, lists and plain values. Parts may be shared: never change one."""

Compose = Callable[[list[str]], DictConfig]
"""Hydra's composition of the config of one job, without Hydra's own node."""


_MANY = 100
"""Jobs that take longer to read than a person waits without a word."""


class NotGivenError(SlackoffError):
    """A value that must be given is missing."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not given: add {key}=... to the command")
        self.key = key


def select(content: Config | DictConfig, key: str) -> Any:
    """The value of a dotted config key; None where there is none."""
    node: Any = content
    try:
        for part in key.split("."):
            node = node[int(part) if isinstance(node, list) else part]
    except (LookupError, ValueError, TypeError):
        return None
    return node


def required(content: Config, key: str) -> Any:
    """The value of a dotted config key.

    Raises:
        NotGivenError: there is none, or it is null.
    """
    value = select(content, key)
    if value is None:
        raise NotGivenError(key)
    return value


def resolved(config: DictConfig) -> Config:
    """A composed config as plain values, its interpolations resolved.

    Args:
        config: without Hydra's own node.

    Raises:
        SlackoffError: a value that must be given is missing, or an interpolation leads nowhere.
    """
    for key in _missing(OmegaConf.to_container(config)):
        raise NotGivenError(key)
    try:
        content = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise SlackoffError(f"The config cannot be resolved: {str(error).splitlines()[0]}") from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


class Expander:
    """Turns the overrides of a job into its resolved config, the same as Hydra's and OmegaConf's own.

    Configs share the parts that are equal, so that thousands of them take little memory.

    Args:
        compose: Hydra's composition of one job.
        groups: the config groups.
    """

    def __init__(self, compose: Compose, groups: Collection[str]) -> None:
        self.compose, self.groups = compose, frozenset(groups)
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._composed: dict[tuple[str, ...], bytes] = {}  # pickled: small, and quicker to copy than a DictConfig
        self._parts: dict[str, Any] = {}

    def __call__(self, overrides: Sequence[str]) -> Config:
        """The config of one job.

        Raises:
            HydraException: as Hydra raises it for these overrides.
            SlackoffError: a value is missing, or an interpolation leads nowhere.
        """
        try:
            config = self._from_cache(overrides) or self.compose(list(overrides))
        except ValueError as error:
            if isinstance(error, OmegaConfBaseException):
                raise
            # Hydra's own for a choice that is no name
            raise SlackoffError(f"{' '.join(overrides)} cannot be composed: {error}") from error
        return {key: self._shared(value) for key, value in resolved(config).items()}

    def _from_cache(self, overrides: Sequence[str]) -> DictConfig | None:
        """The config, where plain values are all that is to be set after the composition of files; else None."""
        choices: list[str] = []
        values: list[Override] = []
        for text in overrides:
            if text not in self._parsed:
                try:
                    self._parsed[text] = self._parser.parse_override(text)
                except HydraException:
                    return None  # Hydra says what is wrong when it composes the job
            override = self._parsed[text]
            key = override.key_or_group
            chooses_file = key in self.groups or "/" in key or override.package is not None
            sets_value = override.type == OverrideType.CHANGE and override.value_type == ValueType.ELEMENT
            if chooses_file and not isinstance(override.value(), dict):
                choices.append(text)  # for Hydra's defaults list, which does not depend on values
            elif sets_value and key.partition(".")[0] != "hydra":
                values.append(override)
            else:
                return None
        if tuple(choices) not in self._composed:
            self._composed[tuple(choices)] = pickle.dumps(self.compose(choices))
        config: DictConfig = pickle.loads(self._composed[tuple(choices)])
        try:
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return None  # Hydra's own error has the better words
        return config

    def _shared(self, part: Any) -> Any:
        if isinstance(part, dict):
            part = {key: self._shared(value) for key, value in part.items()}
        return self._parts.setdefault(repr(part), part) if isinstance(part, (dict, list)) else part


def expand_jobs(
    overrides: Sequence[Sequence[str]], expander: Expander, console: Console, typed: Sequence[str] = ()
) -> tuple[list[Job], list[Config]]:
    """The jobs of a multirun with their configs; one whose config names a manifest becomes the manifest's rows.

    Args:
        overrides: of each job that the command line asks for.
        expander: gives their configs.
        console: where progress is shown, if it is a terminal.
        typed: the overrides of the command line itself; a manifest that is a Python file runs if it is named there.

    Raises:
        SlackoffError: a mistake in a manifest, naming file and row, or a value that is not given.
        HydraException: as Hydra raises it for the command line.
    """
    jobs: list[Job] = []
    configs: list[Config] = []
    if len(overrides) > _MANY and not console.is_terminal:
        console.print(f"Reading the configs of {len(overrides)} jobs.")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for given in progress.track(overrides, description="Configs"):
            config = expander(given)
            if not (name := config["study"].get("manifest")):
                jobs.append(Job(list(given)))
                configs.append(config)
                continue
            rows = list(jobs_of(_rows(str(name), typed), given))
            if len(rows) > _MANY and not console.is_terminal:
                console.print(f"Reading the configs of {len(rows)} rows.")
            jobs += rows
            configs += [_row_config(job, expander) for job in progress.track(rows, description="Rows")]
    return jobs, configs


def _rows(name: str, typed: Sequence[str]) -> list[Row]:
    path = Path(name).expanduser()
    if path.suffix != ".py" or not path.is_file():
        return read_manifest(name)
    refuse_untyped(name, typed)
    return read_python(path)


def _row_config(job: Job, expander: Expander) -> Config:
    assert job.row is not None
    try:
        return expander(job.overrides)
    except NotGivenError as error:
        raise SlackoffError(f"{job.row.place}: {error.key} is not given: add it to the row") from error
    except SlackoffError as error:
        raise SlackoffError(f"{job.row.place}: {error}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise SlackoffError(f"{job.row.place}: {explain(error, job.overrides)}") from error


def _missing(content: Any, prefix: str = "") -> Iterator[str]:
    """Keys whose value is the mandatory mark ???, without resolving what refers to them."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if value == "???":
            yield f"{prefix}{key}"
        yield from _missing(value, f"{prefix}{key}.")
