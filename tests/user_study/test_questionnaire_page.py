"""The page: what a browser is sent, and what its clicks do."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from slackoff.images.files import read_rgb
from slackoff.user_study.page import letter, make_page
from slackoff.user_study.questionnaire import Questionnaire, find_groups
from slackoff.user_study.votes import VoteFile

ANN = "00000000000a"


def test_places_have_letters():
    assert [letter(place) for place in (0, 1, 25, 26, 27, 52)] == ["A", "B", "Z", "AA", "AB", "BA"]


def level(picture: Path) -> list[int]:
    return np.unique(read_rgb(picture)).tolist()


@pytest.fixture
def page(folders, tmp_path, monkeypatch):
    """The functions behind the page by name, and the study."""
    pytest.importorskip("gradio", reason="needs the extra user_study")
    votes = VoteFile(tmp_path / "votes.csv", list(folders))
    study = Questionnaire(find_groups(tmp_path / "originals", folders), votes, 2)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored afterwards")
    (tmp_path / "copies").mkdir()
    made = make_page(study, tmp_path / "copies")
    return made, {function.api_name: function.fn for function in made.fns.values()}, study


def test_a_rater_is_shown_the_original_and_the_results_in_their_places(page, folders):
    _, functions, study = page
    question = study.question(ANN)
    rater, token, heading, _, _, original, *results = functions["show"](ANN)
    assert (rater, token, heading) == (ANN, question.token, "## Image 1 of 2")
    number = int(question.group.image.removeprefix("im"))
    assert level(original) == [number]
    levels = {name: 40 * (place + 1) + number for place, name in enumerate(folders)}
    assert [level(result) for result in results] == [[levels[name]] for name in question.methods]


def test_votes_through_the_page_end_in_thanks(page, tmp_path):
    _, functions, study = page
    expected = []
    for _ in range(2):
        question = study.question(ANN)
        expected.append([ANN, question.group.image, question.methods[2]])
        shown = functions["pick_2"](ANN, question.token)
    assert "Thank you" in shown[2]
    assert shown[5:] == [None] * 4
    lines = (tmp_path / "votes.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:3] for line in lines] == expected


@pytest.mark.parametrize("kept", ["", None, "ann", 5])
def test_a_click_without_the_id_of_its_rater_is_no_vote(page, tmp_path, monkeypatch, kept):
    """Not even where the new rater would be asked just what the page shows."""
    _, functions, study = page
    chance = SimpleNamespace(token_hex=lambda size: ANN)
    monkeypatch.setattr("slackoff.user_study.questionnaire.secrets", chance)
    rater, token, heading, *_ = functions["pick_0"](kept, study.question(ANN).token)
    assert (rater, token, heading) == (ANN, study.question(ANN).token, "## Image 1 of 2")
    assert (tmp_path / "votes.csv").read_text().count("\n") == 1


def test_another_person_is_another_rater(page):
    _, functions, _ = page
    new = next(function for name, function in functions.items() if name not in ("show", "pick_0", "pick_1", "pick_2"))
    assert new()[0] != new()[0]


def test_a_vote_that_cannot_be_written_is_told_to_both(page, monkeypatch, capsys):
    import gradio

    _, functions, study = page

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "votes.csv")

    monkeypatch.setattr(study, "answer", full)
    with pytest.raises(gradio.Error, match="Your vote could not be saved"):
        functions["pick_0"](ANN, study.question(ANN).token)
    assert "No space left on device" in capsys.readouterr().err


def test_the_page_names_no_method_and_reports_to_nobody(page, folders):
    made, _, _ = page
    sent = json.dumps(made.get_config_file(), default=str)
    assert not [name for name in folders if name in sent]
    assert made.analytics_enabled is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
