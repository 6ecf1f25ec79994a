"""The identity of a cell: a hash of everything that can change its result, and of nothing else."""

import hashlib
import json
from typing import Any

CELL_VERSION = 2
"""Raise it when the meaning of a config changes, so that cells trained before are not taken for the same."""

_NOT_RESULT = ("study", "runs", "data_root", "roots", "logger", "size", "start_from")
# start_from is a place too: its content counts by its fingerprint.
_LABELS = ("name", "root", "key")

Texts = dict[tuple[str, int], tuple[Any, str]]
"""JSON of parts of configs by key and ``id`` of the part, which is kept too, so that no other one can get its id."""


def cell_id(config: dict[str, Any], fingerprints: dict[str, str], known: Texts | None = None) -> str:
    """Name a cell.

    Names of config groups and places of folders do not count; what is in the folders does.

    Args:
        config: the cell's resolved config.
        fingerprints: digests of the data that the config refers to.
        known: texts of the parts that the configs of a sweep share; one dict for all of them saves most of the time.

    Returns:
        12 hexadecimal digits.
    """
    known = {} if known is None else known
    parts = ", ".join(_text(key, config[key], known) for key in sorted(config) if key not in _NOT_RESULT)
    text = f"[{CELL_VERSION}, {{{parts}}}, {json.dumps(fingerprints, sort_keys=True)}]"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(key: str, value: Any, known: Texts) -> str:
    """One item of a JSON object."""
    if (key, id(value)) not in known:
        counted = _without_labels(value)
        if key == "trainer":
            counted = {name: item for name, item in counted.items() if name != "accelerator"}
        known[key, id(value)] = (value, f"{json.dumps(key)}: {json.dumps(counted, sort_keys=True)}")
    return known[key, id(value)][1]


def _without_labels(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_labels(item) for key, item in value.items() if key not in _LABELS}
    return value
