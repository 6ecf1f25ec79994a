"""A study as raters answer it: its pictures, fair ballots, one vote an image, and what a browser is sent."""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo
from scipy.stats import chisquare

from pictures import noise, save
from slackoff.errors import SlackoffError
from slackoff.images.files import read_rgb
from slackoff.user_study import page as study_page
from slackoff.user_study.page import (
    AnonymousCopies,
    Questionnaire,
    find_groups,
    image_names,
    is_rater,
    letter,
    make_page,
    named_folders,
    rater_or_new,
    shuffled,
)
from slackoff.user_study.votes import VoteFile
from verbs import call, mistake


def picture(path: Path, value: int, height: int = 8) -> None:
    """A picture of one grey level, 12 px wide."""
    save(path, np.full((height, 12, 3), value, np.uint8))


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """The folder of six originals, of grey levels 0 .. 5."""
    for number in range(6):
        picture(tmp_path / "originals" / f"im{number}.png", number)
    return tmp_path / "originals"


@pytest.fixture
def folders(originals: Path, tmp_path: Path) -> dict[str, str]:
    """Method -> folder of its results. Grey level: 40 per method, 1 per image."""
    methods = ("clean", "blurred", "rainy")
    for place, method in enumerate(methods):
        for number in range(6):
            picture(tmp_path / method / f"im{number}.png", 40 * (place + 1) + number)
    return {method: str(tmp_path / method) for method in methods}


def at_once(threads: int, work: Callable[[], object]) -> list[Any]:
    """What `work` returns to several threads that start it together."""
    together, found = threading.Barrier(threads), []

    def one() -> None:
        together.wait()
        found.append(work())

    started = [threading.Thread(target=one) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return found


# The pictures of a study.


def test_every_original_has_a_result_of_each_method(originals, folders, tmp_path):
    (tmp_path / "clean" / "im1.png").rename(tmp_path / "clean" / "im1.bmp")  # suffixes may differ
    picture(tmp_path / "clean" / "unknown.png", 3)  # further results are passed over, and so are folders
    (tmp_path / "clean" / "notes").mkdir()
    groups = find_groups(originals, folders)
    assert [group.image for group in groups] == [f"im{number}" for number in range(6)]
    assert groups[2].original == originals / "im2.png"
    assert groups[2].results == {name: tmp_path / name / "im2.png" for name in folders}
    assert groups[1].results["clean"] == tmp_path / "clean" / "im1.bmp"
    assert image_names(originals) == [group.image for group in groups]


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (("set/a", "set/b"), ["a", "b"]),
        (("first/a", "second/a", "second/b"), ["first/a", "second/a", "b"]),  # of one name in two test sets
    ],
)
def test_a_cell_of_the_record_is_a_method_and_a_source_of_originals(places, names, tmp_path):
    cells = {name: str(tmp_path / name) for name in ("one", "two")}
    for cell in cells.values():
        for place in places:
            for kind in ("rainy", "background", "output"):
                picture(Path(cell) / "pictures" / place / f"{kind}.png", 3)
        rows = pd.DataFrame([place.split("/") for place in places], columns=["test_set", "image"])
        rows.to_parquet(Path(cell) / "images.parquet")
    groups = find_groups(cells["one"], cells)
    assert [group.image for group in groups] == names
    assert [group.original for group in groups] == [tmp_path / "one/pictures" / place / "rainy.png" for place in places]
    assert groups[1].results["two"] == tmp_path / "two/pictures" / places[1] / "output.png"
    picture(tmp_path / "two/pictures" / places[1] / "rainy.png", 4)  # a cell that was tested on other images
    with pytest.raises(SlackoffError, match=f"shows another image than .*{groups[1].image} of the method two"):
        find_groups(cells["one"], cells)


