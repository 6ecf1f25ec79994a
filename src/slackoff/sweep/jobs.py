"""From a command to its cells: the rows of manifests, the configs of all jobs, then training or a dry run."""

from collections.abc import Callable, Iterator, Sequence

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.sweep.aside import Aside
from slackoff.sweep.collection import without_collection
from slackoff.sweep.expand import Config, Expander, NotGivenError
from slackoff.sweep.fingerprints import Fingerprints
from slackoff.sweep.manifest import Job, jobs_of, read_manifest
from slackoff.sweep.plan import plan
from slackoff.sweep.precision import FLOAT32, auto_here, settle_precision
from slackoff.sweep.site import Site

Explain = Callable[[Exception, Sequence[str]], str]
"""From an exception of Hydra or OmegaConf and the overrides that raised it to one sentence."""


@without_collection()
def expand_jobs(
    overrides: Sequence[Sequence[str]], expander: Expander, explain: Explain
) -> tuple[list[Job], list[Config]]:
    """The jobs of a multirun with their configs; one whose config names a manifest becomes the manifest's rows.

    Args:
        overrides: of each job that the command line asks for.
        expander: gives their configs.
        explain: says what is wrong with a row.

    Raises:
        SlackoffError: a mistake in a manifest, naming file and row, or a value that is not given.
        HydraException: as Hydra raises it for the command line.
    """
    jobs: list[Job] = []
    configs: list[Config] = []
    for given, config in zip(overrides, expander(overrides), strict=True):
        if name := config["study"].get("manifest"):
            found = list(jobs_of(read_manifest(str(name)), given))
            jobs += found
            configs += _row_configs(found, expander, explain)
        else:
            jobs.append(Job(list(given)))
            configs.append(config)
    return jobs, configs


def run_jobs(
    jobs: Sequence[Job],
    configs: Sequence[Config],
    site: Site,
    console: Console,
    dry_run: bool = False,
) -> int:
    """Do what the jobs ask for, or say what that would be.

    Args:
        jobs: all jobs of a command.
        configs: their configs.
        site: where cells run.
        console: for progress and tables.
        dry_run: train and write nothing; show cells, states and cost.

    Returns:
        The number of cells that failed.

    Raises:
        SlackoffError: a mistake found before training.
    """
    if configs[0]["study"].get("measure"):
        return sum(_measure(config, console, dry_run) for config in configs)
    with Aside() as aside:
        fingerprints = Fingerprints(dry_run, aside)
        configs = settle_precision(
            configs, fingerprints, lambda accelerator: aside(auto_here, accelerator) if site.here else FLOAT32
        )
        cells = plan(configs, [job.overrides for job in jobs], [job.row for job in jobs], fingerprints)
        if dry_run:
            from slackoff.sweep.cost import show_dry_run

            show_dry_run(cells, list(dict.fromkeys(fingerprints.problems.values())), site.slots, console)
            return 0
        from slackoff.sweep.study import run_study

        return run_study(cells, site, console, aside)


def _row_configs(jobs: Sequence[Job], expander: Expander, explain: Explain) -> Iterator[Config]:
    configs = expander(job.overrides for job in jobs)
    for job in jobs:
        assert job.row is not None
        try:
            yield next(configs)
        except NotGivenError as error:
            raise SlackoffError(f"{job.row.place}: {error.key} is not given: add it to the row") from error
        except SlackoffError as error:
            raise SlackoffError(f"{job.row.place}: {error}") from error
        except (HydraException, OmegaConfBaseException) as error:
            raise SlackoffError(f"{job.row.place}: {explain(error, job.overrides)}") from error


def _measure(config: Config, console: Console, dry_run: bool) -> int:
    if dry_run:
        console.print("This study trains nothing: it measures, and draws what it finds.")
        return 0
    from slackoff.measurements.study import run_measurement

    return run_measurement(OmegaConf.create(config), console)
