"""A whole study replayed to W&B from the record: every cell, the study's own run, a workspace and a report."""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from slackoff.analysis import Frames, load
from slackoff.analysis.axes import line_names
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.groups import TEST_SET
from slackoff.analysis.study import Study
from slackoff.analysis.tables import label_columns, measures_of, study_table
from slackoff.analysis.wandb_source import tag_of
from slackoff.errors import SlackoffError, printable
from slackoff.metrics.columns import COLUMNS
from slackoff.record.config import read_config
from slackoff.record.files import DamagedFileError, read_json, read_lines
from slackoff.record.status import Status, read_status
from slackoff.wandb_view import agent_run
from slackoff.wandb_view.content import (
    DIGEST,
    STEP,
    headline_threshold,
    image_tables,
    known_step,
    pictures,
    read_pictures,
    record_digest,
    run_id,
    run_options,
    with_step,
)
from slackoff.wandb_view.destination import Destination, Offline, Online, begun, is_of_a_deleted_run

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Curve = tuple[str, str, str]
"""A line plot of the study's run: the key of its table, the measure, the test set (empty where there is one)."""

_TEST = ("e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb")
_PICTURES = ("rainy", "output", "truth", "error", "rain_mask")
_LONGEST_TITLE = 128
_CLAIM_COLUMNS = ("family", "group", "statement", "verdict", "sentence", "scope")


@dataclass(frozen=True)
class Published:
    """What was done: numbers of cells, whether the study's run was written, addresses (empty offline).

    `folder` holds the study; `failures` has a sentence for each part that was not written.
    """

    folder: Path
    written: int
    there: int
    unstarted: int
    study_written: bool
    workspace: str = ""
    report: str = ""
    failures: tuple[str, ...] = ()