def test_pictures_that_do_not_fit_are_refused_in_one_sentence(originals, folders, tmp_path):
    def refused(place: Path = originals, **methods: str) -> str:
        with pytest.raises(SlackoffError) as error:
            find_groups(place, folders | methods)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "--images=" in refused(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"--method clean={empty} holds no picture" in refused(clean=str(empty))
    picture(tmp_path / "clean" / "im5.png", 9, height=9)
    sentence = refused()
    assert f"{tmp_path}/clean/im5.png has 12 x 9 px" in sentence
    assert f"{originals}/im5.png has 12 x 8 px" in sentence
    (tmp_path / "blurred" / "im4.png").unlink()
    assert refused().startswith(
        f"{tmp_path}/blurred, the folder of the method blurred, has no picture of the image im4:"
    )
    (tmp_path / "blurred" / "im3.png").unlink()
    assert "of the image im3 (nor of 1 others)" in refused()
    picture(originals / "im1.bmp", 3)
    assert "have the same name" in refused()
    for name in ("im1.png", "im3.png", "im4.png"):
        (originals / name).unlink()
    (originals / "im1.bmp").write_text("no picture")
    assert f"{originals}/im1.bmp is not a readable" in refused()


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (["a", "b=x"], "--method a is not of the form NAME=FOLDER"),
        (["=x", "b=x"], "is not of the form"),
        (["a=", "b=x"], "is not of the form"),
        (["a|b=x", "b=x"], "must not contain '|'"),
        (["a=x", "a=y"], "--method a=... is given twice"),
        (["a=x"], "two or more methods, not 1"),
        ([], "two or more methods, not 0"),
    ],
)
def test_methods_are_named_folders_and_of_another_form_refused(methods, words):
    assert named_folders(["a=x/y", " b = z=1 "]) == {"a": "x/y", "b": "z=1"}
    with pytest.raises(SlackoffError) as error:
        named_folders(methods)
    assert words in str(error.value)


def test_a_copy_has_the_pixels_and_nothing_else(tmp_path):
    (tmp_path / "copies").mkdir()
    copies = AnonymousCopies(tmp_path / "copies")
    pixels = noise(300, 400)
    info = PngInfo()
    info.add_text("Software", "MOSS")
    for name in ("moss", "same"):
        save(tmp_path / f"{name}.png", pixels, pnginfo=info)
    assert b"MOSS" in (tmp_path / "moss.png").read_bytes()
    [copy] = {*at_once(6, lambda: copies.of(tmp_path / "moss.png"))}
    assert list((tmp_path / "copies").iterdir()) == [copy]
    np.testing.assert_array_equal(read_rgb(copy), pixels)
    assert b"MOSS" not in copy.read_bytes()
    assert "moss" not in copy.name
    assert copies.of(tmp_path / "same.png").name != copy.name  # equal pictures do not give themselves away
    with pytest.raises(SlackoffError, match=r"gone.png cannot be read"):
        copies.of(tmp_path / "gone.png")


# Ballots: fair, reproducible, different for each.

IMAGES = [f"{number:02d}" for number in range(48)]
RATERS = [f"rater{number}" for number in range(2400)]


@given(st.text(), st.integers())
def test_a_ballot_is_all_items_in_an_order_that_hangs_on_seed_and_key(rater, seed):
    seen = shuffled(IMAGES, seed, "images", rater)
    assert sorted(seen) == IMAGES
    assert seen == shuffled(IMAGES[::-1], seed, "images", rater)
    assert seen != shuffled(IMAGES, seed + 1, "images", rater)
    assert seen != shuffled(IMAGES, seed, "images", rater + "b")


def test_a_ballot_is_the_same_on_every_machine():
    """Made once with sha256sum: printf '3\\0images\\0ann\\0%s' and sorted by digest."""
    assert shuffled(["a", "b", "c", "d"], 3, "images", "ann")[:3] == ["d", "c", "a"]
    assert shuffled(["x", "y", "z"], 3, "methods", "ann", "b") == ["y", "z", "x"]


