"""From the configs of a sweep to its cells: their precision, who they are, which are done, what is wrong with them.

In the order in which a command does it: ``check_configs``, ``with_ranks``, ``settle_precision``, ``plan``,
``Cell.status``, ``check_cells`` and ``check_hardware``. What imports torch is done in the planner process.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from slackoff.cell.pruning import PruningRule
from slackoff.config import schema
from slackoff.config.validate import check_keys, check_part
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.status import DamagedStatusError, Status, observed_status
from slackoff.sweep.expand import Config, required, resolved, select
from slackoff.sweep.identity import Fingerprints, cell_id, counted_leaves
from slackoff.sweep.manifest import Row
from slackoff.sweep.planner_process import PlannerProcess

if TYPE_CHECKING:
    from slackoff.sweep.backend import Slot

AUTO = "auto"
BFLOAT16, FLOAT32 = "bf16-mixed", "32-true"

VARIANT = "study.variant"
"""The axis of studies whose cells differ in what a name stands for, such as 'without memory'. The name stands for all
that the cell's row sets: only the seed, and what the command line varies, are further axes."""

_LABEL = {
    **{group: f"{group}.name" for group in ("network", "background", "rain", "task", "evaluation")},
    "patch_count": "background.patch_count",
    "seed": "seed",
    "precision": "trainer.precision",
}


MEASURED = "only measured"
"""What stands for the number of training patches of a cell that takes no step: published weights as they came."""


@dataclass(frozen=True)
class Cell:
    """One model to train.

    ``content`` is its resolved config as plain values. ``label`` says in words what it is; ``axes`` holds its values
    along what differs within the sweep; ``row`` is where a manifest asks for it. ``provisional``: a folder of its data
    is missing, so that its identity is not known yet. ``data`` holds the digests of its data; None for a cell as the
    record has it. ``pruning``: when this command ends it before its last step.
    """

    id: str
    content: Config
    folder: Path
    label: dict[str, Any]
    axes: dict[str, Any]
    row: Row | None = None
    provisional: bool = False
    data: dict[str, str] | None = None
    pruning: PruningRule | None = None

    @property
    def config(self) -> DictConfig:
        """Made anew at each call: that of thousands of cells would take gigabytes."""
        return OmegaConf.create(self.content)

    def status(self, monitor: HeartbeatMonitor | None = None) -> Status:
        """The true state of the cell, or that of one never tried; ``monitor`` knows the claims of other machines.

        One whose status is damaged counts as never tried: training goes on from its checkpoint all the same.
        """
        with suppress(DamagedStatusError):
            if found := observed_status(self.folder, monitor or HeartbeatMonitor()):
                return found
        return self.first_status()

    def is_over(self, status: Status) -> bool:
        """Whether a command has nothing to train: the cell is done, or pruned by a rule that this command has, too."""
        if status.state == "pruned" and self.pruning is not None:
            return self.pruning.stands(self.folder)
        return status.state == "done"

    def first_status(self) -> Status:
        """The status of the cell before it is tried."""
        return Status(self.id, self.label, self.content["schedule"]["steps"])


def check_configs(configs: Sequence[Config], places: Sequence[str | None], planner: PlannerProcess) -> None:
    """Refuse the first config with an unknown key or a value of a wrong type; parts that configs share are seen once.

    Args:
        configs: resolved.
        places: the row of a manifest that each comes from, for messages.
        planner: where the classes are looked at that the configs name.

    Raises:
        SlackoffError: naming the key.
    """
    parts: dict[tuple[str, str], tuple[str, str | None, Any]] = {}
    for config, place in zip(configs, places, strict=True):
        with _place_first(place):
            check_keys("", config, schema.Config)
        for key in (key for key in schema.Config.__annotations__ if key in config):
            text = json.dumps(config[key], sort_keys=True, default=str)
            parts.setdefault((key, text), (key, place, config[key]))
    planner(_check_parts, list(parts.values()))


def _check_parts(parts: Sequence[tuple[str, str | None, Any]]) -> None:
    for key, place, value in parts:
        with _place_first(place):
            check_part(key, value)


@contextmanager
def _place_first(place: str | None) -> Iterator[None]:
    """Put the row of a manifest before a mistake in its config."""
    try:
        yield
    except SlackoffError as error:
        if place is None:
            raise
        raise SlackoffError(f"{place}: {error}") from error


