"""The report: complete, self-contained, honest about what is missing; in a real browser its table sorts."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from analysis_record import Cell, counts, write_study

from report_page import Page
from slackoff.analysis.report import build
from slackoff.analysis.text import WARNING

ERROR = "the loss became NaN at step 120 <b>&"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

CLICKS = """<script>
const table = document.querySelector('#table table');
const heading = [...table.tHead.rows[0].cells].find(head => head.textContent.startsWith('PSNR'));
heading.querySelector('button').click();
heading.querySelector('button').click();
const slider = document.querySelector('.strip input');
slider.value = 20;
slider.dispatchEvent(new Event('input'));
</script></body>"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the effect in which one cell failed and one is pending, and its report."""
    cells = counts(e_r=[48, 40, 36], share=[0.7, 0.65, 0.6], e_b=[26, 12, 10], psnr=[21, 27, 28])
    cells += [Cell({"patch_count": 256}, state="failed", last_error=ERROR), Cell({"patch_count": 16}, state="pending")]
    folder = write_study(tmp_path_factory.mktemp("report") / "runs", cells)
    assert build(folder) == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def html(study: Path) -> str:
    return (study / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_all_files_are_there(study: Path) -> None:
    made = sorted(str(path.relative_to(study)) for path in study.rglob("*") if path.is_file())
    assert made == [
        "claims.json",
        *(f"figures/{name}.{kind}" for name in ("curves", "tradeoff", "training") for kind in ("png", "svg")),
        "index.html",
        "study.json",
        "tables/cells.csv",
        "tables/numbers.tex",
        "tables/study.csv",
        "tables/study.tex",
        "tables/thresholds.csv",
    ]


def test_page_loads_nothing_from_elsewhere(html: str, page: Page) -> None:
    assert page.links == []
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(address.startswith("data:") for address in re.findall(r"url\((.*?)\)", html))
    assert not re.search(r"@import|<link|<script\s+src|<iframe|https?://", html)
    assert "default-src 'none'" in html


def test_page_shows_every_figure(study: Path, html: str) -> None:
    for path in (study / "figures").glob("*.svg"):
        assert base64.b64encode(path.read_bytes()).decode() in html


def test_page_answers_in_words_before_any_number_is_shown(study: Path, page: Page) -> None:
    assert page.ids == [
        "unfinished",
        "answer",
        "curves",
        "table",
        "pictures",
        "claims",
        "tradeoff",
        "training",
        "configuration",
        "cost",
        "environment",
        "protocol",
    ]
    assert "Do fewer training patches help against unseen rain?" in page.text
    assert "really removes more of the unseen rain" in page.text
    assert "they hold nothing about other training seeds" in page.text


def test_page_names_the_cells_without_results(html: str, page: Page) -> None:
    assert "2 of 5 cells without results" in page.text
    assert f"N = 256 : failed — {ERROR}" in page.text.replace("N = 256:", "N = 256 :")
    assert "N = 16: pending" in page.text
    assert "NaN at step 120 &lt;b&gt;&amp;" in html


def test_page_has_table_pictures_configuration_and_cost(page: Page) -> None:
    for text in (
        "48.0 (40.0)",
        "rainy input",
        "0000-photo",
        "truth",
        "slackoff.networks.UNet",
        "8, 16, 64, 256, 1024",
        "0.12 device-hours of training and evaluation over 5 cells",
        "Some CPU @ 2.5GHz",
        "2.15.0",
        "python -m slackoff +experiment=patchcount -m",
        "Figure 4 & Table 2, 100 % of <it>",
        "Rain: R > 10 of 255",
    ):
        assert text in page.text


def test_files_hold_the_numbers(study: Path) -> None:
    table = pd.read_csv(study / "tables" / "study.csv")
    assert table["patch_count"].tolist()[1:] == [8, 16, 64, 256, 1024]
    assert table["e_r"].tolist()[1::2] == pytest.approx([48, 40, 36])
    assert table["state"].tolist()[1:] == ["done", "pending", "done", "failed", "done"]
    claims = json.loads((study / "claims.json").read_text(encoding="utf-8"))
    answer = next(claim for claim in claims if claim["id"] == "removal_or_damage")
    assert answer["verdict"] == "supported"
    assert answer["numbers"]["e_r_fall"]["mean"] == pytest.approx(12)
    cells = pd.read_csv(study / "tables" / "cells.csv")
    assert cells["state"].tolist() == ["done", "done", "done", "failed", "pending"]
    assert len(pd.read_csv(study / "tables" / "thresholds.csv")) == 12
    assert r"\toprule" in (study / "tables" / "study.tex").read_text(encoding="utf-8")


def test_the_same_record_gives_the_same_files(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(study.parent.parent, copy)
    again = copy / "studies" / study.name
    for name in ("figures", "tables"):
        shutil.rmtree(again / name)
    build(again)
    for path in study.rglob("*.*"):
        assert path.read_bytes() == (again / path.relative_to(study)).read_bytes(), path.name


def test_a_study_in_which_everything_failed_still_builds(runs: Path) -> None:
    cells = [Cell({"patch_count": 8}, state="failed", last_error="boom"), Cell({"patch_count": 64}, state="missing")]
    text = Page(build(write_study(runs, cells)).read_text(encoding="utf-8")).text
    assert "2 of 2 cells without results" in text
    assert "boom" in text
    assert "No N has results yet." in text


def test_another_axis_with_seeds_and_two_test_sets_builds(runs: Path) -> None:
    cells = [Cell({"rain": name, "seed": seed}) for name in ("small", "large") for seed in (0, 1)]
    folder = write_study(runs, cells, axis="rain")
    for cell in cells:
        path = runs / "cells" / cell.id / "images.parquet"
        rows = pd.read_parquet(path)
        pd.concat([rows, rows.assign(test_set="Rain 100")]).to_parquet(path)
    page = Page(build(folder).read_text(encoding="utf-8"))
    names = sorted(path.stem for path in (folder / "figures").glob("*.svg"))
    assert names == ["curves-r100-like", "curves-rain-100", "tradeoff-r100-like", "tradeoff-rain-100", "training"]
    assert "rain = small" in page.text
    assert "answer" not in page.ids
    assert "over 2 training seeds per rain" in page.text


@pytest.mark.usefixtures("without_figures")
def test_notes_and_damage_are_told(runs: Path) -> None:
    cells = [Cell({"patch_count": 8}), Cell({"patch_count": 64})]
    folder = write_study(runs, cells)
    path = runs / "cells" / cells[0].id / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": ["resumed from the checkpoint of step 100"]}))
    (runs / "cells" / cells[1].id / "status.json").write_text("{")
    text = Page(build(folder).read_text(encoding="utf-8")).text
    assert "resumed from the checkpoint of step 100" in text
    assert "N = 64: unreadable" in text


def test_texts_of_a_study_cannot_become_markup(runs: Path) -> None:
    folder = write_study(runs, [Cell({"patch_count": 8, "rain": "<script>x</script>"}, state="pending")])
    path = folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"title": "</title><script>alert(1)</script>"}))
    html = build(folder).read_text(encoding="utf-8")
    assert html.count("<script>") == 1
    Page(html)