def test_every_image_and_every_order_is_as_likely():
    """Chi-squared against equal shares; fixed raters, so that nothing is left to chance."""
    ballots = [shuffled(IMAGES, 0, "images", rater)[:10] for rater in RATERS]
    drawn, first = Counter(image for ballot in ballots for image in ballot), Counter(ballot[0] for ballot in ballots)
    # without replacement the counts scatter less than independent draws: a fair ballot has a large p
    assert chisquare([drawn[image] for image in IMAGES]).pvalue > 0.01
    assert chisquare([first[image] for image in IMAGES]).pvalue > 0.01
    orders = Counter(tuple(shuffled("xyz", 0, "methods", rater, "im")) for rater in RATERS)
    assert chisquare([orders[order] for order in permutations("xyz")]).pvalue > 0.01


# Questions and answers.


@pytest.fixture
def study(originals, folders, tmp_path):
    """Begin a study, or begin it again; its votes are in votes.csv."""

    def make(count: int = 4, seed: int = 0) -> Questionnaire:
        votes = VoteFile(tmp_path / "votes.csv", list(folders))
        return Questionnaire(find_groups(originals, folders), votes, count, seed)

    return make


def votes_in(tmp_path: Path) -> list[list[str]]:
    return [line.split(",")[:4] for line in (tmp_path / "votes.csv").read_text().splitlines()[1:]]


def test_a_rater_answers_each_image_once(study, tmp_path):
    made, expected = study(), []
    for number in range(1, 5):
        question = made.question("ann")
        assert (question.number, question.total) == (number, 4)
        assert sorted(question.methods) == ["blurred", "clean", "rainy"]
        assert made.answer("ann", question.token, place=1)
        expected.append(["ann", question.group.image, question.methods[1], "|".join(question.methods)])
        assert study().question("ann") == made.question("ann")  # a restart goes on there
    assert made.question("ann") is None
    assert votes_in(tmp_path) == expected
    assert len({image for _, image, *_ in expected}) == 4


def test_raters_have_images_and_orders_of_their_own(study):
    made = study()
    asked = [made.question(f"rater{number}") for number in range(20)]
    assert len({question.group.image for question in asked}) > 3
    assert len({question.methods for question in asked}) > 3


def test_clicks_at_the_same_moment_and_later_ones_are_one_vote(study, tmp_path):
    made = study()
    token = made.question("ann").token
    assert sorted(at_once(8, lambda: made.answer("ann", token, 0))) == [False] * 7 + [True]
    assert not made.answer("ann", token, 1)
    assert len(votes_in(tmp_path)) == 1


def test_an_old_page_of_another_order_is_no_vote(study, tmp_path):
    """The study was started again with another seed while a page stood open."""
    old = study(count=6, seed=0)
    for seed in range(1, 30):
        new = study(count=6, seed=seed)
        shown, now = old.question("ann"), new.question("ann")
        same = (shown.group, shown.methods) == (now.group, now.methods)
        assert new.answer("ann", shown.token, 0) == same
        if same:
            break
    assert len(votes_in(tmp_path)) == same


def test_counts_out_of_range(study):
    made = study(count=10)
    assert made.total == made.question("ann").total == 6
    with pytest.raises(SlackoffError, match="--groups 0"):
        study(count=0)


def test_an_id_is_kept_and_anything_else_replaced():
    assert rater_or_new("0123456789ab") == "0123456789ab"
    assert is_rater("0123456789ab")
    others = (None, "", 5, "ann", "0123456789ab\n", "=cmd()+0123456")
    assert not any(map(is_rater, others))
    new = [rater_or_new(kept) for kept in others]
    assert len({*new}) == len(new)
    assert all(rater_or_new(name) == name and len(name) == 12 for name in new)


# The page.

ANN = "00000000000a"


def test_places_have_letters():
    assert [letter(place) for place in (0, 1, 25, 26, 27, 52)] == ["A", "B", "Z", "AA", "AB", "BA"]


@pytest.fixture
def page(study, tmp_path, monkeypatch):
    """The page, the functions behind it by name, and the study."""
    pytest.importorskip("gradio", reason="needs the extra user_study")
    made = study(count=2)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "restored afterwards")
    (tmp_path / "copies").mkdir()
    blocks = make_page(made, tmp_path / "copies")
    return blocks, {function.api_name: function.fn for function in blocks.fns.values()}, made


