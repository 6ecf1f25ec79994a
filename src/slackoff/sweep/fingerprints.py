"""Digests of the data that configs refer to, so that a cell's identity follows what is in its folders."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from slackoff.errors import SlackoffError
from slackoff.sweep.expand import Config, NotGivenError
from slackoff.sweep.planner_process import PlannerProcess


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
        if "root" in node:  # a loss with weights of its own, whose place does not count
            yield f"task.terms.{name}", node


def _backgrounds(node: Any) -> str:
    from slackoff import build  # imports torch

    source, split = build.build_backgrounds(_as_omegaconf({"background": node}))
    return f"{source.fingerprint()} {split.train}"


def _folder(key: str, node: Any) -> str:
    from slackoff import build

    fingerprint = build.build(_as_omegaconf(node), key).fingerprint()
    assert isinstance(fingerprint, str)
    return fingerprint


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
