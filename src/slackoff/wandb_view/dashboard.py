"""The workspace (a saved view) and the report of a study in W&B, as code: made once, brought up to date after that."""

import hashlib
from collections.abc import Sequence
from typing import Any

from slackoff.analysis.claims import Claim
from slackoff.analysis.study import Study
from slackoff.analysis.wandb_source import tag_of
from slackoff.metrics.columns import COLUMNS
from slackoff.wandb_view.content import STEP
from slackoff.wandb_view.destination import Online

Curve = tuple[str, str, str]
"""A line plot of the study's run: the key of its table, the measure, the test set (empty where there is one)."""

_TEST = ("e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb")
_PICTURES = ("rainy", "output", "truth", "error", "rain_mask")
_LONGEST_TITLE = 128


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
