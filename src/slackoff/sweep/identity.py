"""The identity of a cell: a hash of everything that can change its result, and of nothing else.

It has three parts: the keys of the config that ``slackoff.config.schema`` does not mark, digests of the data that the
config refers to, and digests of the source code of the network, loss and task classes that it names. Nothing here
imports torch or the code that it reads.
"""

import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, is_typeddict

from omegaconf import OmegaConf

from slackoff.config import schema
from slackoff.config.packages import targets_in
from slackoff.config.schema import Builds, Uncounted, types_of, without_marks
from slackoff.errors import SlackoffError
from slackoff.record.config import read_config
from slackoff.record.files import DamagedFileError, Patience, read_json
from slackoff.record.origin import WEIGHTS, done_cell, starting_weights
from slackoff.sweep.code_digests import code_digests
from slackoff.sweep.expand import Config, required
from slackoff.sweep.planner_process import PlannerProcess

CELL_VERSION = 3
"""Raise it when the meaning of a config changes, so that cells trained before are not taken for the same."""

FILE = "identity.json"
"""What an identity is the hash of, in the cell's folder."""

_PARTS_WITH_CODE = ("network", "task")
_PLACES_OF_OTHERS = ("root", "key")


def identity_of(config: Config, data: Mapping[str, str]) -> dict[str, Any]:
    """All that can change the result of a cell.

    Args:
        config: the cell's resolved config.
        data: digests of the data that the config refers to.

    Returns:
        ``version``; ``config``: the keys that count; ``data``; ``code``: a digest for each class, function and constant
        that the network, loss and task classes are made of, and whatever class of another package, by dotted name.
    """
    return {
        "version": CELL_VERSION,
        "config": _counted_keys(config, schema.Config),
        "data": dict(data),
        "code": code_of(config),
    }


def code_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The part ``code`` of ``identity_of``, as this machine has the code; nothing of it is imported."""
    ours = {target for part in _PARTS_WITH_CODE for target in targets_in(config.get(part))}
    theirs = {target for target in targets_in(config) if target.partition(".")[0] not in ("slackoff", "torch")}
    return code_digests(sorted(ours | theirs))


def cell_id(config: Config, data: Mapping[str, str]) -> str:
    """Name a cell by 12 hexadecimal digits of the hash of its ``identity_of``."""
    return id_of(identity_of(config, data))


def id_of(identity: Mapping[str, Any]) -> str:
    """The name of the cell that has this ``identity_of``."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two identities, as ``identity_of`` gives them, differ: a line for each key, data folder or definition."""
    lines = []
    if one["version"] != other["version"]:
        lines.append(f"version of cells: {one['version']} and {other['version']}")
    for part, prefix, length in (("config", "", None), ("data", "data: ", 12), ("code", "code: ", 12)):
        ours, theirs = (dict(leaves(identity[part])) for identity in (one, other))
        for key in dict.fromkeys([*ours, *theirs]):
            if (key in ours, ours.get(key)) != (key in theirs, theirs.get(key)):
                values = [str(found[key])[:length] if key in found else "not there" for found in (ours, theirs)]
                lines.append(f"{prefix}{key}: {' and '.join(value or 'nothing' for value in values)}")
    return lines


def explain_difference(first: str, second: str, runs: Path) -> list[str]:
    """In what two cells of a record differ; no line where they are one cell.

    Args:
        first: an id, or so much of its beginning that no other cell begins alike.
        second: likewise.
        runs: where the records are.

    Raises:
        SlackoffError: no cell, or several, begin so; or the record does not say what a cell was made from.
    """
    return differences(*(_recorded_identity(name, runs) for name in (first, second)))


