"""Compositions of many combinations of choices from few: ``network`` is the same node whatever ``rain`` is."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf

_CHOICE = re.compile(r"(\+?)([A-Za-z_]\w*)=([A-Za-z_][\w-]*)$", re.ASCII)
_SIBLING = re.compile(r"[\w-]+$", re.ASCII)


class Node(NamedTuple):
    """One key of a composed config: where it was composed, and its value with interpolations as they are written."""

    composed: DictConfig
    content: Any


@dataclass
class _Family:
    """Compositions that differ in choices of the same groups only; ``wanted`` are choices that will be asked for."""

    base: dict[str, Node] | None = None
    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    wanted: dict[str, list[str]] = field(default_factory=dict)


class Compositions:
    """Composes combinations of choices, each choice once, as long as choices are independent of each other.

    They are where a choice's file and those of its own group that it builds on write below the group's name alone, and
    no defaults list refers to a choice. Anything else is composed as it is.

    Args:
        compose: Hydra's composition of one job.
        loader: reads the same config tree.
        config_name: of the primary config.
    """

    def __init__(self, compose: Callable[[list[str]], DictConfig], loader: ConfigLoader, config_name: str) -> None:
        self.compose = compose
        self.loader = loader
        self.config_name = config_name
        self.groups = frozenset(loader.list_groups(""))
        self._families: dict[tuple[tuple[str, ...], tuple[str, ...]], _Family] = {}
        self._headers: dict[str, tuple[str | None, list[Any]]] = {}

    def is_choice(self, override: str) -> bool:
        """Whether an override is a plain choice of a group."""
        found = _CHOICE.match(override)
        return found is not None and found[2] in self.groups

    def foresee(self, jobs: Iterable[tuple[str, ...]]) -> None:
        """Tell what will be asked for, so that one composition can serve for new choices of several groups."""
        for overrides in jobs:
            choices, fixed = self._split(overrides)
            wanted = self._families.setdefault((fixed, tuple(choices)), _Family()).wanted
            for group, choice in choices.items():
                wanted.setdefault(group, []).append(choice)

    def __call__(self, overrides: tuple[str, ...]) -> Mapping[str, Node]:
        """The keys of the composed config, without Hydra's own.

        Raises:
            HydraException: as Hydra raises it for these overrides.
        """
        choices, fixed = self._split(overrides)
        family = self._families.setdefault((fixed, tuple(choices)), _Family())
        if family.base is None or not choices.items() <= family.nodes.keys():
            self._learn(family, choices, overrides)
        assert family.base is not None
        return family.base | {group: family.nodes[group, choice] for group, choice in choices.items()}

    def _learn(self, family: _Family, choices: dict[str, str], overrides: tuple[str, ...]) -> None:
        """Compose these choices, in groups where the choice is known already another one that is wanted."""
        others = {
            group: next((other for other in family.wanted.get(group, []) if (group, other) not in family.nodes), choice)
            for group, choice in choices.items()
            if (group, choice) in family.nodes
        }
        try:
            taken = {**choices, **others}
            config = self.compose([_with_choice(override, others) for override in overrides])
        except HydraException:  # by another choice, perhaps, than those that were asked for
            taken = choices
            config = self.compose(list(overrides))
        nodes = nodes_of(config)
        family.base = family.base or nodes
        family.nodes |= {(group, choice): nodes[group] for group, choice in taken.items()}

    def _split(self, overrides: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Choices that are independent of each other, and all other overrides."""
        choices: dict[str, str] = {}
        fixed: list[str] = []
        for override in overrides:
            found = _CHOICE.match(override)
            if found and not found[1] and found[2] not in choices and self._stays_in_group(found[2], found[3]):
                choices[found[2]] = found[3]
            else:
                fixed.append(override)
        paths = [f"{found[2]}/{found[3]}" for found in map(_CHOICE.match, fixed) if found]
        if any(self._refers(path) for path in [self.config_name, *paths]):
            return {}, overrides
        return dict(sorted(choices.items())), tuple(fixed)

    def _stays_in_group(self, group: str, choice: str) -> bool:
        package, defaults = self._header(f"{group}/{choice}")
        return package == group and all(
            entry == "_self_"
            or (isinstance(entry, str) and bool(_SIBLING.match(entry)) and self._stays_in_group(group, entry))
            for entry in defaults
        )

    def _refers(self, path: str) -> bool:
        """Whether a defaults list, or one that it leads to, has an interpolation."""
        _, defaults = self._header(path)
        return "${" in str(defaults) or any(map(self._refers, _led_to(path, defaults)))

    def _header(self, path: str) -> tuple[str | None, list[Any]]:
        """Package and defaults list of a config file; nothing for one that does not exist."""
        if path not in self._headers:
            self._headers[path] = self._read_header(path)
        return self._headers[path]

    def _read_header(self, path: str) -> tuple[str | None, list[Any]]:
        source = next((source for source in self.loader.get_sources() if source.is_config(path)), None)
        if source is None:
            return None, []
        result = source.load_config(path)
        defaults = result.config.get("defaults", []) if isinstance(result.config, DictConfig) else []
        plain = OmegaConf.to_container(defaults) if isinstance(defaults, ListConfig) else []
        assert isinstance(plain, list)
        return result.header["package"] or path.rpartition("/")[0], plain


def _with_choice(override: str, choices: Mapping[str, str]) -> str:
    group = override.partition("=")[0]
    return f"{group}={choices[group]}" if group in choices else override


def _led_to(path: str, defaults: Collection[Any]) -> Iterator[str]:
    """The files that a defaults list names, as far as they belong to the config tree and not to Hydra."""
    folder = path.rpartition("/")[0]
    for entry in defaults:
        if isinstance(entry, str) and entry != "_self_":
            yield _absolute(folder, entry.partition("@")[0])
        elif isinstance(entry, dict):
            for key, choices in entry.items():
                group = str(key).split()[-1].partition("@")[0]
                for choice in choices if isinstance(choices, list) else [choices]:
                    if choice is not None and not group.lstrip("/").startswith("hydra"):
                        yield _absolute(folder, f"{group}/{choice}")


def _absolute(folder: str, name: str) -> str:
    return name[1:] if name.startswith("/") else f"{folder}/{name}".lstrip("/")


def nodes_of(config: DictConfig) -> dict[str, Node]:
    """The keys of a composed config, without Hydra's own."""
    plain = OmegaConf.create({key: config._get_node(key) for key in config if key != "hydra"})
    content = OmegaConf.to_container(plain)
    assert isinstance(content, dict)
    return {str(key): Node(config, value) for key, value in content.items()}