def with_ranks(configs: Sequence[Config], ranks: int) -> list[Config]:
    """The configs of cells that so many processes train together, as ``trainer.ranks``; one goes without saying.

    It counts for the identity: each rank draws numbers of its own (dropped paths, strengths of mixing) for its share of
    a batch. What only rounds otherwise, such as sums over ranks or another processor, does not count.

    Raises:
        SlackoffError: a config says it itself.
    """
    if any("ranks" in config["trainer"] for config in configs):
        raise SlackoffError("trainer.ranks is what hydra.launcher.gpus_per_cell asks for: give that instead")
    return list(configs) if ranks == 1 else [_with_trainer(config, ranks=ranks) for config in configs]


def settle_precision(
    contents: Sequence[Config], fingerprints: Fingerprints, choose: Callable[[str], str]
) -> list[Config]:
    """Give cells whose precision is 'auto' the one in which most of them are begun already, else what is chosen now.

    A study goes on as it was begun when another machine takes it up: nothing is trained twice, and no curve mixes
    precisions because machines differ.

    Args:
        contents: resolved configs of a sweep.
        fingerprints: of their data.
        choose: from ``trainer.accelerator`` to the precision of new cells; asked only where no cell is begun in one
            precision more often than in another.

    Returns:
        The configs in the same order, none with 'auto'.
    """
    undecided = [content for content in contents if content["trainer"]["precision"] == AUTO]
    settled: dict[str, str] = {}
    for accelerator in dict.fromkeys(content["trainer"]["accelerator"] for content in undecided):
        alike = [content for content in undecided if content["trainer"]["accelerator"] == accelerator]
        in_bf16, in_float32 = (
            sum(_is_begun(_with_trainer(content, precision=precision), fingerprints) for content in alike)
            for precision in (BFLOAT16, FLOAT32)
        )
        if in_bf16 == in_float32:
            settled[accelerator] = choose(accelerator)
        else:
            settled[accelerator] = BFLOAT16 if in_bf16 > in_float32 else FLOAT32
    return [
        _with_trainer(content, precision=settled[content["trainer"]["accelerator"]])
        if content["trainer"]["precision"] == AUTO
        else content
        for content in contents
    ]


def _is_begun(content: Config, fingerprints: Fingerprints) -> bool:
    return (_folder(content, cell_id(content, fingerprints.of(content))) / "status.json").is_file()


def _with_trainer(content: Config, **changes: Any) -> Config:
    return {**content, "trainer": {**content["trainer"], **changes}}


def auto_here(accelerator: str) -> str:
    """What 'auto' is for cells that train on this machine; imports torch."""
    from slackoff.record.environment import auto_precision

    return auto_precision(accelerator)


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
    varying = _varying_keys(overrides)
    if configs and select(configs[0], "study.axis") == VARIANT:
        named = {key.lstrip("+~") for row in rows if row for key in row.assignments} - {"seed"}
        varying = [key for key in varying if key not in named]
    cells: dict[str, Cell] = {}
    for config, row in zip(configs, rows or [None] * len(configs), strict=True):
        content = resolved(config) if isinstance(config, DictConfig) else config
        digests = fingerprints.of(content)
        identity = cell_id(content, digests)
        if known := cells.get(identity):
            if known.row and row and not row.may_repeat:
                raise row.repeats(known.row)
            continue
        axes = _axes(content, [required(content, "study.axis"), *varying])
        cells[identity] = Cell(
            identity,
            content,
            _folder(content, identity),
            label_of(content),
            axes,
            row,
            fingerprints.provisional(digests),
            digests,
        )
    more = _untold(list(cells.values()))
    found = []
    for cell in cells.values():
        axes = _axes(cell.content, [required(cell.content, "study.axis"), *varying, *more]) if more else cell.axes
        found.append(replace(cell, axes=axes, label=cell.label | axes | cell.label))
    return found


def label_of(content: Config) -> dict[str, Any]:
    """What a resolved config is in words: its presets, number of patches, seed and precision.

    Raises:
        SlackoffError: one of these is missing.
    """
    label = {word: required(content, key) for word, key in _LABEL.items()}
    return label if content["schedule"]["steps"] else {**label, "patch_count": MEASURED}


def _axes(content: Config, keys: Sequence[str]) -> dict[str, Any]:
    """Values by the last part of their keys, or by the whole key where another one ends alike."""
    keys = list(dict.fromkeys(keys))
    short = [key.partition("@")[0].rsplit(".", 1)[-1] for key in keys]
    names = [key if word in short[:place] else word for place, (key, word) in enumerate(zip(keys, short, strict=True))]
    return {name: _axis_value(content, key) for name, key in zip(names, keys, strict=True)}


