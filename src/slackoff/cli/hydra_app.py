"""The Hydra side of the command line: one config or a multirun of them, and mistakes in one sentence."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from slackoff.cli import mistakes_in_one_sentence, stop, stopped
from slackoff.config import config_folder
from slackoff.errors import SlackoffError, failure_exit_code


def run() -> None:
    """Compose the command line's config and run it; ends with one of the ``exit_codes``."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let exceptions through to the lines below
    sys.argv[1:] = overrides_last(without_dry_run(sys.argv[1:]))
    flags = any(argument.startswith("-") for argument in sys.argv[1:])
    if not flags and any(argument.startswith("+experiment=") for argument in sys.argv[1:]):
        print("One cell of the study; add -m for all of them.", file=sys.stderr)
    # Where hydra-ray-launcher is installed, Hydra would hold our hydra/launcher=ray to its schema: drop that.
    Plugins.instance()  # finds the plugins, which register what they have
    ConfigStore.instance().repo.get("hydra", {}).get("launcher", {}).pop("ray.yaml", None)
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
        except KeyboardInterrupt:
            stopped("from the last checkpoints")


def overrides_last(arguments: list[str]) -> list[str]:
    """Move overrides behind flags: Hydra's parser does not take overrides on both sides of a flag such as -m."""
    overrides = [item for item in arguments if item[0:1] != "-" and ("=" in item or item.startswith("~"))]
    return [*(item for item in arguments if item not in overrides), *overrides]


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
