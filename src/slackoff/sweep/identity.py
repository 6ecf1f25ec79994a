"""The identity of a cell: a hash of everything that can change its result, and of nothing else."""

import hashlib
import json
from typing import Any

CELL_VERSION = 1
"""Raise it when the meaning of a config changes, so that cells trained before are not taken for the same."""

_NOT_RESULT = ("study", "runs", "data_root", "logger", "size")
_LABELS = ("name", "root", "key")


def cell_id(config: dict[str, Any], fingerprints: dict[str, str]) -> str:
    """Name a cell.

    Names of config groups and places of folders do not count; what is in the folders does.

    Args:
        config: the cell's resolved config.
        fingerprints: digests of the data that the config refers to.

    Returns:
        12 hexadecimal digits.
    """
    relevant = {key: _without_labels(value) for key, value in config.items() if key not in _NOT_RESULT}
    relevant["trainer"] = {key: value for key, value in relevant["trainer"].items() if key != "accelerator"}
    text = json.dumps([CELL_VERSION, relevant, fingerprints], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _without_labels(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_labels(item) for key, item in value.items() if key not in _LABELS}
    return value
