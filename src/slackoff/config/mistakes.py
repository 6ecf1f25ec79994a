"""Turn Hydra's and OmegaConf's errors into one sentence with a suggestion."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from slackoff.config import config_folder
from slackoff.config.packages import conf_folders
from slackoff.config.schema import Config
from slackoff.errors import did_you_mean

NO_GROUP_CHOICE = "Config group override must be"
"""How the ValueError of Hydra begins where a number or a mapping is given as the choice of a group."""


def explain(error: Exception, arguments: Sequence[str]) -> str:
    """Say what is wrong with a command line.

    Args:
        error: what Hydra or OmegaConf raised.
        arguments: the command line.
    """
    text, conf = str(error), config_folder()
    if found := re.search(r"Could not find '([^']+)/([^'/]*)'", text):
        return _no_choice(found[1], found[2], _choices(found[1], conf))
    if NO_GROUP_CHOICE in text:
        for key, _, value in (argument.partition("=") for argument in arguments):
            group = key.lstrip("+").partition("@")[0]
            if value not in (known := _choices(group, conf)) and known:
                return _no_choice(group, value, known)
    if found := re.search(r"Could not append to config. An item is already at '([^']+)'", text):
        return f"{found[1]} has a value already: write {found[1]}=... without the +"
    if found := re.search(r"Could not (?:override|find|append) '?(?:key )?([\w./@]+)", text):
        wrong = found.group(1)
        if wrong in Config.__annotations__:
            return f"{wrong} is in no config by itself: write +{wrong}=... to add it"
        known = _known_keys(wrong, arguments, conf)
        if (conf / (group := wrong.partition("@")[0])).is_dir():
            return _where_chosen(group, known, conf)
        return f"There is no config key '{wrong}': {_choice_first(wrong, known, conf) or _suggest(wrong, known)}"
    return " ".join(text.split())


def _where_chosen(group: str, known: Sequence[str], conf: Path) -> str:
    """How a choice is written of a group that has no place of its own name in the config."""
    places = {}
    for path in sorted(conf.glob("*/*.yaml")):
        if found := re.search(rf"^ *- /{group}@(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            places[f"{path.parent.name}={path.stem}"] = f"{path.parent.name}.{found[1]}"
    if not places:
        return f"{group} is a config group of which nothing is chosen yet: write +{group}=... to choose"
    place = next(iter(places.values()))
    owners = "" if place in known else f", and {' or '.join(places)} as well"
    return f"{group} is a config group whose choice stands at {place}: write {group}@{place}=...{owners}"


def _choices(group: str, conf: Path) -> list[str]:
    folders = [conf, *conf_folders()] if group else []
    return [path.stem for folder in folders for path in sorted((folder / group).glob("*.yaml"))]


def _no_choice(group: str, wrong: str, known: Sequence[str]) -> str:
    return f"There is no {group} '{wrong}': {_suggest(wrong, known)}"


def _choice_first(wrong: str, known: Sequence[str], conf: Path) -> str:
    """For a key of a group of which nothing is chosen: the choices; nothing for another key."""
    group, dot, _ = wrong.partition(".")
    files = sorted((conf / group).glob("*.yaml"))
    choices = [path.stem for path in files if OmegaConf.load(path) != {}]  # one only says that there is none
    if not dot or not choices or not known or any(key.startswith(f"{group}.") for key in known):
        return ""
    return f"choose {' or '.join(f'{group}={choice}' for choice in choices)} as well."


def _suggest(wrong: str, known: Sequence[str]) -> str:
    listed = f"the choices are {', '.join(known)}" if 0 < len(known) <= 12 else "see python -m slackoff --help"
    return did_you_mean(wrong, known, f"{listed}.")


def _known_keys(wrong: str, arguments: Sequence[str], conf: Path) -> list[str]:
    """All keys and groups of the config that the rest of the command line gives."""
    rest = [item for item in arguments if "=" in item and not item.startswith("-")]
    rest = [item for item in rest if item.partition("=")[0].lstrip("+~") != wrong and "," not in item]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            config = compose("config", rest, return_hydra_config=wrong.startswith("hydra."))
    except HydraException:
        return []
    groups = [path.name for path in sorted(conf.iterdir()) if path.is_dir()]
    return [*groups, *_keys(config)]


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            value = config[key]
            if isinstance(value, DictConfig):
                yield from _keys(value, f"{prefix}{key}.")
