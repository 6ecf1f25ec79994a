"""The identity of a cell: a hash of everything that can change its result, and of nothing else.

It has three parts: the keys of the config that ``slackoff.config.schema`` does not mark, digests of the data that the
config refers to, and digests of the source code of the network, loss and task classes that it names. Nothing here
imports torch or the code that it reads.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, is_typeddict

from omegaconf import DictConfig, OmegaConf

from slackoff.config import schema
from slackoff.config.schema import Builds, Uncounted, types_of, without_marks
from slackoff.errors import SlackoffError
from slackoff.sweep.expand import Config, NotGivenError
from slackoff.sweep.planner_process import PlannerProcess

CELL_VERSION = 3
"""Raise it when the meaning of a config changes, so that cells trained before are not taken for the same."""

FILE = "identity.json"
"""What an identity is the hash of, in the cell's folder."""

_PARTS_WITH_CODE = ("network", "task")


def identity_of(config: Config, data: Mapping[str, str]) -> dict[str, Any]:
    """All that can change the result of a cell.

    Args:
        config: the cell's resolved config.
        data: digests of the data that the config refers to.

    Returns:
        ``version``; ``config``: the keys that count; ``data``; ``code``: a digest for each class, function and constant
        that the network, loss and task classes are made of, by dotted name.
    """
    return {
        "version": CELL_VERSION,
        "config": _counted_keys(config, schema.Config),
        "data": dict(data),
        "code": code_digests(target for part in _PARTS_WITH_CODE for target in _targets(config.get(part))),
    }


def cell_id(config: Config, data: Mapping[str, str]) -> str:
    """Name a cell by 12 hexadecimal digits of the hash of its ``identity_of``."""
    return hashlib.sha256(json.dumps(identity_of(config, data), sort_keys=True).encode()).hexdigest()[:12]


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two identities, as ``identity_of`` gives them, differ: a line for each key, data folder or definition."""
    lines = []
    if one["version"] != other["version"]:
        lines.append(f"version of cells: {one['version']} and {other['version']}")
    words = {"config": ("", lambda value: f"{value}"), "data": ("data: ", _short), "code": ("code: ", _short)}
    for part, (prefix, shown) in words.items():
        ours, theirs = (dict(_leaves(identity[part])) for identity in (one, other))
        for key in dict.fromkeys([*ours, *theirs]):
            if ours.get(key) != theirs.get(key) or (key in ours) != (key in theirs):
                values = (shown(found[key]) if key in found else "not there" for found in (ours, theirs))
                lines.append(f"{prefix}{key}: {' and '.join(values)}")
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
    return differences(*(_recorded_identity(_cell_folder(name, runs)) for name in (first, second)))


def _cell_folder(name: str, runs: Path) -> Path:
    found = sorted(path for path in (runs / "cells").glob("*") if path.name.startswith(name) and path.is_dir())
    if len(found) == 1 or (found and found[0].name == name):
        return found[0]
    if found:
        raise SlackoffError(
            f"{name} begins several ids ({', '.join(path.name for path in found[:4])}): give more of it"
        )
    raise SlackoffError(f"There is no cell {name} under {runs}: slackoff status --runs {runs} lists them")


def _recorded_identity(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {part: found[part] for part in ("version", "config", "data", "code")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SlackoffError(
            f"{path} cannot be read ({error}): run the command of the cell's study again, which writes it anew"
        ) from error


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested dicts by its dotted key."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
    else:
        yield key, node


def _short(digest: str) -> str:
    return digest[:12] or "nothing"


def _counted_keys(value: Any, hint: Any) -> Any:
    """What counts of a value that the schema describes by a type."""
    plain, marks = without_marks(hint)
    if built := next((mark for mark in marks if isinstance(mark, Builds)), None):
        counted = _without_labels(value, [pattern.split(".") for pattern in built.uncounted])
        return {**counted, "name": value["name"]} if built.name_counts and "name" in value else counted
    if is_typeddict(plain) and isinstance(value, dict):
        hints = types_of(plain)
        return {key: _counted_keys(item, hints[key]) for key, item in value.items() if _counts(hints[key])}
    if get_origin(plain) is dict and isinstance(value, dict):
        return {key: _counted_keys(item, get_args(plain)[1]) for key, item in value.items()}
    return value


def _counts(hint: Any) -> bool:
    return not any(isinstance(mark, Uncounted) for mark in without_marks(hint)[1])


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


def _targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` in a node."""
    if isinstance(node, dict) and "_target_" in node:
        yield str(node["_target_"])
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _targets(item)


