"""The verbs of a user study, as typed."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from slackoff.cli.app import app
from slackoff.user_study import page

VOTES = "rater,image,method\nann,im1,A\nann,im2,B\nbob,im1,A\nbob,im2,A\n"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["user-study", *map(str, arguments)])


@pytest.fixture
def served(monkeypatch):
    """What `show` would serve, without Gradio."""
    found = []
    monkeypatch.setattr(page, "import_gradio", lambda: None)
    monkeypatch.setattr(page, "serve", lambda study, port: found.append((study, port)))
    return found


def methods(folders: dict[str, str]) -> list[str]:
    return [part for name, folder in folders.items() for part in ("--method", f"{name}={folder}")]


def test_report_draws_beside_the_votes(tmp_path):
    votes = tmp_path / "votes.csv"
    votes.write_text(VOTES)
    result = call("report", votes)
    assert result.exit_code == 0, result.output
    assert "2 raters, 4 votes (2 an image), 2 images, 2 methods" in result.stdout
    assert "A is selected most, with 75.0 % of an image's votes. It takes 5 images" in result.stdout
    assert f"Report: {tmp_path}/votes_report/index.html" in result.stdout
    assert (tmp_path / "votes_report" / "figures" / "user_study.png").is_file()


def test_report_takes_methods_images_and_a_folder(tmp_path, folders):
    votes = tmp_path / "votes.csv"
    votes.write_text(VOTES)
    extra = ["--method", "A", "--method", "B", "--method", "C", "--images", tmp_path / "originals"]
    result = call("report", votes, "--out", tmp_path / "out", *extra)
    assert "2 images, 3 methods" in result.stdout
    assert "Images without votes are left out: im0, im3, im4 and im5." in result.stdout.replace("\n", " ")
    assert (tmp_path / "out" / "index.html").is_file()


def test_show_serves_the_study_that_was_typed(tmp_path, folders, served):
    votes = tmp_path / "votes.csv"
    options = ["--votes", votes, "--groups", "5", "--seed", "3", "--port", "8123"]
    result = call("show", "--images", tmp_path / "originals", *methods(folders), *options)
    assert result.exit_code == 0, result.output
    [(study, port)] = served
    assert (study.total, study.methods, port) == (5, ["blurred", "clean", "rainy"], 8123)
    assert f"6 images, 5 for each rater; methods: blurred, clean, rainy; votes: {votes}" in result.stdout
    assert votes.is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "nowhere.csv"], "nowhere.csv does not exist"),
        (["show", "--images", "nowhere", "--method", "a=x", "--method", "b=y"], "--images=nowhere does not exist"),
        (["show", "--images", ".", "--method", "a=x"], "two or more methods, not 1"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, tmp_path, monkeypatch, served):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_gradio_the_verb_says_what_to_install(tmp_path, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = call("show", "--images", tmp_path / "originals", *methods(folders), "--votes", tmp_path / "votes.csv")
    assert result.exit_code == 2
    cure = "in the checkout, .venv/bin/pip install -e '.[user_study]'"
    assert result.stderr == f"error: The page of a user study needs Gradio: {cure}\n"
    assert not (tmp_path / "votes.csv").exists()
