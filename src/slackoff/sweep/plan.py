"""From the configs of a sweep to its cells: who they are, what differs between them, which are done."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from slackoff.errors import SlackoffError
from slackoff.record.ledger import Watch
from slackoff.record.observed import observed_status
from slackoff.record.status import DamagedStatusError, Status
from slackoff.sweep.collection import without_collection
from slackoff.sweep.expand import Config, NotGivenError, resolved
from slackoff.sweep.identity import Fingerprints, cell_id
from slackoff.sweep.manifest import Row

VARIANT = "study.variant"
"""The axis of studies whose cells differ in what a name stands for, such as 'without memory'."""

_LABEL = {
    **{group: f"{group}.name" for group in ("network", "background", "rain", "task", "evaluation")},
    "patch_count": "background.patch_count",
    "seed": "seed",
    "precision": "trainer.precision",
}


@dataclass(frozen=True)
class Cell:
    """One model to train.

    ``content`` is its resolved config as plain values, ``config`` the same as OmegaConf has it. ``label`` says in words
    what it is; ``axes`` holds its values along what differs within the sweep; ``row`` is where a manifest asks for it.
    ``provisional``: a folder of its data is missing, so that its identity is not known yet. ``data`` holds the
    digests of its data; None for a cell as the record has it.
    """

    id: str
    content: Config
    folder: Path
    label: dict[str, Any]
    axes: dict[str, Any]
    row: Row | None = None
    provisional: bool = False
    data: dict[str, str] | None = None

    @cached_property
    def config(self) -> DictConfig:
        return OmegaConf.create(self.content)

    def status(self, watch: Watch | None = None) -> Status:
        """The true state of the cell, or that of one never tried; ``watch`` knows the claims of other machines.

        One whose status is damaged counts as never tried: training goes on from its checkpoint all the same.
        """
        with suppress(DamagedStatusError):
            if found := observed_status(self.folder, watch or Watch()):
                return found
        return self.first_status()

    def first_status(self) -> Status:
        """The status of the cell before it is tried."""
        steps = self.content["schedule"]["steps"]
        return Status(self.id, self.label, steps if isinstance(steps, int) else 0)


@without_collection()
def plan(
    configs: Sequence[Config | DictConfig],
    overrides: Sequence[Sequence[str]],
    rows: Sequence[Row | None] = (),
    fingerprints: Fingerprints | None = None,
) -> list[Cell]:
    """Turn configs into cells, each once, in the order given.

    Args:
        configs: one a job: resolved as plain values, or as Hydra composed it.
        overrides: the command line overrides of each job, from which the axes are read.
        rows: the manifest's row of each job, or none at all.
        fingerprints: of the data; by default missing folders are refused.

    Raises:
        SlackoffError: a value that must be given is missing, a data folder cannot be read, or two rows of a manifest
            are the same cell.
    """
    fingerprints = fingerprints or Fingerprints()
    varying = _without_variants(_varying_keys(overrides), configs, rows)
    cells: dict[str, Cell] = {}
    for config, row in zip(configs, rows or [None] * len(configs), strict=True):
        content = resolved(config) if isinstance(config, DictConfig) else config
        digests = fingerprints.of(content)
        identity = cell_id(content, digests)
        known = cells.get(identity)
        if known is None:
            cells[identity] = _cell(identity, content, varying, row, fingerprints.provisional(digests), digests)
        elif known.row and row and not row.may_repeat:
            raise SlackoffError(f"{row.shared_with(known.row)} are the same cell: remove one, or give it another seed")
    return list(cells.values())


def _cell(
    identity: str, content: Config, varying: Sequence[str], row: Row | None, provisional: bool, data: dict[str, str]
) -> Cell:
    axes = {_short(key): _value(content, key) for key in [_required(content, "study.axis"), *varying]}
    label = {word: _required(content, key) for word, key in _LABEL.items()}
    folder = _cells_folder(_required(content, "runs")) / identity
    return Cell(identity, content, folder, label, axes, row, provisional, data)


@cache
def _cells_folder(runs: str) -> Path:
    return Path(runs) / "cells"


def _varying_keys(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Keys whose override differs between jobs or is not in all of them, in the order of the command."""
    values: dict[str, set[str]] = {}
    jobs: dict[str, int] = {}
    for job in overrides:
        given = {key.lstrip("+~"): value for key, _, value in (override.partition("=") for override in job)}
        for key, value in given.items():
            values.setdefault(key, set()).add(value)
            jobs[key] = jobs.get(key, 0) + 1
    return [key for key, found in values.items() if len(found) > 1 or jobs[key] < len(overrides)]


def _without_variants(
    varying: list[str], configs: Sequence[Config | DictConfig], rows: Sequence[Row | None]
) -> list[str]:
    """A variant names all that its row sets: then only the seed, and what the command line varies, are further axes."""
    if not configs or _select(configs[0], "study.axis") != VARIANT:
        return varying
    named = {key.lstrip("+~") for row in rows if row for key in row.assignments} - {"seed"}
    return [key for key in varying if key not in named]


def _value(content: Config, key: str) -> Any:
    """The value of a config key, or the name of a group's choice, or those of its parts."""
    group, _, package = key.partition("@")  # weighting@task.weighting stands at task.weighting
    value = _select(content, package or group.replace("/", "."))
    if isinstance(value, dict):
        parts = all(isinstance(part, dict) for part in value.values())
        return value.get("name", "+".join(value) if parts else str(value))
    return str(value) if isinstance(value, list) else value


def _required(content: Config, key: str) -> Any:
    value = _select(content, key)
    if value is None:
        raise NotGivenError(key)
    return value


def _select(content: Config | DictConfig, key: str) -> Any:
    """The value of a config key; None where there is none."""
    node: Any = content
    try:
        for part in key.split("."):
            node = node[int(part) if isinstance(node, list) else part]
    except (LookupError, ValueError, TypeError):
        return None
    return node


def _short(key: str) -> str:
    return key.partition("@")[0].rsplit(".", 1)[-1]
