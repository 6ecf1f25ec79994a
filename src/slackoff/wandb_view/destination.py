"""Where runs of W&B go: a project on a server, or offline folders for ``wandb sync``; and what is there already."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slackoff.analysis.wandb_source import tag_of
from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, read_json, write_json
from slackoff.wandb_view.content import DIGEST, STEP

_ANSWER_WITHIN_S, _ONE_WAS_DELETED_S = 20.0, 5.0
"""W&B asks again and again for a run that was deleted, by default for 90 s: there is no sooner word of that. Where one
run was, others are likely to be."""

Mode = Literal["online", "offline"] | None


@dataclass
class Offline:
    """Folders ``offline-run-...`` below ``folder``/wandb, for ``wandb sync``; or, after a sweep, what WANDB_MODE says.

    What was written before is known from ``folder``/wandb/published.json.
    """

    folder: Path
    project: str
    entity: str | None = None
    mode: Mode = "offline"

    def __post_init__(self) -> None:
        self.ledger = self.folder / "wandb" / "published.json"

    def shows(self, identity: str, marker: Mapping[str, Any], study: str) -> bool:
        """Whether the run was written before and shows the record as ``marker`` has it."""
        return bool(marker[DIGEST]) and self._known().get(identity) == marker[DIGEST]

    @contextmanager
    def writing(self, identity: str, digest: str, options: Mapping[str, Any]) -> Iterator[Any]:
        """A context in which a run is written under this id."""
        with begun(identity, self.project, self.entity, self.folder, self.mode, options) as run:
            yield run
        write_json(self.ledger, {**self._known(), identity: digest})

    def _known(self) -> dict[str, str]:
        try:
            return read_json(self.ledger, dict[str, str])
        except (FileNotFoundError, DamagedFileError):  # what is not known to be there is written again
            return {}


class Online:
    """A project on the server that W&B is logged in to.

    Args:
        folder: where W&B keeps its own files while it uploads.
        project: name of the project; made if it is not there.
        entity: user or team; the account's own if None.

    Raises:
        SlackoffError: there is no account, or the server cannot be reached.
    """

    def __init__(self, folder: Path, project: str, entity: str | None = None) -> None:
        import wandb

        server = wandb.setup(wandb.Settings(mode="online")).settings.base_url  # whatever WANDB_MODE says
        if not wandb.login(prompt=False, verify=False):
            raise SlackoffError(
                f"There is no W&B API key for {server}: run wandb login, or give --offline to write the "
                "runs here and upload them later with wandb sync"
            )
        self.folder, self.project, self.patience_s = folder, project, _ANSWER_WITHIN_S
        try:
            self.api = wandb.Api()
            self.entity = entity or str(self.api.default_entity)
            self.known = self._known()
        except Exception as error:  # wandb raises many kinds, and any of them means the same here
            raise SlackoffError(
                f"W&B did not answer ({type(error).__name__}: {error}): check the connection and WANDB_BASE_URL, or "
                "give --offline to write the runs here and upload them later with wandb sync"
            ) from error

    @property
    def path(self) -> str:
        """The project as W&B names it."""
        return f"{self.entity}/{self.project}"

    def _known(self) -> dict[str, Any]:
        """The runs of the project by id; none where there is no such project yet."""
        try:
            return {run.id: run for run in self.api.runs(self.path, per_page=500, lazy=False)}
        except ValueError as error:
            if "not find project" in str(error):
                return {}
            raise

    def shows(self, identity: str, marker: Mapping[str, Any], study: str) -> bool:
        """Whether the run is there and shows the record as ``marker`` has it.

        One that was logged while it trained knows neither the study's full name nor its axes: it is told.
        """
        run = self.known.get(identity)
        if run is None or not marker[DIGEST]:
            return False
        there = run.config.get("slackoff") or run.config.get("slackoff_study") or {}
        if there.get(DIGEST) != marker[DIGEST] or run.state == "running":
            return False
        if (tag := tag_of(study)) not in run.tags:
            run.tags = [*run.tags, tag]
            if "slackoff" in run.config and there.get("study") == run.group:
                run.config["slackoff"] = dict(marker)
            run.update()
        return True

    @contextmanager
    def writing(self, identity: str, digest: str, options: Mapping[str, Any]) -> Iterator[Any]:
        """A context in which a run is written under this id; one that is there goes on and keeps its tags."""
        tags = self.known[identity].tags if identity in self.known else []
        options = {**options, "tags": list(dict.fromkeys([*tags, *options["tags"]]))}
        try:
            with begun(identity, self.project, self.entity, self.folder, "online", options, self.patience_s) as run:
                yield run
        except Exception as error:
            if is_of_a_deleted_run(error):
                self.patience_s = _ONE_WAS_DELETED_S
            raise


def is_of_a_deleted_run(error: Exception) -> bool:
    """Whether W&B refuses a run because one of its id was deleted."""
    return "previously created and deleted" in str(error)


Destination = Offline | Online


@contextmanager
def begun(
    identity: str,
    project: str,
    entity: str | None,
    folder: Path,
    mode: Mode,
    options: Mapping[str, Any],
    answer_within_s: float = _ANSWER_WITHIN_S,
) -> Iterator[Any]:
    """A run under a given id; one that the server has already goes on from there, see `known_step`.

    Args:
        identity: id of the run.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        folder: W&B's own files go to its folder ``wandb``.
        mode: online or offline; what WANDB_MODE says if None.
        options: further options of ``wandb.init``.
        answer_within_s: how long the server may take to accept the run.
    """
    import wandb

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        silent=True, console="off", x_disable_stats=True, x_disable_machine_info=True, init_timeout=answer_within_s
    )
    with wandb.init(
        project=project,
        entity=entity,
        id=identity,
        dir=str(folder),
        mode=mode,
        settings=settings,
        resume="allow",
        **options,
    ) as run:
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        yield run