def code_digests(targets: Iterable[str]) -> dict[str, str]:
    """A digest of the source of each class, function and constant that classes are made of, by dotted name.

    Followed are the names in a definition's syntax tree, as far as they lead to definitions in ``slackoff`` or in the
    package of the class itself. Comments, docstrings, formatting and what is raised do not count, and neither does the
    version of Python. Nothing is imported.

    Args:
        targets: dotted names of classes, as ``_target_`` has them.
    """
    found: dict[str, str] = {}
    for target in targets:
        found |= _definitions_behind(target)
    return found


@cache
def _definitions_behind(target: str) -> dict[str, str]:
    packages = frozenset({"slackoff", target.partition(".")[0]} - {"torch"})
    found: dict[str, str] = {}
    waiting = [_Reference(*target.rpartition(".")[::2])]
    while waiting:
        place = _place(waiting.pop(), packages)
        if place is None or str(place) in found:
            continue
        module = _source(place.module)
        assert module is not None
        trees = module.definitions[place.names]
        found[str(place)] = hashlib.sha256(json.dumps(_canonical(trees)).encode()).hexdigest()[:16]
        waiting += [reference for tree in trees for reference in _references(tree, module)]
    return found


class _Reference(NamedTuple):
    """Names behind each other, with dots between them, as a module knows them."""

    module: str
    names: str

    def __str__(self) -> str:
        return f"{self.module}.{self.names}"


@dataclass
class _Source:
    """What a module defines at its top, and what it imports: as which name, from where."""

    name: str
    is_package: bool
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, _Reference] = field(default_factory=dict)
    wholly_imported: list[str] = field(default_factory=list)

    def add_import(self, node: ast.Import | ast.ImportFrom, imports: dict[str, _Reference]) -> None:
        """Note under which names an import statement makes what known."""
        if isinstance(node, ast.Import):
            for item in node.names:
                imports[item.asname or item.name.partition(".")[0]] = _Reference(
                    item.name if item.asname else item.name.partition(".")[0], ""
                )
            return
        parts = self.name.split(".") if node.level else []
        kept = parts[: len(parts) - node.level + self.is_package]
        origin = ".".join([*kept, *([node.module] if node.module else [])])
        for item in node.names:
            if item.name == "*":
                self.wholly_imported.append(origin)
            else:
                imports[item.asname or item.name] = _Reference(origin, item.name)


class _WithoutWords(ast.NodeTransformer):
    """Takes docstrings and what is raised out of a tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise()


@cache
def _source(module: str) -> _Source | None:
    """A module as its file has it; None where there is none that can be read."""
    path = _file(module)
    if path is None:
        return None
    try:
        tree = _WithoutWords().visit(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return None
    found = _Source(module, path.name == "__init__.py")
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.add_import(node, found.imports)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            for name in {
                each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            }:
                found.definitions.setdefault(name, []).append(node)
        else:  # what stands in an if, a try or a with
            waiting += [
                below for below in ast.iter_child_nodes(node) if isinstance(below, ast.stmt | ast.ExceptHandler)
            ]
    return found


@cache
def _file(module: str) -> Path | None:
    """Where the source of a module lies; only Python's own search for the package at its top is asked."""
    package, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *below)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    return Path(spec.origin) if spec.origin and not below and spec.origin.endswith(".py") else None


def _place(reference: _Reference, packages: frozenset[str]) -> _Reference | None:
    """The module and the one name in it where what is referred to is defined; None outside of these packages."""
    module, names = reference
    if module.partition(".")[0] not in packages:
        return None
    first, _, rest = names.partition(".")
    source = _source(module)
    if source is None or not first:
        return None
    if first in source.definitions:
        return _Reference(module, first)
    origin = source.imports.get(first)
    if origin is not None and origin != (module, first):
        return _place(_Reference(origin.module, ".".join(filter(None, (origin.names, rest)))), packages)
    if _file(f"{module}.{first}"):
        return _place(_Reference(f"{module}.{first}", rest), packages)
    found = (_place(_Reference(each, names), packages) for each in source.wholly_imported)
    return next((place for place in found if place), None)


