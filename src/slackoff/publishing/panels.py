"""The panels of a study's dashboard, by section."""

from collections.abc import Sequence
from typing import Any

from slackoff.analysis.study import Study
from slackoff.metrics.columns import COLUMNS
from slackoff.record.wandb_content import STEP

Curve = tuple[str, str, str]
"""A line plot of the study's run: the key of its table, the measure, the test set (empty where there is one)."""

Section = tuple[str, list[Any]]

_TEST = ("e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb")
_PICTURES = ("rainy", "output", "truth", "error", "rain_mask")
_WIDE = {"w": 24, "h": 12}


def of_study(study: Study, curves: Sequence[Curve]) -> list[Section]:
    """Panels of the study's own run: the curves against its axis, the tables, the page."""
    import wandb_workspaces.reports.v2 as wr

    lines = [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": key}},
            chart_name="wandb/line/v0",
            chart_fields={"x": study.axis, "y": measure, "stroke": "line"},
            chart_strings={"title": f"{COLUMNS[measure].label}{f' on {name}' if name else ''}"},
        )
        for key, measure, name in curves
    ]
    tables = [wr.WeavePanelSummaryTable(table_name=key, layout=wr.Layout(**_WIDE)) for key in ("study", "claims")]
    page = wr.MediaBrowser(title="Report", media_keys=["report"], layout=wr.Layout(**_WIDE))
    against = f"Against {study.axis}"
    return [(against, lines), ("Table and claims", tables), ("Report", [page])] if lines else []


def of_cells(study: Study) -> list[Section]:
    """Panels over the runs of the cells: measures and training against the step, pictures, results per image."""
    import wandb_workspaces.reports.v2 as wr

    def against_step(key: str, title: str) -> Any:
        return wr.LinePlot(title=title, x=STEP, y=[key], max_runs_to_show=100)

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
    pictures = wr.MediaBrowser(
        title="Test images", media_keys=[f"pictures/{kind}" for kind in _PICTURES], layout=wr.Layout(**_WIDE)
    )
    images = wr.WeavePanelSummaryTable(table_name="images", layout=wr.Layout(**_WIDE))
    return [
        ("At the end, cell by cell", last),
        ("Tests while training", tests),
        ("Training", training),
        ("Pictures", [pictures]),
        ("Results per image", [images]),
    ]
