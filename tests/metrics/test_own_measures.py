"""Measures of a person's own: from a function or a torchmetrics class to a column of tables and figures."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image import PeakSignalNoiseRatio

from slackoff.analysis.figures import curves
from slackoff.analysis.frames import load
from slackoff.analysis.report import build as build_report
from slackoff.analysis.tables import cell_means, readable, study_table
from slackoff.cell.launch import CellExit
from slackoff.config import build
from slackoff.config.packages import VARIABLE
from slackoff.config.validate import check_config
from slackoff.deraining.export import read_record
from slackoff.errors import SlackoffError
from slackoff.metrics import columns
from slackoff.metrics.own_measures import OwnMeasure
from slackoff.sweep.study import _write_study
from train_here import train_here


def worst_error(output: Tensor, clean: Tensor, power: float = 1.0) -> Tensor:
    """The largest error of a pixel."""
    return ((output - clean).abs() ** power).max()


def wrong_names(preds: Tensor, target: Tensor) -> Tensor:
    return (preds - target).mean()


class RainLeft(Metric):
    """Mean of what was rain and still is."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, output: Tensor, clean: Tensor, rainy: Tensor) -> None:
        self.total += ((output - clean) * (rainy - clean)).mean()

    def compute(self) -> Tensor:
        return self.total


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    columns.OWN.clear()
    for name in columns.COLUMNS.keys() - columns.measure_columns():
        del columns.COLUMNS[name]


def images() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)


def test_a_function_is_called_by_names_and_a_metric_anew_for_each_image():
    output, clean, rainy = images()
    measure = OwnMeasure("worst", worst_error, {})
    assert measure.of_image(output, clean, rainy) == (output - clean).abs().max().item()
    assert measure.column == ("Worst", "", None, "The largest error of a pixel.", None)
    three = OwnMeasure("three", lambda **found: len(found), {"better": "higher", "unit": "dB", "label": "Three"})
    assert three.of_image(output, clean, rainy) == 3
    assert three.column[:3] == ("Three", "dB", "higher")
    left = OwnMeasure("left", RainLeft(), {})
    expected = ((output - clean) * (rainy - clean)).mean().item()
    assert [left.of_image(output, clean, rainy) for _ in range(2)] == pytest.approx([expected] * 2)
    assert (left.column.better, left.column.explanation) == ("lower", "Mean of what was rain and still is.")
    psnr = OwnMeasure("psnr_again", PeakSignalNoiseRatio(data_range=1.0), {})
    assert psnr.of_image(output, clean, rainy) == pytest.approx(-10 * math.log10((output - clean).square().mean()))
    assert psnr.column.better == "higher"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("psnr_rgb", "evaluation.measures.psnr_rgb is the name of another column"),
        ("image", "evaluation.measures.image is the name of another column"),
        ("twice", "evaluation.measures.twice is the name of another column"),
        ("Edge", "evaluation.measures.Edge is no name for a column: take small letters"),
        ("edge_low", "is no name for a column"),
        ("e_r_t10", "is no name for a column"),
    ],
)
def test_a_name_that_no_column_can_have_is_refused(name: str, words: str):
    with pytest.raises(SlackoffError) as error:
        OwnMeasure(name, worst_error, {}, known=["twice"])
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (lambda output, clean: 1 / 0, "evaluation.measures.mine fails: ZeroDivisionError: division by zero"),
        (
            lambda output, clean: output,
            r"mine gives a Tensor of shape (1, 3, 16, 16) for an image: let it give one number",
        ),
        (lambda output: None, "mine gives a NoneType for an image"),
    ],
)
def test_what_is_no_number_is_one_sentence(of: Any, words: str):
    with pytest.raises(SlackoffError) as error:
        OwnMeasure("mine", of, {}).of_image(*images())
    assert words in str(error.value)


HERE = "test_own_measures"


