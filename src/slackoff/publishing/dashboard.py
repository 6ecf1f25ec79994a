"""The workspace (a saved view) and the report of a study in W&B, as code: made once, brought up to date after that."""

import hashlib
from collections.abc import Sequence
from typing import Any

from slackoff.analysis.claims import Claim
from slackoff.analysis.study import Study
from slackoff.errors import SlackoffError
from slackoff.publishing.destination import Online
from slackoff.publishing.panels import Curve, of_cells, of_study
from slackoff.record.wandb_tags import tag_of

_LONGEST_TITLE = 128


def refuse_without_workspaces() -> None:
    """Workspaces and reports need a package of their own.

    Raises:
        SlackoffError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces  # noqa: F401
    except ModuleNotFoundError as error:
        raise SlackoffError(
            "A dashboard needs wandb-workspaces: in the checkout, .venv/bin/pip install -e '.[dashboards]'"
        ) from error


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
        settings=ws.WorkspaceSettings(x_axis="trainer/global_step"),
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
    return [*of_study(study, curves), *of_cells(study)]
