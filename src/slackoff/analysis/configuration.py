"""What the cells of a study have in common and what differs: their configs, and the machines they ran on."""

import json
from typing import Any

from slackoff.analysis.frames import Frames

_ABSENT = "(not set)"


def read_configs(frames: Frames) -> dict[str, dict[str, str]]:
    """Cell id -> its config as {dotted key: value as text}, for the cells that have a readable config.yaml."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    configs = {}
    for identity in frames.cells["id"]:
        path = frames.study.runs / "cells" / identity / "config.yaml"
        try:
            content = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, YAMLError, OmegaConfBaseException):
            continue
        configs[identity] = flat(content)
    return configs


def shared(configs: dict[str, dict[str, str]]) -> dict[str, str]:
    """The keys that have the same value in all configs."""
    every = _values(configs)
    return {key: values[0] for key, values in every.items() if len(set(values)) == 1}


def different(configs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """The keys that differ between configs, with their distinct values: numbers sorted, texts in the order of cells."""
    every = _values(configs)
    return {key: _sorted(values) for key, values in every.items() if len(set(values)) > 1}


def environments(frames: Frames) -> list[tuple[dict[str, str], int]]:
    """The distinct environments that the cells ran in, with the number of cells of each; the commonest first."""
    counts: dict[str, int] = {}
    for identity in frames.cells["id"]:
        path = frames.study.runs / "cells" / identity / "environment.json"
        try:
            text = json.dumps(flat(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue
        counts[text] = counts.get(text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [(json.loads(text), count) for text, count in ordered]


def _values(configs: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    keys = sorted({key for config in configs.values() for key in config})
    return {key: [config.get(key, _ABSENT) for config in configs.values()] for key in keys}


def _sorted(values: list[str]) -> list[str]:
    distinct = list(dict.fromkeys(values))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct


def flat(content: Any, prefix: str = "") -> dict[str, str]:
    """{'a': {'b': 1}} as {'a.b': '1'}; lists stay one value."""
    if not isinstance(content, dict):
        return {prefix: content if isinstance(content, str) else json.dumps(content, default=str)}
    found: dict[str, str] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found
