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
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import Job, jobs_of, read_manifest
from slackoff.sweep.plan import plan
from slackoff.sweep.precision import FLOAT32, auto_here, settle_precision
from slackoff.sweep.prepare import check_configs
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
    with Aside() as aside:
        check_configs(configs, [job.row.place if job.row else None for job in jobs], aside)
        if configs[0]["study"].get("measure"):
            aside.close()
            return sum(_measure(config, console, dry_run) for config in configs)
        fingerprints = Fingerprints(dry_run, aside)
        configs = settle_precision(
            with_ranks(configs, site.slots[0].ranks),
            fingerprints,
            lambda accelerator: aside(auto_here, accelerator) if site.here else FLOAT32,
        )
        cells = plan(configs, [job.overrides for job in jobs], [job.row for job in jobs], fingerprints)
        if dry_run:
            from slackoff.sweep.dry_run import show_dry_run

            show_dry_run(cells, list(dict.fromkeys(fingerprints.problems.values())), site.slots, console)
            return 0
        from slackoff.sweep.study import run_study

        return run_study(cells, site, console, aside)


def with_ranks(configs: Sequence[Config], ranks: int) -> list[Config]:
    """The configs of cells that so many processes train together, as ``trainer.ranks``; one goes without saying.

    It counts for the identity: each rank draws numbers of its own (dropped paths, strengths of mixing) for its share of
    a batch. What only rounds otherwise, such as sums over ranks or another processor, does not count.

    Raises:
        SlackoffError: a config says it itself.
    """
    if any("ranks" in config["trainer"] for config in configs):
        raise SlackoffError("trainer.ranks is what hydra.launcher.gpus_per_cell asks for: give that instead")
    if ranks == 1:
        return list(configs)
    return [{**config, "trainer": {**config["trainer"], "ranks": ranks}} for config in configs]


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
    from slackoff.sweep.measurement import run_measurement

    return run_measurement(OmegaConf.create(config), console)