def _recorded_identity(name: str, runs: Path) -> dict[str, Any]:
    folders = sorted(path for path in (runs / "cells").glob(f"{glob.escape(name)}*") if path.is_dir())
    if not folders:
        raise SlackoffError(f"There is no cell {name} under {runs}: slackoff status --runs {runs} lists them")
    if len(folders) > 1 and folders[0].name != name:
        ids = ", ".join(path.name for path in folders[:4])
        raise SlackoffError(f"{name} begins several ids ({ids}): give more of it")
    path = folders[0] / FILE
    try:
        return vars(Patience()(lambda: read_json(path, _Identity)))
    except (OSError, DamagedFileError) as error:
        raise SlackoffError(
            f"{path} cannot be read ({error}): run the command of the cell's study again, which writes it anew"
        ) from error


def check_identity(folder: Path) -> dict[str, Any]:
    """What the identity in a cell's folder says, where the folder's name is the hash of it and its config is the one
    that it describes: of a record that may come from anybody.

    Raises:
        SlackoffError: the name or the config is another one, or a file is missing or damaged.
        OSError: a file cannot be read.
    """
    path = folder / FILE
    try:
        identity = vars(read_json(path, _Identity))
        counted: Any = _counted_keys(read_config(folder), schema.Config)
    except (DamagedFileError, FileNotFoundError) as error:
        raise SlackoffError(f"The cell {folder.name} does not say what it was made from ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise SlackoffError(f"The config of the cell {folder.name} has other keys than a cell's ({error!r})") from error
    if id_of(identity) != folder.name:
        raise SlackoffError(
            f"The cell {folder.name} is not what it says: what its {FILE} describes is {id_of(identity)}"
        )
    if json.dumps(counted, sort_keys=True, default=str) != json.dumps(identity["config"], sort_keys=True):
        key = next(line for line in differences({**identity, "config": counted}, identity))
        raise SlackoffError(f"The config of the cell {folder.name} is not the one that its id stands for: {key}")
    return identity


def counted_leaves(config: Config) -> dict[str, Any]:
    """The values of a config that count for the identity, by their dotted keys."""
    return dict(leaves(_counted_keys(config, schema.Config)))


@dataclass(frozen=True)
class _Identity:
    """The file identity.json."""

    version: int
    config: dict[str, Any]
    data: dict[str, str]
    code: dict[str, str]


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested dicts, by its dotted key."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else name)
    else:
        yield key, node


def _counted_keys(value: Any, hint: Any) -> Any:
    """What counts of a value that the schema describes by a type."""
    plain, marks = without_marks(hint)
    if built := next((mark for mark in marks if isinstance(mark, Builds)), None):
        ours = isinstance(value, dict) and str(value.get("_target_")).startswith("slackoff.")
        places = built.uncounted if ours else _PLACES_OF_OTHERS  # what other arguments of other classes mean
        counted = _without_labels(value, [pattern.split(".") for pattern in places])
        return {**counted, "name": value["name"]} if built.name_counts and "name" in value else counted
    if is_typeddict(plain) and isinstance(value, dict):
        hints = types_of(plain)
        uncounted = {key for key in value if any(isinstance(mark, Uncounted) for mark in without_marks(hints[key])[1])}
        uncounted |= {key for key in value if value[key] is None and key in plain.__optional_keys__}  # as if left out
        return {key: _counted_keys(item, hints[key]) for key, item in value.items() if key not in uncounted}
    if get_origin(plain) is dict and isinstance(value, dict):
        return {key: _counted_keys(item, get_args(plain)[1]) for key, item in value.items()}
    return value


def _without_labels(value: Any, uncounted: list[list[str]]) -> Any:
    """A node without the keys at the end of these paths and the ``name`` of each node in it."""
    if isinstance(value, list):
        return [_without_labels(item, []) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = {path[0] for path in uncounted if len(path) == 1} | ({"name"} if "_target_" in value else set())
    return {
        key: _without_labels(item, [path[1:] for path in uncounted if len(path) > 1 and path[0] in ("*", key)])
        for key, item in value.items()
        if key not in left_out
    }


class Fingerprints:
    """Digests of backgrounds, test sets, labelled pairs, unlabelled images and weight files, each read once a sweep.

    Args:
        missing_allowed: take a folder that cannot be read for one still to come: its digest is a stand-in, and
            ``problems`` tells what is wrong. For looking at a sweep, not for running it.
        planner: where folders are read.
    """

    def __init__(self, missing_allowed: bool = False, planner: PlannerProcess | None = None) -> None:
        self.missing_allowed, self.planner = missing_allowed, planner or PlannerProcess()
        self.problems: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._seen: dict[tuple[int, ...], tuple[Any, str]] = {}  # by id; its owner is kept, or another could get it

    def of(self, config: Config) -> dict[str, str]:
        """One digest for the backgrounds, one for each test set, and one each for what else the cell is made from.

        Raises:
            SlackoffError: a folder cannot be read.
        """
        background = config["background"]
        photos = (required(config, "background.source"), background.get("held_out"))
        digests = {"background": self._digest(photos, _backgrounds_digest, background)}
        for key, node in _nodes_with_data(config):
            digests[key] = self._digest((node,), _node_digest, key, node)
        if start := config.get("start_from"):
            digests["start_from"] = self._digest((start, config["runs"]), _weights_digest, start, config["runs"])
        if origin := config.get("continue_from"):
            digests["continue_from"] = self._digest(
                ("continue", origin, config["runs"]), _cell_digest, origin, config["runs"]
            )
        return digests

    def provisional(self, digests: dict[str, str]) -> bool:
        """Whether any of the digests is a stand-in."""
        return any(digest in self.problems for digest in digests.values())

    def _digest(self, described: tuple[Any, ...], read: Callable[..., str], *arguments: Any) -> str:
        """From memory for the very same objects, which most configs of a sweep share, or for equal ones."""
        same = tuple(map(id, described))
        if same in self._seen:
            return self._seen[same][1]
        text = json.dumps(described)
        if text not in self._known:
            try:
                self._known[text] = self.planner(read, *arguments)
            except SlackoffError as error:
                if not self.missing_allowed:
                    raise
                self._known[text] = f"missing {text}"
                self.problems[self._known[text]] = str(error)
        self._seen[same] = (described, self._known[text])
        return self._known[text]


def _nodes_with_data(config: Config) -> Iterator[tuple[str, Any]]:
    """Nodes whose object knows its own digest. Most cells have neither labelled pairs nor unlabelled images."""
    yield "evaluation.test_set", required(config, "evaluation.test_set")
    for name, node in (config["evaluation"].get("also") or {}).items():
        yield f"evaluation.also.{name}", node
    if validation := config["evaluation"].get("validation"):
        yield "evaluation.validation", validation
    for key in ("labelled", "unlabelled"):
        if config.get(key):
            yield key, config[key]
    for name, node in (config["task"].get("terms") or {}).items():
        if isinstance(node, dict) and {"root", "key"} & node.keys():  # weights of its own, whose place does not count
            yield f"task.terms.{name}", node


def _backgrounds_digest(node: dict[str, Any]) -> str:
    from slackoff.config import build  # imports torch

    source, split = build.build_backgrounds(OmegaConf.create({"background": node}))
    return hashlib.sha256(f"{source.fingerprint()} {split.train}".encode()).hexdigest()


def _node_digest(key: str, node: dict[str, Any]) -> str:
    from slackoff.config import build

    built = build.build(OmegaConf.create(node), key)
    return str(built.fingerprint()) if hasattr(built, "fingerprint") else json.dumps(node, sort_keys=True)


def _cell_digest(identity: str, runs: str) -> str:
    return _weights_digest(str(done_cell(identity, Path(runs), "continue_from") / WEIGHTS), runs)


def _weights_digest(start_from: str, runs: str) -> str:
    path = starting_weights(start_from, Path(runs))
    try:
        if path.exists() and not path.is_file():  # a device can go on for ever
            raise SlackoffError(f"start_from={path} is no file: give a weight file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SlackoffError(f"start_from={path} cannot be read ({error.strerror}): give a weight file") from error