def _untold(cells: Sequence[Cell]) -> list[str]:
    """The keys in which cells differ that their axes, seeds and test sets do not tell apart."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        axes = {name: value for name, value in cell.axes.items() if name != "seed"}
        tested = select(cell.content, "evaluation.test_set.name") or select(cell.content, "evaluation.name")
        alike.setdefault(json.dumps([axes, tested], default=str), []).append(cell)
    found: dict[str, None] = {}
    for same in alike.values():
        values = [counted_leaves(cell.content) for cell in same] if len(same) > 1 else []
        keys = dict.fromkeys(key for one in values for key in one if key.rsplit(".", 1)[-1] != "seed")
        found |= {key: None for key in keys if len({str(one.get(key)) for one in values}) > 1}
    return list(found)


def _folder(content: Config, identity: str) -> Path:
    return Path(required(content, "runs")) / "cells" / identity


def _varying_keys(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Keys whose override differs between jobs or is not in all of them, in the order of the command."""
    values: dict[str, list[str]] = {}
    for job in overrides:
        given = {key.lstrip("+~"): value for key, _, value in (override.partition("=") for override in job)}
        for key, value in given.items():
            values.setdefault(key, []).append(value)
    return [key for key, found in values.items() if len(set(found)) > 1 or len(found) < len(overrides)]


def _axis_value(content: Config, key: str) -> Any:
    """The value of a config key, or the name of a group's choice, or those of its parts."""
    if key == _LABEL["patch_count"] and not content["schedule"]["steps"]:
        return MEASURED
    group, _, package = key.partition("@")  # weighting@task.weighting stands at task.weighting
    value = select(content, package or group.replace("/", "."))
    if isinstance(value, dict):
        parts = all(isinstance(part, dict) for part in value.values())
        return value.get("name", "+".join(value) if parts else str(value))
    return str(value) if isinstance(value, list) else value


def check_cells(cells: Sequence[Cell], planner: PlannerProcess) -> dict[str, float]:
    """Check the config of each cell; parts that cells share are checked once.

    Returns:
        For each cell by id the floating-point operations of a training step, as far as they can be counted: to compare
        cells with each other.

    Raises:
        SlackoffError: naming the first mistake.
    """
    # The largest bank first: it serves the smaller ones.
    ordered = sorted(cells, key=lambda cell: -cell.content["background"]["patch_count"])
    places = [cell.row.place if cell.row else None for cell in ordered]
    operations = planner(_check_contents, [cell.content for cell in ordered], places)
    return dict(zip((cell.id for cell in ordered), operations, strict=True))


def _check_contents(contents: Sequence[Config], places: Sequence[str | None]) -> list[float]:
    from slackoff.config.checks import Checks  # imports torch

    checks, found = Checks(), dict[str, float]()
    keys = [json.dumps(_without_seeds(content), sort_keys=True, default=str) for content in contents]
    for key, content, place in zip(keys, contents, places, strict=True):
        if key not in found:  # repeats differ in nothing else
            with _place_first(place):
                found[key] = checks.check(OmegaConf.create(content))
    return [found[key] for key in keys]


def _without_seeds(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_seeds(value) for key, value in node.items() if key != "seed"}
    return [_without_seeds(value) for value in node] if isinstance(node, list) else node


def check_hardware(cells: Sequence[Cell], slots: "Sequence[Slot]", planner: PlannerProcess) -> list[str]:
    """What a person should know before these cells train in these slots of this machine, a sentence each.

    Raises:
        SlackoffError: they cannot, for want of a GPU or of float16 on a CPU.
    """
    trainers = [cell.content["trainer"] for cell in cells]
    kinds = dict.fromkeys((str(trainer["precision"]), str(trainer["accelerator"])) for trainer in trainers)
    gpus = slots[0].environment.get("CUDA_VISIBLE_DEVICES")
    return list(dict.fromkeys(sentence for kind in kinds for sentence in planner(_hardware_warnings, *kind, gpus)))


def _hardware_warnings(precision: str, accelerator: str, visible_gpus: str | None) -> list[str]:
    from slackoff.record.environment import hardware_warnings

    return hardware_warnings(precision, accelerator, visible_gpus)