def test_a_rater_is_shown_the_original_and_the_results_in_their_places(page, folders):
    _, functions, study = page
    question = study.question(ANN)
    rater, token, heading, _, _, *pictures = functions["show"](ANN)
    assert (rater, token, heading) == (ANN, question.token, "## Image 1 of 2")
    number = int(question.group.image.removeprefix("im"))
    levels = {name: 40 * (place + 1) + number for place, name in enumerate(folders)}
    shown = [np.unique(read_rgb(picture)).tolist() for picture in pictures]
    assert shown == [[number], *([levels[name]] for name in question.methods)]


def test_votes_through_the_page_end_in_thanks(page, tmp_path):
    _, functions, study = page
    expected = []
    for _ in range(2):
        question = study.question(ANN)
        expected.append([ANN, question.group.image, question.methods[2]])
        shown = functions["pick_2"](ANN, question.token)
    assert "Thank you" in shown[2]
    assert shown[5:] == [None] * 4
    assert [vote[:3] for vote in votes_in(tmp_path)] == expected


@pytest.mark.parametrize("kept", ["", None, "ann", 5])
def test_a_click_without_the_id_of_its_rater_is_no_vote(page, tmp_path, monkeypatch, kept):
    """Not even where the new rater would be asked just what the page shows."""
    _, functions, study = page
    monkeypatch.setattr(study_page, "secrets", SimpleNamespace(token_hex=lambda size: ANN))
    rater, token, heading, *_ = functions["pick_0"](kept, study.question(ANN).token)
    assert (rater, token, heading) == (ANN, study.question(ANN).token, "## Image 1 of 2")
    assert votes_in(tmp_path) == []


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
    with pytest.raises(gradio.Error, match=r"Your vote could not be saved\. Please tell the person"):
        functions["pick_0"](ANN, study.question(ANN).token)
    assert "Your vote could not be saved. [Errno 28] No space left on device" in capsys.readouterr().err


def test_the_page_names_no_method_and_reports_to_nobody(page, folders):
    made, _, _ = page
    sent = json.dumps(made.get_config_file(), default=str)
    assert not [name for name in folders if name in sent]
    assert made.analytics_enabled is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


# The verb.


def methods(folders: dict[str, str]) -> list[str]:
    return [part for name, folder in folders.items() for part in ("--method", f"{name}={folder}")]


@pytest.fixture
def served(monkeypatch):
    """What `show` would serve, without Gradio."""
    found = []
    monkeypatch.setattr(study_page, "import_gradio", lambda: None)
    monkeypatch.setattr(study_page, "serve", lambda study, port: found.append((study, port)))
    return found


def test_show_serves_the_study_that_was_typed(tmp_path, originals, folders, served):
    votes = tmp_path / "votes.csv"
    options = ["--votes", votes, "--groups", 5, "--seed", 3, "--port", 8123]
    result = call("user-study", "show", "--images", originals, *methods(folders), *options)
    assert result.exit_code == 0, result.output
    [(study, port)] = served
    assert (study.total, study.methods, port) == (5, ["blurred", "clean", "rainy"], 8123)
    assert f"6 images, 5 for each rater; methods: blurred, clean, rainy; votes: {votes}" in result.stdout
    assert votes.is_file()


def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, served):
    monkeypatch.chdir(tmp_path)
    found = mistake("user-study", "show", "--images", "nowhere", "--method", "a=x", "--method", "b=y")
    assert "--images=nowhere does not exist" in found
    assert not list(tmp_path.iterdir())


def test_without_gradio_the_verb_says_what_to_install(tmp_path, originals, folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    cure = "in the checkout, .venv/bin/pip install -e '.[user_study]'"
    found = mistake("user-study", "show", "--images", originals, *methods(folders), "--votes", tmp_path / "votes.csv")
    assert f"The page of a user study needs Gradio: {cure}" in found
    assert not (tmp_path / "votes.csv").exists()
