"""The config of a cell as its record has it: plain values, whoever wrote the file."""

import re
from pathlib import Path
from typing import Any

import yaml

from slackoff.errors import SlackoffError
from slackoff.record.files import read_bytes

FILE = "config.yaml"
_CURE = "run the command of its study again, which writes it anew"
_FLOAT = r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as the config tree has it (1e-3 is a number, a date is text), read by the C library where there is one.

    For ``yaml.load`` and ``yaml.compose``; safe: it makes plain values only.
    """


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":timestamp", ":float"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_FLOAT), list("-+0123456789."))


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved config of a cell.

    A record can come from anybody, so that nothing but plain values is taken: no objects, no part that stands for
    another one (a few lines of YAML can be gigabytes in this way), no ``${...}`` (which could name a secret of this
    machine's environment). slackoff writes none of these.

    Args:
        folder: of the cell.

    Raises:
        SlackoffError: the file is missing, damaged or holds anything else.
        OSError: it cannot be read now.
    """
    path = folder / FILE
    try:
        content = yaml.load(read_bytes(path).decode(), Loader)
        _refuse_other_than_plain(content, set())
    except (
        FileNotFoundError,
        NotADirectoryError,
        IsADirectoryError,
        ValueError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        why = " ".join(str(error).split())
        raise SlackoffError(f"{path} cannot be read ({why}): {_CURE}") from error
    if not isinstance(content, dict):
        raise SlackoffError(f"{path} is damaged (it is no mapping): {_CURE}")
    return content


def _refuse_other_than_plain(value: Any, seen: set[int]) -> None:
    if isinstance(value, str) and "${" in value:
        raise ValueError(f"{value} stands in it, and a cell's config is resolved")
    if not isinstance(value, (dict, list)):
        return
    if id(value) in seen:
        raise ValueError("a part of it stands for another one")
    seen.add(id(value))
    for item in value.items() if isinstance(value, dict) else value:
        for part in item if isinstance(value, dict) else [item]:
            _refuse_other_than_plain(part, seen)
