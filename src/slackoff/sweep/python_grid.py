"""Manifests that are a Python file: code, which runs only where the person at this machine names it."""

import itertools
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from slackoff.errors import SlackoffError, one_line
from slackoff.sweep.manifest import MOST_VALUES, Row, row_of


def refuse_untyped(name: str, typed: Sequence[str]) -> None:
    """Refuse a Python file that the command line does not name itself: a config may come from anybody.

    Args:
        name: what ``study.manifest`` is.
        typed: the overrides of the command line, as they were typed.

    Raises:
        SlackoffError: none of them sets ``study.manifest``.
    """
    if not any(override.partition("=")[0].lstrip("+") == "study.manifest" for override in typed):
        raise SlackoffError(
            f"study.manifest={name} stands in a config and is a Python program, which runs only where you name it: "
            f"look into it, then add study.manifest={name} to the command"
        )


def read_python(path: Path) -> list[Row]:
    """Run a Python file of the person at the command line, and read the rows that it yields.

    The file has a function ``rows()`` that yields mappings of config keys to values, or ``grid(add)`` that calls
    ``add`` with each. ``serves``, ``basis`` and ``skip`` (why the row is not trained) are no config keys.

    Args:
        path: of the file. It runs as any program of the person's does.

    Raises:
        SlackoffError: the file has neither function or raises an error (naming its line), or a row is no row.
    """
    name = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    found: list[Any] = []
    try:
        module = _run(path)
        if callable(rows := getattr(module, "rows", None)):
            found.extend(itertools.islice(rows(), MOST_VALUES + 1))
        elif callable(grid := getattr(module, "grid", None)):
            grid(_adder(found))
        else:
            raise SlackoffError(f"{name} has no function rows() that yields mappings, and no grid(add) that adds them")
    except SlackoffError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines or [0])[-1]
        raise SlackoffError(f"{name}, line {line}: {type(error).__name__}: {one_line(error)}") from error
    if len(found) > MOST_VALUES:
        raise SlackoffError(f"{name} yields more than {MOST_VALUES:,} rows: let it end")
    if not found:
        raise SlackoffError(f"{name} yields no rows: yield a mapping of config keys to values for each cell")
    return [_row(values, Row(name, number, 0, {})) for number, values in enumerate(found, start=1)]


def _run(path: Path) -> Any:
    spec = spec_from_file_location(f"slackoff_grid_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as Python has it for a program: what lies beside it can be imported
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _adder(found: list[Any]) -> Callable[..., None]:
    def add(row: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        found.append({**(row or {}), **more})

    return add


def _row(values: Any, row: Row) -> Row:
    if not isinstance(values, Mapping) or not all(isinstance(key, str) and key for key in values):
        raise SlackoffError(f"{row.place} is {values!r}, and no mapping of config keys to values")
    return row_of({key: _plain(value, f"{row.place}: {key}") for key, value in values.items()}, row)


def _plain(value: Any, place: str) -> Any:
    """A value as YAML could have it; numbers of NumPy are numbers."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Integral | Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, place) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [_plain(item, place) for item in value]
    raise SlackoffError(
        f"{place} is a {type(value).__name__}: give a number, a text, true, false, null, a list or a mapping"
    )
