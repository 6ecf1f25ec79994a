"""Votes and scores: what is read from a CSV, what is refused, and the averages against counting by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from slackoff.errors import SlackoffError
from slackoff.user_study import read_scores, read_votes, summarise_scores, summarise_votes, vote_counts
from slackoff.user_study.votes import selection_shares

VOTES = "rater,image,method\nann,1,A\nann,2,B\nbob,1,A\nbob,2,A\ncid,1,B\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def random_votes(folder: Path, images: int, seed: int = 0) -> tuple[Path, list[tuple[str, str]]]:
    """A file of votes, and its (image, method) pairs."""
    generator = np.random.default_rng(seed)
    chances = generator.dirichlet([3, 1, 1, 0.5], size=images)
    votes = [
        (f"{image:02d}", "ABCD"[generator.choice(4, p=chances[image])]) for image in range(images) for _ in range(9)
    ]
    lines = [f"r{number},{image},{method}" for number, (image, method) in enumerate(votes)]
    return write(folder, "\n".join(["rater,image,method", *lines])), votes


def test_votes_are_counted_per_image_and_method(tmp_path):
    counts = vote_counts(read_votes(write(tmp_path, VOTES)), images=["3"])
    assert counts.to_dict("index") == {"1": {"A": 2, "B": 1}, "2": {"A": 1, "B": 1}, "3": {"A": 0, "B": 0}}
    shares = selection_shares(counts)
    assert shares.to_dict("index") == {"1": {"A": 2 / 3, "B": 1 / 3}, "2": {"A": 0.5, "B": 0.5}}


def test_selection_percentages_are_means_over_images_not_over_votes(tmp_path):
    """All of nine votes on one image and none of one vote on another: 50 %, not 90 %."""
    lines = [f"r{number},1,A" for number in range(9)] + ["r0,2,B"]
    summary = summarise_votes(read_votes(write(tmp_path, "\n".join(["rater,image,method", *lines]))))
    assert [summary.selection(name).mean for name in "AB"] == [50.0, 50.0]


def test_a_summary_equals_the_count_by_hand(tmp_path):
    path, votes = random_votes(tmp_path, 30)
    summary = summarise_votes(read_votes(path))
    tally = {image: Counter(method for name, method in votes if name == image) for image in {name for name, _ in votes}}
    for method in "ABCD":
        level = summary.selection(method)
        assert level.mean == pytest.approx(100 * sum(found[method] / 9 for found in tally.values()) / 30)
        assert level.low < level.mean < level.high
        for n in (1, 2, 3, 4):
            inside = sum(sum(found[other] > found[method] for other in "ABCD") < n for found in tally.values())
            assert summary.rank(method, n).mean == pytest.approx(100 * inside / 30)
    assert summary.methods[0] == "A"
    assert (summary.raters, summary.votes) == (270, 270)


def test_the_interval_is_the_bootstrap_over_images(tmp_path):
    """Against resampling in NumPy with other random numbers."""
    summary = summarise_votes(read_votes(random_votes(tmp_path, 40)[0]))
    shares = 100 * selection_shares(summary.values)["A"].to_numpy()
    draws = np.random.default_rng(1).choice(shares, (20000, 40)).mean(axis=1)
    level = summary.selection("A")
    assert (level.low, level.high) == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.5)


def test_the_last_vote_of_a_rater_on_an_image_counts(tmp_path):
    votes = read_votes(write(tmp_path, VOTES + "ann,1,B\n"))
    assert votes.replaced == 1
    assert vote_counts(votes).loc["1"].to_dict() == {"A": 1, "B": 2}


def test_a_method_that_nobody_picked_counts_as_zero(tmp_path):
    votes = read_votes(write(tmp_path, VOTES), methods=["A", "B", "C"])
    assert votes.methods == ("A", "B", "C")
    assert summarise_votes(votes).selection("C").mean == 0
    shown = write(tmp_path, "rater,image,method,shown\nann,1,A,C|A|B\nbob,1,A,B|C|A\n")
    assert read_votes(shown).methods == ("A", "B", "C")


def test_images_without_votes_are_left_out_and_named(tmp_path):
    summary = summarise_votes(read_votes(write(tmp_path, VOTES)), images=["1", "2", "3"])
    assert summary.left_out == ("3",)
    assert list(summary.values.index) == ["1", "2"]
    assert summary.rank("A", 1).images == 2


def test_further_columns_quotes_and_spaces_are_read(tmp_path):
    text = '\ufeffmethod, rater ,image,mood\r\n"A, wide",ann, 1 ,"so\nso"\r\n\r\nB,bob,1,\r\n'
    rows = read_votes(write(tmp_path, text)).rows
    assert rows.to_dict("records") == [
        {"method": "A, wide", "rater": "ann", "image": "1", "mood": "so\nso"},
        {"method": "B", "rater": "bob", "image": "1", "mood": ""},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("rater,image\nann,1\n", "no column 'method'"),
        ("rater;image;method\nann;1;A\n", "separated by commas"),
        ("rater,image,method\n", "no rows"),
        ("rater,image,method,image\n1,2,3,4\n", "two columns 'image'"),
        ("rater,image,method\nann,1,A\n\nbob,2\n", "line 4 of {path} has 2 values for 3 columns"),
        ("rater,image,method\nann,1,A\nbob,,B\n", "line 3 of {path} has no image"),
        ('rater,image,method\nann,1,"A\n', "is not CSV"),
        ("rater,image,method\nann,1,A\n", "has votes for 'A' only"),
        ("rater,image,method,shown\nann,1,A,A|B\nbob,1,A,A|C\n", "line 3 of {path} chose among A, C"),
        ("rater,image,method,shown\nann,1,A,A|B\nbob,1,A,\n", "line 3 of {path} chose among nothing"),
        ("rater,image,method,shown\nann,1,C,A|B\n", "line 2 of {path} has a vote for 'C'"),
        (b"rater,image,method\nann,\xff,A\n", "UTF-8"),
    ],
)
def test_what_is_no_table_of_votes_is_refused_in_one_sentence(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(SlackoffError) as refused:
        read_votes(path)
    sentence = str(refused.value)
    assert words.format(path=path) in sentence
    assert str(path) in sentence
    assert "\n" not in sentence


def test_a_vote_for_a_method_that_was_not_named_is_refused(tmp_path):
    with pytest.raises(SlackoffError, match=r"line 3 of .* has a vote for 'B'.*\(A, C\)"):
        read_votes(write(tmp_path, VOTES), methods=["A", "C"])
    shown = write(tmp_path, "rater,image,method,shown\nann,1,A,A|B\n")
    with pytest.raises(SlackoffError, match="'C' was not shown"):
        read_votes(shown, methods=["A", "B", "C"])


def test_a_file_or_folder_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SlackoffError, match="does not exist"):
        read_votes(tmp_path / "nowhere.csv")
    with pytest.raises(SlackoffError, match="cannot be read"):
        read_votes(tmp_path)


def test_scores_take_the_place_of_votes(tmp_path):
    text = "image,method,score\n1,A,0.5\n1,B,-1e3\n2,A,2\n2,B,3\n3,A,1\n4,A,7\n4,B,6.5\n"
    scores = read_scores(write(tmp_path, text))
    assert scores.skipped == ("3",)
    summary = summarise_scores(scores)
    assert summary.methods == ["A", "B"]
    assert [summary.rank(name, 1).mean for name in "AB"] == pytest.approx([200 / 3, 100 / 3])
    assert summary.rank("B", 2).mean == 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,method,score\n1,A,good\n", "line 2 of {path} has the score 'good'"),
        ("image,method,score\n1,A,nan\n", "line 2 of {path} has the score 'nan'"),
        ("image,method,score\n1,A,1\n1,B,2\n1,A,3\n", "line 4 of {path} is a second score of 'A' on image '1'"),
        ("image,method,score\n1,A,1\n", "scores of 'A' only"),
        ("image,method,score\n1,A,1\n2,B,1\n", "no image with a score of each of A, B"),
    ],
)
def test_what_is_no_table_of_scores_is_refused(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(SlackoffError) as refused:
        read_scores(path)
    assert words.format(path=path) in str(refused.value)
