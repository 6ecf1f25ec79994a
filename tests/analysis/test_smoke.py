"""A study of smoke size cannot be taken for a result: not its page, its table, its figures, its LaTeX."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from analysis_record import Cell, write_study
from matplotlib.figure import Figure
from rich.console import Console

from slackoff.analysis import load
from slackoff.analysis.page import environment
from slackoff.analysis.report import build
from slackoff.analysis.tables import print_table
from slackoff.analysis.text import WARNING, mark

SIZES = [("smoke", True), ("laptop", False), ("", False)]


@pytest.mark.parametrize(("size", "warned"), SIZES)
def test_the_printed_table_is_headed_by_the_warning(runs: Path, effect_cells: list[Cell], size: str, warned: bool):
    console = Console(record=True, width=200)
    print_table(load(write_study(runs, effect_cells, size=size)), console)
    text = console.export_text()
    assert text.startswith(WARNING) == warned
    assert (WARNING in text) == warned


@pytest.mark.parametrize(("size", "warned"), SIZES)
@pytest.mark.parametrize("page", ["report", "complexity", "runtime"])
def test_every_page_has_the_banner_above_everything_else(size: str, warned: bool, page: str):
    source = (Path(environment().loader.searchpath[0]) / f"{page}.html.j2").read_text()  # type: ignore[union-attr]
    assert source.index('{% include "smoke.html.j2" %}') < source.index("<section")
    banner = environment().get_template("smoke.html.j2").render(study={"size": size})
    assert (WARNING in banner, 'class="warning"' in banner) == (warned, warned)


@pytest.mark.parametrize(("size", "warned"), SIZES[:2])
def test_page_figures_and_latex_of_a_study(
    runs: Path, effect_cells: list[Cell], size: str, warned: bool, monkeypatch: pytest.MonkeyPatch
):
    marked: list[Callable[..., object]] = []
    monkeypatch.setattr("slackoff.analysis.report.mark", marked.append)
    page = build(write_study(runs, effect_cells, size=size)).read_text()
    assert (WARNING in page) == warned
    if warned:
        assert page.index(WARNING) < page.index('id="answer"')
    figures = list((runs / "studies" / "patchcount" / "figures").glob("*.png"))
    assert len(marked) == (len(figures) if warned else 0)
    latex = (runs / "studies" / "patchcount" / "tables" / "study.tex").read_text()
    assert ("Its numbers mean nothing" in latex) == warned


def test_the_mark_is_seen_across_a_figure():
    figure = Figure(figsize=(7, 4.8))
    figure.subplots()

    def pixels() -> np.ndarray:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., 0].astype(int)

    before = pixels()
    mark(figure)
    changed = np.argwhere(before != pixels())
    assert np.ptp(changed[:, 1]) > before.shape[1] / 2