@pytest.mark.parametrize(("size", "warned"), [("smoke", True), ("laptop", False)])
def test_page_figures_and_latex_of_smoke_size_are_marked(
    runs: Path, effect_cells: list[Cell], size: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def after_clicks(page: Path) -> str:
    """The document as the browser has it after the clicks."""
    clicked = page.with_name("clicked.html")
    clicked.write_text(page.read_text(encoding="utf-8").replace("</body>", CLICKS), encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    data = f"--user-data-dir={page.parent / 'browser'}"
    command = [str(BROWSER), *quiet, data, "--dump-dom", clicked.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed: pages cannot be opened")
def test_the_table_sorts_and_the_line_moves(runs: Path, effect_cells: list[Cell]) -> None:
    page = build(write_study(runs, effect_cells, axis="patch_count"))
    document = after_clicks(page)
    table = document[document.index('id="table"') : document.index("</table>", document.index('id="table"'))]
    assert re.findall(r'aria-sort="(\w+)"', table) == ["descending"]
    first = [re.findall(r'<td data-sort="([^"]*)"', row)[0] for row in table.split("<tr")[2:]]
    # PSNR of 28, 27 and 21 dB, and the untouched input's
    assert [count for count in first if count] == ["1024", "64", "8"]
    assert re.search(r'class="strip" style="[^"]*--at: 20%', document)
