"""Digests of the source code that classes are made of: what a cell's identity says of its network, loss and task.

Files are read and parsed; nothing of what they define is imported or run.
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_WITHOUT_MEANING = ("ctx", "kind", "type_comment")
"""Fields of syntax trees that say nothing, or differ between versions of Python."""


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

    def then(self, rest: str) -> "_Reference":
        """What further names behind these refer to."""
        return self._replace(names=".".join(filter(None, (self.names, rest))))

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
                package = item.name.partition(".")[0]
                imports[item.asname or package] = _Reference(item.name if item.asname else package, "")
            return
        parts = self.name.split(".") if node.level else []
        kept = parts[: len(parts) - node.level + self.is_package]
        origin = ".".join(filter(None, [*kept, node.module]))
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
            names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            for name in {each.id for each in names if isinstance(each.ctx, ast.Store)}:
                found.definitions.setdefault(name, []).append(node)
        else:  # what stands in an if, a try or a with
            children = ast.iter_child_nodes(node)
            waiting += [below for below in children if isinstance(below, ast.stmt | ast.ExceptHandler)]
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
        return _place(origin.then(rest), packages)
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
            yield imports.get(first, _Reference(module.name, first)).then(rest)


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of names behind each other; nothing for another expression."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _canonical(tree: Any) -> Any:
    """A syntax tree as lists and texts, the same for all versions of Python."""
    if isinstance(tree, list):
        return [_canonical(item) for item in tree]
    if not isinstance(tree, ast.AST):
        return repr(tree)
    fields = [(name, value) for name, value in ast.iter_fields(tree) if name not in _WITHOUT_MEANING]
    return [type(tree).__name__, *([name, _canonical(value)] for name, value in fields if value not in (None, []))]