def publish(
    study: str,
    runs: Path,
    project: str,
    entity: str | None = None,
    offline: bool = False,
    tell: Callable[[int, int], object] = lambda done, total: None,
    warn: Callable[[str], object] = lambda sentence: None,
) -> Published:
    """Replay the record of a study to W&B; what is there and shows the same is left as it is.

    A run that cannot be written, because somebody deleted it on the server, say, stops nothing else.

    Args:
        study: name of a study under ``runs``, or its folder.
        runs: where the records are.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        offline: write folders for ``wandb sync`` and no dashboard.
        tell: told after each cell how many of how many are through.
        warn: told at once what cannot be written, and what helps.

    Raises:
        SlackoffError: there is no such study, its record is damaged, there is no account, no server, or no package for
            dashboards. What goes wrong with one run is told, and the others go on.
    """
    frames = load(study, runs)
    found = frames.study
    if not offline and find_spec("wandb_workspaces") is None:
        raise SlackoffError(
            "A dashboard needs wandb-workspaces: in the checkout, .venv/bin/pip install -e '.[dashboards]'"
        )
    make = Offline if offline else Online
    destination: Destination = make(found.folder, project, entity)
    failures: list[str] = []

    def tried(what: str, write: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            return write()
        except Exception as error:  # W&B raises its own errors, those of requests, and plain ValueErrors
            failures.append(_not_shown(what, error))
            warn(failures[-1])
            return otherwise

    written, unstarted = 0, 0
    states = frames.cells.set_index("id")["state"]
    for number, (identity, axes) in enumerate(found.cells, 1):
        folder = found.runs / "cells" / identity
        started = states[identity] not in ("missing", "unreadable") and any(folder.glob("steps.*"))
        unstarted += not started
        if started:
            write = partial(_publish_cell, folder, destination, found.name, axes)
            written += tried(f"The run {run_id(identity)} of cell {identity}", write, False)
        tell(number, len(found.cells))
    there = len(found.cells) - written - unstarted - len(failures)
    run = f"The run {study_run_id(found.name)} of the study"
    shown = tried(run, lambda: publish_study(frames, destination), False)
    if not isinstance(destination, Online):
        return Published(found.folder, written, there, unstarted, shown, failures=tuple(failures))
    drawn, online = curves(study_rows(frames)), destination
    workspace = tried("The workspace", lambda: save_workspace(found, drawn, online), "")
    report = tried("The report", lambda: save_report(found, drawn, check(frames), online), "")
    return Published(found.folder, written, there, unstarted, shown, workspace, report, tuple(failures))


def _not_shown(what: str, error: Exception) -> str:
    if isinstance(error, SlackoffError):
        return printable(f"{what} was not written: {error}")
    why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    cure = "look whether the files of the cell are whole and the server answers, then publish again"
    if is_of_a_deleted_run(error):
        cure = "W&B gives the id of a deleted run to no other one: publish to another project with --project NAME"
    return printable(f"{what} was not written to W&B ({why}): {cure}")


def study_named(given: str, runs: Path) -> str:
    """The study that ``--study`` means: ``patchcount`` for the one named patchcount-laptop-builtin-r100like-3ac3eb.

    Returns:
        The name or folder as given where it is one, else the only study of that experiment.

    Raises:
        SlackoffError: several studies fit. One that none fits is left to whoever loads it.
    """
    if (Path(given) / "study.json").is_file():
        return given
    found = sorted(path.parent.name for path in (runs / "studies").glob("*/study.json"))
    fitting = [name for name in found if name.startswith(f"{given}-")]
    if given in found or not fitting:
        return given
    if len(fitting) > 1:
        raise SlackoffError(f"--study {given} fits several studies: name one of {', '.join(fitting)}")
    return fitting[0]


def _publish_cell(folder: Path, destination: Destination, study: str, axes: Mapping[str, Any]) -> bool:
    """Write a cell's run, unless it is there and shows the same."""
    status, options = _read_cell(folder, study, axes)
    options["tags"] = list(dict.fromkeys([*options["tags"], tag_of(study)]))
    identity, marker = run_id(status.id), options["config"]["slackoff"]
    if destination.shows(identity, marker, study):
        return False
    with destination.writing(identity, marker[DIGEST], options) as run:
        _replay(folder, status, options["config"], run)
        run.finish(exit_code=0 if status.state == "done" else 1)
    return True


def show_done_cell(folder: Path, project: str) -> None:
    """Replay a cell that was trained before into the run that an agent waits for; failing is said in the log only."""
    try:
        status, options = _read_cell(folder)
        project = os.environ.get("WANDB_PROJECT", project)
        with begun(agent_run() or "", project, os.environ.get("WANDB_ENTITY"), folder, None, options) as run:
            _replay(folder, status, options["config"], run)
    except Exception as error:  # W&B is a view: whatever it raises must not fail a command
        _log.warning("The cell is not shown in W&B (%s: %s)", type(error).__name__, error)


def _read_cell(folder: Path, study: str = "", axes: Mapping[str, Any] | None = None) -> tuple[Status, Any]:
    """The status of a cell and the options of its run."""
    status = read_status(folder)
    assert status is not None
    options = run_options(read_config(folder), status, study, axes)
    options["config"]["slackoff"][DIGEST] = record_digest(folder)
    return status, options


def _replay(folder: Path, status: Status, config: Mapping[str, Any], run: Any) -> None:
    """Log a cell of the record as it would have logged itself; a step never goes backwards."""
    rows, known = _steps(folder), known_step(run)
    for row in (row for row in rows if row["step"] > known):
        run.log(with_step(row))
    if status.state == "done":
        files = sorted(folder.glob("images*.parquet"))
        results = image_tables({file.stem.removeprefix("images").lstrip("_"): pd.read_parquet(file) for file in files})
        shown = pictures(read_pictures(folder), headline_threshold(config))
        run.log({**shown, **results, STEP: int(rows[-1]["step"])})


def _steps(folder: Path) -> list[dict[str, Any]]:
    whole = folder / "steps.parquet"
    try:
        rows: Any = pd.read_parquet(whole).to_dict("records") if whole.is_file() else read_lines(folder / "steps.jsonl")
    except (OSError, ValueError) as error:
        raise SlackoffError(f"{whole} cannot be read ({error}): run the study's command again") from error
    return list(rows)


def show_study(frames: Frames, project: str) -> bool:
    """Log a study after its cells were trained, to where WANDB_MODE says; skip it if nothing changed.

    Returns:
        Whether a run was written. W&B that is unreachable or raises is reported in the log and nothing else.
    """
    try:
        return publish_study(frames, Offline(frames.study.folder, project, mode=None))
    except Exception as error:  # W&B is a view: whatever it raises must not fail a study
        _log.warning("The study is not shown in W&B (%s: %s)", type(error).__name__, error)
        return False


def publish_study(frames: Frames, destination: Destination) -> bool:
    """Write the run of a study, unless it is there and shows the same; False too for a study without results.

    The run has ``study`` (the table, with intervals and oracles), a line plot per measure and test set, ``claims``,
    the figures under ``figures/`` (they have the intervals) and ``report``, the page. Claims, figures and page are
    those that ``python -m slackoff report`` has left in the study's folder.
    """
    study = frames.study
    rows, claims = study_rows(frames), _claims(study.folder)
    if rows.empty:
        return False
    digest = hashlib.sha256((rows.to_csv(index=False) + claims.to_csv(index=False)).encode()).hexdigest()[:16]
    marker = {"name": study.name, "study": study.name, DIGEST: digest}
    identity = study_run_id(study.name)
    if destination.shows(identity, marker, study.name):
        return False
    about = {key: getattr(study, key) for key in ("title", "question", "paper", "axis", "size", "command")}
    options = {
        "name": study.name,
        "group": study.experiment or study.name,
        "job_type": "study",
        "tags": [tag_of(study.name)],
        "config": {"slackoff_study": {**marker, **about, "cells": [identity for identity, _ in study.cells]}},
    }
    with destination.writing(identity, digest, options) as run:
        run.log({**_tables(rows, claims, study.axis), **_media(study.folder)})
    return True


def study_run_id(name: str) -> str:
    """The id of a study's run; W&B takes letters, digits, dots, dashes and underscores, 128 at most.

    Another name has another id: a name that W&B does not take as it is gets a digest.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", f"study-{name}")[:128]
    return plain if plain == f"study-{name}" else f"{plain[:115]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def study_rows(frames: Frames) -> pd.DataFrame:
    """The table of a study as its run has it: `with_lines` of its `study_table`."""
    table, axis = study_table(frames), frames.study.axis
    return with_lines(table, axis, label_columns(table, axis))


def with_lines(table: pd.DataFrame, axis: str, labels: Sequence[str]) -> pd.DataFrame:
    """The rows that have results, in order of the axis, with a column ``line`` that names the group of each."""
    rows = table.dropna(subset=[axis, "e_r"])
    names = line_names(rows[list(labels)].drop_duplicates())
    lines = [names[values] or "all" for values in rows[list(labels)].itertuples(index=False, name=None)]
    return rows.assign(line=lines).sort_values(["line", axis], ignore_index=True)


def curves(rows: pd.DataFrame) -> list[Curve]:
    """Each line plot of a study: the key of its table, the measure, and the test set (empty where there is one)."""
    return [
        (key, measure, name)
        for key, name, part in _parts(rows)
        for measure in measures_of(rows)
        if part[measure].notna().any()
    ]


def _parts(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """The table for the plots of each test set: its key in the run, the set's name, its rows."""
    if TEST_SET not in rows:
        return [("study", "", rows)]
    return [
        (f"study on {name}", str(name), part.reset_index(drop=True))
        for name, part in rows.groupby(TEST_SET, sort=False)
    ]


def _tables(rows: pd.DataFrame, claims: pd.DataFrame, axis: str) -> dict[str, Any]:
    import wandb

    parts = {key: part for key, _, part in _parts(rows)}
    logged = {"study": rows, **({"claims": claims} if len(claims) else {}), **parts}
    tables = {key: wandb.Table(dataframe=table, allow_mixed_types=True) for key, table in logged.items()}
    plots: dict[str, Any] = {}
    for key, measure, name in curves(rows):
        title = f"{measure} against {axis}{f' on {name}' if name else ''}"
        plots[title] = wandb.plot.line(tables[key], axis, measure, stroke="line", title=title)
    return tables | plots


def _media(folder: Path) -> dict[str, Any]:
    import wandb

    figures = sorted((folder / "figures").glob("*.png"))
    shown: dict[str, Any] = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
    page = folder / "index.html"
    return shown | ({"report": wandb.Html(str(page), inject=False)} if page.is_file() else {})


def _claims(folder: Path) -> pd.DataFrame:
    path = folder / "claims.json"
    try:
        claims = read_json(path, list[dict[str, Any]])
    except FileNotFoundError:
        claims = []
    except DamagedFileError as error:
        raise SlackoffError(f"{error}: run python -m slackoff report, which makes it anew") from error
    return pd.DataFrame([{key: claim.get(key, "") for key in _CLAIM_COLUMNS} for claim in claims])


def save_workspace(study: Study, curves: Sequence[Curve], online: Online) -> str:
    """Make the saved view of a study, or bring the one that was made before up to date; its address.

    It is found by its name on the server, a digest of the study's name. Views that people made are not touched.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    view = ws.Workspace(
        entity=online.entity,
        project=online.project,
        name=f"Study {study.name}",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in _sections(study, curves)],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(filters=expr.And(expr.Tags().isin([tag_of(study.name)]))),
    )
    name = hashlib.sha256(study.name.encode()).hexdigest()[:11]
    view._internal_name = f"nw-{name}-v"
    try:
        view._internal_id = ws.Workspace.from_url(view.url)._internal_id
    except ValueError:  # there is none yet
        view._internal_id = ""
    return str(view.save().url)


def save_report(study: Study, curves: Sequence[Curve], claims: Sequence[Claim], online: Online) -> str:
    """Make the report of a study, or bring the one that was made before up to date; its address.

    It is found by its description. Reports that people made are not touched.
    """
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces import expr

    marker = f"Made by slackoff publish of the study {study.name}."
    runs = wr.Runset(
        online.entity, online.project, study.name, filters=expr.And(expr.Tags().isin([tag_of(study.name)]))
    )
    blocks: list[Any] = [wr.P(study.question)] if study.question else []
    if study.paper:
        blocks.append(wr.P(f"Paper: {study.paper}"))
    if claims:
        said = wr.UnorderedList([f"{claim.verdict}: {claim.statement} {claim.sentence}" for claim in claims])
        blocks += [wr.H2("What it shows"), said]
    for name, panels in _sections(study, curves):
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels)]
    if study.command:
        blocks += [wr.H2("Command"), wr.P([wr.InlineCode(study.command)])]
    title = f"{study.title or study.name} ({study.name})"[:_LONGEST_TITLE]
    report = wr.Report(online.project, online.entity, title, description=marker, blocks=blocks, width="fluid")
    known = (each for each in online.api.reports(online.path) if each.description == marker)
    report.id = next((str(each.id) for each in known), "")
    return str(report.save().url)


def _sections(study: Study, curves: Sequence[Curve]) -> list[tuple[str, list[Any]]]:
    """Panels by heading: the study's own run (curves against its axis, tables, page), then the runs of the cells."""
    import wandb_workspaces.reports.v2 as wr

    def against_step(key: str, title: str) -> Any:
        return wr.LinePlot(title=title, x=STEP, y=[key], max_runs_to_show=100)

    wide = wr.Layout(w=24, h=12)
    lines = [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": key}},
            chart_name="wandb/line/v0",
            chart_fields={"x": study.axis, "y": measure, "stroke": "line"},
            chart_strings={"title": f"{COLUMNS[measure].label}{f' on {name}' if name else ''}"},
        )
        for key, measure, name in curves
    ]
    tables = [wr.WeavePanelSummaryTable(table_name=key, layout=wide) for key in ("study", "claims")]
    page = wr.MediaBrowser(title="Report", media_keys=["report"], layout=wide)
    own: Any = [(f"Against {study.axis}", lines), ("Table and claims", tables), ("Report", [page])]
    tests = [against_step(f"test/{measure}", COLUMNS[measure].label) for measure in _TEST]
    training = [
        against_step("train/loss", "loss"),
        against_step("train/learning_rate", "learning rate"),
        wr.LinePlot(title="weights of the losses", x=STEP, metric_regex="train/weight/.*", max_runs_to_show=100),
    ]
    last = [
        wr.ScatterPlot(
            title=f"{COLUMNS[measure].label} of each cell",
            x=wr.Config(f"slackoff.axes.{study.axis}"),
            y=wr.SummaryMetric(f"final/{measure}"),
            log_x=study.axis == "patch_count",
        )
        for measure in _TEST[:3]
    ]
    pictures = wr.MediaBrowser(title="Test images", media_keys=[f"pictures/{kind}" for kind in _PICTURES], layout=wide)
    images = wr.WeavePanelSummaryTable(table_name="images", layout=wide)
    return [
        *(own if lines else []),
        ("At the end, cell by cell", last),
        ("Tests while training", tests),
        ("Training", training),
        ("Pictures", [pictures]),
        ("Results per image", [images]),
    ]