def with_measures(config: Any, **measures: Any) -> Any:
    OmegaConf.update(config, "evaluation.measures", measures, force_add=True)
    return config


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            {"of": {"_target_": f"{HERE}.wrong_names"}},
            "takes preds, target: name those that it is called with output, ",
        ),
        (
            {"of": {"_target_": f"{HERE}.worst_error", "power": "x"}},
            "measures.mine.of.power=x cannot be: give a number",
        ),
        (
            {"of": {"_target_": f"{HERE}.worst_error"}, "better": "up"},
            "mine.better=up is not known: choose one of higher",
        ),
        ({"of": {"_target_": f"{HERE}.Path"}}, "is refused"),
        ({"of": {"_target_": "slackoff.networks.UNet"}}, "cannot be: give a class that is a torchmetrics.Metric"),
        ({}, "evaluation.measures.mine.of is missing"),
        ({"of": {"_target_": "torchmetrics.image.PeakSignalNoiseRatio"}}, f"set {VARIABLE}=torchmetrics"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence(composed, monkeypatch, node: dict[str, Any], words: str):
    monkeypatch.setenv(VARIABLE, HERE)
    config = with_measures(composed(), mine=node)
    with pytest.raises(SlackoffError) as error:
        check_config(build.plain(config))
    assert words in str(error.value)


def test_it_is_a_column_of_the_record_of_tables_and_of_figures(prepared, composed, monkeypatch, tmp_path: Path):
    monkeypatch.setenv(VARIABLE, HERE)
    function = (
        f"+evaluation.measures.worst={{of: {{_target_: {HERE}.worst_error, power: 2.0}}, unit: share, better: lower}}"
    )
    cell = prepared(function, f"+evaluation.measures.left.of._target_={HERE}.RainLeft", "schedule.steps=2")
    assert train_here(cell.folder) == CellExit.DONE
    rows = pd.read_parquet(cell.folder / "images.parquet")
    assert (rows["worst"] > 0).all()
    assert not rows["worst"].equals(rows["worst_input"])
    logged = pd.read_parquet(cell.folder / "steps.parquet")
    assert logged["final/worst"].dropna().tolist() == pytest.approx([rows["worst"].mean()])
    frames = load(_write_study([cell]))
    table = study_table(frames)
    network, nothing = table[table["output"] == "network"], table[table["output"] != "network"]
    assert network["worst"].tolist() == pytest.approx([rows["worst"].mean()])
    assert nothing["worst"].tolist() == pytest.approx([rows["worst_input"].mean()])
    assert nothing["left"].tolist() == pytest.approx([rows["left_input"].mean()])
    assert list(readable(table, "patch_count").columns[-2:]) == ["Worst", "Left"]
    assert cell_means(frames)["left"].tolist() == pytest.approx([rows["left"].mean()])
    assert frames.describe().loc[("images", "worst"), "unit"] == "share"
    drawn = curves(table, "patch_count", None)
    assert [ax.get_title(loc="left") for ax in drawn.axes[-2:]] == ["Worst", "Left"]
    assert drawn.axes[-2].get_ylabel() == "share"
    assert [ax.get_title(loc="right") for ax in drawn.axes[-2:]] == ["lower is better"] * 2
    page = build_report(frames.study.folder).read_text()
    assert "The largest error of a pixel." in page
    columns.OWN.clear()
    assert read_record(cell.folder).measures[-2:] == ["worst", "left"]


def test_a_record_describes_no_figure_of_ours_and_nothing_odd():
    columns.add_own({"psnr_rgb": {"label": "x", "unit": "", "better": "lower", "explanation": ""}})
    columns.add_own({"fine": {"label": "a\x1b[31m\nb", "unit": "dB", "better": "none", "explanation": "x" * 999}})
    columns.add_own({"odd name": {}, "without": {"label": "x"}, "text": "x"})
    columns.add_own(["fine"])
    assert list(columns.OWN) == ["fine"]
    assert columns.OWN["fine"].label.isprintable()
    assert columns.OWN["fine"].better is None
    assert len(columns.OWN["fine"].explanation) == 200
    assert columns.COLUMNS["psnr_rgb"].unit == "dB"
