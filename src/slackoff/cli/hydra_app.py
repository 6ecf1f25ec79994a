"""The Hydra side of the command line: one config or a multirun of them, and mistakes in one sentence."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from slackoff.cli import mistakes_in_one_sentence, stop, stopped
from slackoff.config import config_folder
from slackoff.errors import SlackoffError, failure_exit_code, printable

_FLAGS_WITH_VALUE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p")
_PATH_KEYS = ("runs", "data_root", "root", "rainy", "clean", "pairs", "start_from", "continue_from", "manifest")
"""Last parts of the config keys that name a file or folder; so do all under ``roots``."""
_PLAIN_PATH = re.compile(r"(?!(?:true|false|null|nan|inf|\.\d.*)$)[a-z_./][\w./+$%*@?|:-]*$", re.ASCII | re.IGNORECASE)
_WRITTEN_FOR_HYDRA = re.compile(r"$|null$|\?\?\?$|['\"\[{]|\$\{|(choice|glob|range|interval|sort|shuffle|str)\(")


def run() -> None:
    """Compose the command line's config and run it; ends with one of the ``exit_codes``."""
    for argument in sys.argv[1:]:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            stop(f"{printable(argument)} is not UTF-8, as the configs of the record are: rename that file or folder")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions through to the lines below
    sys.argv[1:] = with_quoted_paths(overrides_last(without_dry_run(sys.argv[1:])))
    flags = any(argument.startswith("-") for argument in sys.argv[1:])
    if not flags and any(argument.startswith("+experiment=") for argument in sys.argv[1:]):
        print("One cell of the study; add -m for all of them.", file=sys.stderr)
    # Where hydra-ray-launcher is installed, Hydra would hold our hydra/launcher=ray to its schema: drop that. And
    # hydra-optuna-sweeper has one for hydra/sweeper=optuna.
    Plugins.instance()  # finds the plugins, which register what they have
    for group, name in (("launcher", "ray.yaml"), ("sweeper", "optuna.yaml")):
        ConfigStore.instance().repo.get("hydra", {}).get(group, {}).pop(name, None)
    with _hydras_mistakes():
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")(_single)()


@contextmanager
def _hydras_mistakes() -> Iterator[None]:
    """Let Hydra's errors end in one sentence, too."""
    with mistakes_in_one_sentence("runs=..."):
        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            from slackoff.config.mistakes import explain

            stop(explain(error, sys.argv[1:]))
        except ValueError as error:
            from slackoff.config.mistakes import NO_GROUP_CHOICE, explain

            if NO_GROUP_CHOICE not in str(error):
                raise
            stop(explain(error, sys.argv[1:]))
        except KeyboardInterrupt:
            stopped("from the last checkpoints")


def overrides_last(arguments: list[str]) -> list[str]:
    """Move overrides behind flags: Hydra's parser does not take overrides on both sides of a flag such as -m."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, item in zip(["", *arguments], arguments, strict=False):
        is_override = item[0:1] != "-" and ("=" in item or item.startswith("~")) and before not in _FLAGS_WITH_VALUE
        (overrides if is_override else flags).append(item)
    return [*flags, *overrides]


def with_quoted_paths(arguments: list[str]) -> list[str]:
    """Put quotes around the paths that Hydra's grammar does not take as they are, and write ~ out.

    So a folder may be called as people call folders: ``background.root=~/photos (new)/été #1``. Between values of a
    multirun a comma separates; a path with a comma then needs quotes of its own, as Hydra has them.
    """
    multirun = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_with_quoted_path(item, multirun) for item in arguments]


def _with_quoted_path(item: str, multirun: bool) -> str:
    key, _, value = item.partition("=")
    name = key.lstrip("+")
    if not (name.rpartition(".")[2] in _PATH_KEYS or name.startswith("roots.")) or _WRITTEN_FOR_HYDRA.match(value):
        return item
    paths = [os.path.expanduser(path) for path in (value.split(",") if multirun else [value])]  # noqa: PTH111
    return (
        f"{key}={','.join(p if _PLAIN_PATH.match(p) else QuotedString(p, Quote.single).with_quotes() for p in paths)}"
    )


def _single(config: DictConfig) -> None:
    """A command without -m: one cell, through the same path as a sweep."""
    from rich.console import Console

    from hydra_plugins.slackoff_launcher import make_launcher  # after Hydra, which executes its plugins' modules anew
    from slackoff.sweep.expand import resolved
    from slackoff.sweep.manifest import Job
    from slackoff.sweep.planner_process import PlannerProcess

    hydra_config = HydraConfig.get()
    with _hydras_mistakes():  # here, because Hydra adds lines of its own to what leaves a job
        content = resolved(config)
        if content["study"].get("manifest"):
            raise SlackoffError("study.manifest names a list of cells: add -m to the command")
        job = Job(list(hydra_config.overrides.task))
        launcher = make_launcher(hydra_config.launcher)
        with PlannerProcess() as planner:
            failed = launcher.run([job], [content], planner, Console())
        if failed:
            sys.exit(failure_exit_code(failed))


def without_dry_run(arguments: list[str]) -> list[str]:
    """Hydra does not know our flag; the launcher is told by an override of its own."""
    if "--dry-run" not in arguments:
        return arguments
    return [*(item for item in arguments if item != "--dry-run"), "hydra.launcher.dry_run=true"]
