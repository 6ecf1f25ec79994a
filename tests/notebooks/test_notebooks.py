"""Every notebook is its .py pair, and runs from top to bottom on the small record without a click."""

import json
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from jupytext.compare import compare_notebooks
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

pytestmark = pytest.mark.timeout(900)  # training the small record counts to the first test that needs it

FIGURES = {
    "01_patchcount": ("small_patchcount", 4),
    "02_rain_and_backgrounds": ("", 6),
    "03_compare_models": ("small_comparison", 3),
    "04_semi_supervised": ("small_semi_supervised", 4),
    "05_multitask": ("small_multitask", 3),
}
"""Notebook -> the study of the small record that it shows, and how many figures stand in it, those in widgets too."""


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def test_all_notebooks_are_tested() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(FIGURES)
    assert sorted(path.stem for path in NOTEBOOKS.glob("0*.py")) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_is_its_pair_and_holds_no_outputs(name: str) -> None:
    notebook = read(name)
    compare_notebooks(notebook, jupytext.read(NOTEBOOKS / f"{name}.py"), fmt="py:percent")
    assert notebook.metadata.jupytext.formats == "ipynb,py:percent"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_opens_with_its_question_and_says_where_to_name_a_study(name: str) -> None:
    opening, parameters = read(name).cells[:2]
    assert opening.source.startswith("# ")
    assert "**Question:**" in opening.source
    assert parameters.metadata.tags == ["parameters"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_runs_from_top_to_bottom(name: str, small_runs: Path) -> None:
    study, figures = FIGURES[name]
    notebook = read(name)
    chosen = (
        {"STUDY": study, "RUNS": str(small_runs)} if study else {"PATCHES": 10, "OVERRIDES": ["evaluation.count=6"]}
    )
    given = "\n".join(f"{key} = {value!r}" for key, value in chosen.items())
    notebook.cells.insert(2, nbformat.v4.new_code_cell(given))
    place = {"metadata": {"path": str(NOTEBOOKS)}}
    client = NotebookClient(notebook, timeout=240, startup_timeout=240, resources=place)
    client.widget_registry.clear()  # its answers to output widgets can lose the reply it waits for: nbclient issue 312
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [text(output) for output in outputs if output.get("name") == "stderr"] == []
    assert not re.search(r"Warning|Traceback", json.dumps([text(output) for output in outputs]))
    assert sum("image/png" in output.get("data", {}) for output in outputs) == figures


def test_the_small_record_is_trained_once(small_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from small_record import small_record

    cells = {path.name: path.stat().st_mtime_ns for path in (small_runs / "cells").iterdir()}
    assert len(cells) == 7
    assert small_record(small_runs) == small_runs
    assert {path.name: path.stat().st_mtime_ns for path in (small_runs / "cells").iterdir()} == cells
    assert capsys.readouterr().out == ""


def text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", "")) + str(output.get("traceback", ""))