def _references(tree: ast.AST, module: _Source) -> Iterator[_Reference]:
    """What a definition refers to, by the names that stand in it."""
    imports: dict[str, _Reference] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.add_import(node, imports)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and (names := _dotted(node)):
            first, _, rest = names.partition(".")
            origin = imports.get(first, _Reference(module.name, first))
            yield _Reference(origin.module, ".".join(filter(None, (origin.names, rest))))


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of names behind each other; nothing for another expression."""
    if isinstance(node, ast.Name):
        return node.id
    before = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""


def _canonical(tree: Any) -> Any:
    """A syntax tree as lists and texts, the same for all versions of Python."""
    if isinstance(tree, list):
        return [_canonical(item) for item in tree]
    if not isinstance(tree, ast.AST):
        return repr(tree)
    fields = ((name, value) for name, value in ast.iter_fields(tree) if name not in _WITHOUT_MEANING)
    return [
        type(tree).__name__,
        *([name, _canonical(value)] for name, value in fields if value is not None and value != []),
    ]


_WITHOUT_MEANING = ("ctx", "kind", "type_comment")


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
        photos = (_node(config, "background", "source"), config["background"].get("held_out"))
        digests = {"background": self._digest(photos, lambda: self.planner(_backgrounds, config["background"]))}
        for key, node in _folders(config):
            digests[key] = self._digest((node,), lambda key=key, node=node: self.planner(_folder, key, node))  # type: ignore[misc]
        if start := config.get("start_from"):
            digests["start_from"] = self._digest((start,), lambda: _content(start))
        return digests

    def provisional(self, digests: dict[str, str]) -> bool:
        """Whether any of the digests is a stand-in."""
        return any(digest in self.problems for digest in digests.values())

    def _digest(self, described: tuple[Any, ...], read: Callable[[], str]) -> str:
        """From memory for the very same objects, which most configs of a sweep share, or for equal ones."""
        same = tuple(map(id, described))
        if same not in self._seen:
            self._seen[same] = (described, self._of_equal(described, read))
        return self._seen[same][1]

    def _of_equal(self, described: tuple[Any, ...], read: Callable[[], str]) -> str:
        text = json.dumps(described)
        if text not in self._known:
            try:
                self._known[text] = read()
            except SlackoffError as error:
                if not self.missing_allowed:
                    raise
                self._known[text] = f"missing {text}"
                self.problems[self._known[text]] = str(error)
        return self._known[text]


def _folders(config: Config) -> Iterator[tuple[str, Any]]:
    """Nodes whose object knows its own digest. Most cells have neither labelled pairs nor unlabelled images."""
    yield "evaluation.test_set", _node(config, "evaluation", "test_set")
    for name, node in (config["evaluation"].get("also") or {}).items():
        yield f"evaluation.also.{name}", node
    for key in ("labelled", "unlabelled"):
        if config.get(key):
            yield key, config[key]
    for name, node in (config["task"].get("terms") or {}).items():
        if isinstance(node, dict) and {"root", "key"} & node.keys():  # weights of its own, whose place does not count
            yield f"task.terms.{name}", node


def _backgrounds(node: Any) -> str:
    from slackoff.config import build  # imports torch

    source, split = build.build_backgrounds(_as_omegaconf({"background": node}))
    return hashlib.sha256(f"{source.fingerprint()} {split.train}".encode()).hexdigest()


def _folder(key: str, node: Any) -> str:
    from slackoff.config import build

    built = build.build(_as_omegaconf(node), key)
    return str(built.fingerprint()) if hasattr(built, "fingerprint") else json.dumps(node, sort_keys=True)


def _content(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SlackoffError(f"start_from={path} cannot be read ({error.strerror}): give a weight file") from error


def _as_omegaconf(content: Any) -> DictConfig:
    config = OmegaConf.create(content)
    assert isinstance(config, DictConfig)
    return config


def _node(config: Config, *keys: str) -> Any:
    node: Any = config
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
        if node is None:
            raise NotGivenError(".".join(keys))
    return node
