"""Packages of other people whose classes a config may name: those that the person at this machine names.

Named is what stands in ``SLACKOFF_PACKAGES=mylab,otherlab``, and each installed package with an entry point in the
group ``slackoff.packages``. Nothing else widens the list: no record, no manifest, no weight file. Importing this module
imports none of the packages, and neither does asking for their names, folders and digests.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slackoff.errors import SlackoffError

VARIABLE = "SLACKOFF_PACKAGES"
GROUP = "slackoff.packages"

_GOVERNED = ("slackoff", "hydra_plugins", "torch")
"""Packages of which a config may name some modules only, see ``ALLOWED_TARGETS``: naming them cannot open the rest."""


def named_packages() -> tuple[str, ...]:
    """The names of the packages that a person named, those of the environment first.

    A package that is not installed is looked for in the present folder as well, as ``python -m`` does.

    Raises:
        SlackoffError: ``SLACKOFF_PACKAGES`` names what is no package, or one that cannot be found.
    """
    return tuple(dict.fromkeys([*_from_environment(os.environ.get(VARIABLE, ""), Path.cwd()), *_from_entry_points()]))


def is_named(target: str) -> bool:
    """Whether a dotted name lies in a package that a person named. Raises as ``named_packages``."""
    return target.partition(".")[0] in named_packages()


def how_to_name(target: str) -> str:
    """The cure for a target outside of all packages that are named; empty where naming its package would not help."""
    package, _, rest = target.partition(".")
    if not rest or not may_be_package(package):
        return ""
    return (
        f"; if {package} is a package of yours, or one that you trust, set {VARIABLE}={package} in front of the "
        f"command, or give it an entry point in the group {GROUP}"
    )


def may_be_package(name: str) -> bool:
    """Whether a person may name a package so: none of Python's own, and none whose modules are listed one by one."""
    return name.isidentifier() and not _is_reserved(name)


def conf_folders() -> list[Path]:
    """The Hydra trees of the named packages: the folder ``conf`` inside each, where there is one."""
    places = [Path(folder, "conf") for name in named_packages() for folder in _folders(_spec(name))]
    return [place for place in places if place.is_dir()]


def environment() -> dict[str, str]:
    """What a process on another machine needs in its environment to know the same packages; empty for none."""
    names = _from_environment(os.environ.get(VARIABLE, ""), Path.cwd())
    if not names:
        return {}
    found = (_spec(name) for name in names)
    homes = [str(Path(spec.origin).parent) for spec in found if spec and spec.origin and not _folders(spec)]
    homes += [str(Path(folder).parent) for name in names for folder in _folders(_spec(name))]
    known = [Path(place) for place in sys.path if "site-packages" in place]
    further = [home for home in homes if Path(home) not in known]
    paths = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *further]
    return {VARIABLE: ",".join(names)} | ({"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))} if paths else {})


def targets_in(node: Any) -> Iterator[str]:
    """Every ``_target_`` in the plain values of a config or a node."""
    if isinstance(node, dict) and "_target_" in node:
        yield str(node["_target_"])
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from targets_in(item)


def describe(config: Any) -> dict[str, dict[str, Any]]:
    """What a record keeps of the named packages that a config takes classes from: by name, its version and its source.

    ``version`` is None for a package that is not installed; ``source`` is a SHA-256 over the names and bytes of all its
    Python files.

    Args:
        config: as plain values.
    """
    names = dict.fromkeys(target.partition(".")[0] for target in targets_in(config) if is_named(target))
    return {name: {"version": _version(name), "source": source_digest(name)} for name in names}


def source_digest(name: str) -> str:
    """SHA-256 over the names and bytes of the Python files of a package, in hexadecimal; nothing is imported."""
    spec, total = _spec(name), hashlib.sha256()
    folders = [Path(folder) for folder in _folders(spec)]
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in sorted(folder.rglob("*.py"))]
    if spec is not None and spec.origin and not files:
        files = [(Path(spec.origin).name, Path(spec.origin))]
    for place, path in files:
        total.update(place.encode("utf-8", "surrogateescape") + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


@cache
def _from_environment(text: str, here: Path) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    for name in names:
        if not name.isidentifier():
            raise SlackoffError(
                f"{VARIABLE} has {name!r}: give names of packages as Python imports them, such as {VARIABLE}=mylab,timm"
            )
        if _is_reserved(name):
            raise SlackoffError(
                f"{VARIABLE} names {name}, which is no package of classes for configs: take it out, and give a package "
                "of your own that uses it"
            )
        if _spec(name) is None and ((here / name).is_dir() or (here / f"{name}.py").is_file()):
            sys.path.append(str(here))  # at its end: nothing that is installed is hidden
            _spec.cache_clear()
        if _spec(name) is None:
            raise SlackoffError(
                f"{VARIABLE} names {name}, which is neither installed nor a folder in {here}: install it, or run the "
                "command in the folder that holds it"
            )
    return names


@cache
def _from_entry_points() -> tuple[str, ...]:
    names = (point.value.partition(":")[0].partition(".")[0] for point in metadata.entry_points(group=GROUP))
    return tuple(name for name in dict.fromkeys(names) if not _is_reserved(name) and _spec(name) is not None)


def _is_reserved(name: str) -> bool:
    return name in _GOVERNED or name in sys.stdlib_module_names


@cache
def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)  # of a package at the top: nothing is imported
    except (ImportError, ValueError):
        return None


def _folders(spec: ModuleSpec | None) -> list[str]:
    return list(spec.submodule_search_locations or ()) if spec else []


def _version(name: str) -> str | None:
    for distribution in metadata.packages_distributions().get(name, ()):
        return metadata.version(distribution)
    return None
