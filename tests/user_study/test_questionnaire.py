"""A study as raters answer it, without a page."""

import threading

import pytest

from slackoff.errors import SlackoffError
from slackoff.user_study.questionnaire import Questionnaire, find_groups, is_rater, rater_or_new
from slackoff.user_study.votes import VoteFile


@pytest.fixture
def study(folders, tmp_path):
    def make(count: int = 4, seed: int = 0) -> Questionnaire:
        votes = VoteFile(tmp_path / "votes.csv", list(folders))
        return Questionnaire(find_groups(tmp_path / "originals", folders), votes, count, seed)

    return make


def votes_in(tmp_path) -> list[list[str]]:
    return [line.split(",")[:4] for line in (tmp_path / "votes.csv").read_text().splitlines()[1:]]


def test_a_rater_answers_each_image_once(study, tmp_path):
    made, expected = study(), []
    for number in range(1, 5):
        question = made.question("ann")
        assert (question.number, question.total) == (number, 4)
        assert sorted(question.methods) == ["blurred", "clean", "rainy"]
        assert made.answer("ann", question.token, place=1)
        expected.append(["ann", question.group.image, question.methods[1], "|".join(question.methods)])
    assert made.question("ann") is None
    assert votes_in(tmp_path) == expected
    assert len({image for _, image, *_ in expected}) == 4


def test_raters_have_images_and_orders_of_their_own(study):
    made = study()
    asked = [made.question(f"rater{number}") for number in range(20)]
    assert len({question.group.image for question in asked}) > 3
    assert len({question.methods for question in asked}) > 3


def test_a_restart_goes_on_where_the_rater_was(study, tmp_path):
    first = study()
    first.answer("ann", first.question("ann").token, 0)
    before = first.question("ann")
    assert study().question("ann") == before
    assert before.number == 2


def test_a_second_click_is_no_vote_for_an_image_that_was_not_seen(study, tmp_path):
    made = study()
    token = made.question("ann").token
    assert made.answer("ann", token, 0)
    assert not made.answer("ann", token, 1)
    assert len(votes_in(tmp_path)) == 1


def test_clicks_at_the_same_moment_are_one_vote(study, tmp_path):
    made = study()
    token, together, kept = made.question("ann").token, threading.Barrier(8), []

    def click() -> None:
        together.wait()
        kept.append(made.answer("ann", token, 0))

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kept) == [False] * 7 + [True]
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


def test_a_rater_sees_no_more_images_than_there_are(study):
    made = study(count=10)
    assert made.total == made.question("ann").total == 6


def test_mistakes_are_refused(study):
    with pytest.raises(SlackoffError, match="--groups 0"):
        study(count=0)
    made = study()
    for place in (-1, 3):
        with pytest.raises(ValueError, match=r"place must be 0 \.\. 2"):
            made.answer("ann", made.question("ann").token, place)


def test_an_id_is_kept_and_anything_else_replaced():
    assert rater_or_new("0123456789ab") == "0123456789ab"
    assert is_rater("0123456789ab")
    others = (None, "", 5, "ann", "0123456789ab\n", "=cmd()+0123456")
    assert not any(map(is_rater, others))
    new = [rater_or_new(kept) for kept in others]
    assert len({*new}) == len(new)
    assert all(rater_or_new(name) == name and len(name) == 12 for name in new)
