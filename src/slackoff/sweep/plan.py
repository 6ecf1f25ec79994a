"""From the configs of a sweep to its cells: who they are, what differs between them, which are done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from slackoff.errors import SlackoffError
from slackoff.record.status import Status, read_status
from slackoff.sweep.identity import cell_id

_LABEL_KEYS = ("network", "background", "rain", "task", "evaluation")


@dataclass(frozen=True)
class Cell:
    """One model to train.

    ``label`` says in words what it is; ``axes`` holds its values along what differs within the sweep.
    """

    id: str
    config: DictConfig
    folder: Path
    label: dict[str, Any]
    axes: dict[str, Any]

    def status(self) -> Status:
        """The status on disk, or that of a cell never tried."""
        return read_status(self.folder) or Status(self.id, self.label, int(self.config.schedule.steps))


class Fingerprints:
    """Digests of the data that configs refer to, each folder read once a sweep."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, config: DictConfig) -> dict[str, str]:
        from slackoff import build  # here, so that planning without folders needs no torch

        background = OmegaConf.to_yaml({key: config.background[key] for key in ("source", "held_out")})
        if background not in self._known:
            source, split = build.build_backgrounds(config)
            self._known[background] = f"{source.fingerprint()} {split.train}"
        evaluation = OmegaConf.to_yaml(config.evaluation.test_set)
        if evaluation not in self._known:
            self._known[evaluation] = build.build(config.evaluation.test_set, "evaluation.test_set").fingerprint()
        return {"background": self._known[background], "evaluation": self._known[evaluation]}


def plan(configs: Sequence[DictConfig], overrides: Sequence[Sequence[str]]) -> list[Cell]:
    """Turn composed configs into cells, each once, in the order given.

    Args:
        configs: one composed config a job.
        overrides: the command line overrides of each job, from which the axes are read.

    Raises:
        SlackoffError: a value that must be given is missing, or a data folder cannot be read.
    """
    fingerprints = Fingerprints()
    varying = _varying_keys(overrides)
    cells: dict[str, Cell] = {}
    for config in configs:
        resolved = _resolve(config)
        content = OmegaConf.to_container(resolved)
        assert isinstance(content, dict)
        identity = cell_id({str(key): value for key, value in content.items()}, fingerprints.of(resolved))
        axes = {_short(resolved.study.axis): OmegaConf.select(resolved, resolved.study.axis)}
        axes |= {_short(key): _value(resolved, key) for key in varying}
        label = {key: resolved[key].name for key in _LABEL_KEYS}
        label |= {"patch_count": resolved.background.patch_count, "seed": resolved.seed}
        folder = Path(resolved.runs) / "cells" / identity
        cells.setdefault(identity, Cell(identity, resolved, folder, label, axes))
    return list(cells.values())


def _resolve(config: DictConfig) -> DictConfig:
    plain = OmegaConf.create({key: config._get_node(key) for key in config if key != "hydra"})
    for key in _missing(OmegaConf.to_container(plain)):
        raise SlackoffError(f"{key} is not given: add {key}=... to the command")
    try:
        OmegaConf.resolve(plain)
    except OmegaConfBaseException as error:
        raise SlackoffError(f"The config cannot be resolved: {str(error).splitlines()[0]}") from error
    return plain


def _missing(content: Any, prefix: str = "") -> Iterator[str]:
    """Keys whose value is the mandatory mark ???, without resolving what refers to them."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if value == "???":
            yield f"{prefix}{key}"
        yield from _missing(value, f"{prefix}{key}.")


def _varying_keys(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Keys whose override differs between jobs, in the order of the command."""
    values: dict[str, set[str]] = {}
    for job in overrides:
        for override in job:
            key, _, value = override.partition("=")
            values.setdefault(key.lstrip("+~"), set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def _value(config: DictConfig, key: str) -> Any:
    """The value of a config key, or the name of a group's choice."""
    value = OmegaConf.select(config, key.replace("/", "."))
    if isinstance(value, DictConfig):
        return value.get("name", str(value))
    return str(value) if OmegaConf.is_list(value) else value


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1]
