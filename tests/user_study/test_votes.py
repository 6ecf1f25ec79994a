"""Votes and scores in CSV files: whole lines on disk, what is read and refused, the averages and ranks by hand."""

import csv
import fcntl
import os
import re
import resource
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackoff.errors import SlackoffError
from slackoff.user_study import votes as vote_file
from slackoff.user_study.report import summarise
from slackoff.user_study.votes import VoteFile, in_top, read_scores, read_votes

VOTES = "rater,image,method\nann,1,A\nann,2,B\nbob,1,A\nbob,2,A\ncid,1,B\n"
HEADER = "rater,image,method,shown,voted_at\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of the test is."""
    return tmp_path / "votes.csv"


@pytest.fixture
def write(path: Path) -> Callable[[str | bytes], Path]:
    """Write the file of the test."""

    def written(text: str | bytes) -> Path:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def random_votes(images: int) -> list[tuple[str, str]]:
    """(image, method) of nine votes on each image."""
    generator = np.random.default_rng(0)
    chances = generator.dirichlet([3, 1, 1, 0.5], size=images)
    return [
        (f"{image:02d}", "ABCD"[generator.choice(4, p=chances[image])]) for image in range(images) for _ in range(9)
    ]


def as_csv(votes: list[tuple[str, str]]) -> str:
    return "\n".join(
        ["rater,image,method", *(f"r{number},{image},{name}" for number, (image, name) in enumerate(votes))]
    )


def test_votes_are_counted_per_image_and_method(write):
    summary = summarise(write(VOTES), images=["1", "2", "3"])
    assert summary.values.to_dict("index") == {"1": {"A": 2, "B": 1}, "2": {"A": 1, "B": 1}}
    assert summary.shares.to_dict("index") == {"1": {"A": 2 / 3, "B": 1 / 3}, "2": {"A": 0.5, "B": 0.5}}
    assert summary.left_out == ("3",)
    assert (summary.raters, summary.votes, summary.rank("A", 1).images) == (3, 5, 2)


def test_selection_percentages_are_means_over_images_not_over_votes(write):
    """All of nine votes on one image and none of one vote on another: 50 %, not 90 %."""
    summary = summarise(write(as_csv([("1", "A")] * 9 + [("2", "B")])))
    assert [summary.selection(name).mean for name in "AB"] == [50.0, 50.0]


def test_a_summary_equals_the_count_by_hand(write):
    votes = random_votes(30)
    summary = summarise(write(as_csv(votes)))
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


def test_the_last_vote_of_a_rater_on_an_image_counts(write):
    summary = summarise(write(VOTES + "ann,1,B\n"))
    assert summary.replaced == 1
    assert summary.values.loc["1"].to_dict() == {"A": 1, "B": 2}


def test_a_method_that_nobody_picked_counts_as_zero(write):
    assert summarise(write(VOTES), methods=["A", "B", "C"]).selection("C").mean == 0
    assert read_votes(write(VOTES), methods=["A", "B", "C"]).methods == ("A", "B", "C")
    shown = write("rater,image,method,shown\nann,1,A,C|A|B\nbob,1,A,B|C|A\n")
    assert read_votes(shown).methods == ("A", "B", "C")


def test_further_columns_quotes_and_spaces_are_read(write):
    text = '\ufeffmethod, rater ,image,mood\r\n"A, wide",ann, 1 ,"so\nso"\r\n\r\nB,bob,1,\r\n'
    assert read_votes(write(text)).rows.to_dict("records") == [
        {"method": "A, wide", "rater": "ann", "image": "1", "mood": "so\nso"},
        {"method": "B", "rater": "bob", "image": "1", "mood": ""},
    ]


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_votes, "", "is empty"),
        (read_votes, "rater,image\nann,1\n", "no column 'method'"),
        (read_votes, "rater;image;method\nann;1;A\n", "separated by commas"),
        (read_votes, "rater,image,method\n", "no rows"),
        (read_votes, "rater,image,method,image\n1,2,3,4\n", "two columns 'image'"),
        (read_votes, "rater,image,method\nann,1,A\n\nbob,2\n", "line 4 of {path} has 2 values for 3 columns"),
        (read_votes, "rater,image,method\nann,1,A\nbob,,B\n", "line 3 of {path} has no image"),
        (read_votes, 'rater,image,method\nann,1,"A\n', "is not CSV"),
        (read_votes, "rater,image,method\nann,1,A\n", "has votes for 'A' only"),
        (read_votes, "rater,image,method,shown\nann,1,A,A|B\nbob,1,A,A|C\n", "line 3 of {path} chose among A, C"),
        (read_votes, "rater,image,method,shown\nann,1,A,A|B\nbob,1,A,\n", "line 3 of {path} chose among nothing"),
        (read_votes, "rater,image,method,shown\nann,1,C,A|B\n", "line 2 of {path} has a vote for 'C'"),
        (read_votes, b"rater,image,method\nann,\xff,A\n", "UTF-8"),
        (read_scores, "image,method,score\n1,A,good\n", "line 2 of {path} has the score 'good'"),
        (read_scores, "image,method,score\n1,A,nan\n", "line 2 of {path} has the score 'nan'"),
        (
            read_scores,
            "image,method,score\n1,A,1\n1,B,2\n1,A,3\n",
            "line 4 of {path} is a second score of 'A' on image '1'",
        ),
        (read_scores, "image,method,score\n1,A,1\n", "scores of 'A' only"),
        (read_scores, "image,method,score\n1,A,1\n2,B,1\n", "no image with a score of each of A, B"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(write, read, text, words):
    path = write(text)
    with pytest.raises(SlackoffError) as refused:
        read(path)
    sentence = str(refused.value)
    assert words.format(path=path) in sentence
    assert str(path) in sentence
    assert "\n" not in sentence


def test_a_vote_for_a_method_that_was_not_named_is_refused(write):
    with pytest.raises(SlackoffError, match=r"line 3 of .* has a vote for 'B'.*\(A, C\)"):
        read_votes(write(VOTES), methods=["A", "C"])
    with pytest.raises(SlackoffError, match="'C' was not shown"):
        read_votes(write("rater,image,method,shown\nann,1,A,A|B\n"), methods=["A", "B", "C"])


def test_a_file_or_folder_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(SlackoffError, match="does not exist"):
        read_votes(tmp_path / "nowhere.csv")
    with pytest.raises(SlackoffError, match="cannot be read"):
        read_votes(tmp_path)


def test_scores_take_the_place_of_votes(write):
    summary = summarise(write("image,method,score\n1,A,0.5\n1,B,-1e3\n2,A,2\n2,B,3\n3,A,1\n4,A,7\n4,B,6.5\n"))
    assert summary.left_out == ("3",)
    assert summary.methods == ["A", "B"]
    assert [summary.rank(name, 1).mean for name in "AB"] == pytest.approx([200 / 3, 100 / 3])
    assert summary.rank("B", 2).mean == 100


# The rank-n scores of MOSS, supplement C, Equation 1.

tables = st.integers(2, 6).flatmap(
    lambda methods: st.lists(st.lists(st.integers(0, 5), min_size=methods, max_size=methods), min_size=1, max_size=12)
)


def test_the_percentages_of_the_paper():
    """48 images of 5 methods; the first is best on 20, second on 17, third on 6, last on 5: 37 and 43 of 48."""
    best, second = [50, 20, 10, 5, 1], [30, 40, 10, 5, 1]
    third, last = [20, 30, 40, 5, 1], [1, 30, 20, 10, 25]
    table = [best] * 20 + [second] * 17 + [third] * 6 + [last] * 5
    percentages = [round(100 * top[:, 0].mean(), 2) for top in in_top(table)]
    assert percentages == [41.67, 77.08, 89.58, 89.58, 100.0]


def test_ties_at_the_last_place_are_all_in(write):
    table = [[3, 2, 2, 0], [1, 0, 0, 0]]
    assert in_top(table)[0].tolist() == [[True, False, False, False]] * 2
    assert in_top(table)[1].tolist() == [[True, True, True, False], [True, True, True, True]]
    assert in_top(table)[2].tolist() == [[True, True, True, False], [True, True, True, True]]
    scores = [
        f"{image},{name},{value}" for image, row in enumerate(table) for name, value in zip("ABCD", row, strict=True)
    ]
    summary = summarise(write("\n".join(["image,method,score", *scores])))
    assert [summary.tied(n) for n in (1, 2, 3, 4)] == [0, 2, 1, 0]


@settings(max_examples=60)
@given(tables)
def test_ranks_equal_the_count_by_sorting_and_only_the_order_within_an_image_counts(table):
    """A method is in the top n if it has at least the n-th most votes: Equation 1 in plain Python."""
    steep = [[2.0**votes + 10 * number for votes in row] for number, row in enumerate(table)]
    for n in range(1, len(table[0]) + 1):
        expected = [[own >= sorted(votes, reverse=True)[n - 1] for own in votes] for votes in table]
        assert in_top(table)[n - 1].tolist() == in_top(steep)[n - 1].tolist() == expected


# Votes that are added while a study runs.

ADD = """
import sys
from pathlib import Path
from slackoff.user_study.votes import VoteFile
votes = VoteFile(Path(sys.argv[1]), ["A", "B"])
for number in range(50):
    votes.add(sys.argv[2], f"image {number}, the " + "long" * 40, "AB"[number % 2], ["B", "A"])
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture
def votes(path: Path) -> VoteFile:
    """A new file of votes on A and B."""
    return VoteFile(path, ["A", "B"])


def test_a_vote_is_one_line(tmp_path):
    path = tmp_path / "new" / "votes.csv"
    votes = VoteFile(path, ["A", "B, the second"])
    assert path.read_text() == HEADER
    votes.add("ann", "1", "B, the second", ["B, the second", "A"])
    [row] = rows(path)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.pop("voted_at"))
    assert row == {"rater": "ann", "image": "1", "method": "B, the second", "shown": "B, the second|A"}
    assert read_votes(path).methods == ("A", "B, the second")


def test_a_vote_is_on_the_disk_before_it_counts(path, votes, monkeypatch):
    flushed = []
    monkeypatch.setattr(vote_file.os, "fsync", lambda descriptor: flushed.append(path.read_text().count("\n")))
    votes.add("ann", "1", "A", ["A", "B"])
    assert flushed == [2]


def test_processes_at_once_do_not_tear_lines(path):
    names = ["ann", "bob", "cid"]
    writers = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in names]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_text().count("rater,image") == 1
    assert Counter(row["rater"] for row in rows(path)) == dict.fromkeys(names, 50)
    assert read_votes(path).replaced == 0


def test_a_vote_waits_for_whoever_writes(path, votes):
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer = threading.Thread(target=votes.add, args=("ann", "1", "A", ["A", "B"]))
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert path.read_text() == HEADER
    writer.join()
    assert len(rows(path)) == 1


def test_a_full_disk_leaves_no_half_line(path, votes):
    votes.add("ann", "1", "A", ["A", "B"])
    before = path.read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        with pytest.raises(OSError, match="space"):
            votes.add("ann", "2", "A", ["A", "B"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == before
    assert votes.voted == {("ann", "1")}


def test_what_the_file_has_is_kept_and_known(write):
    """An editor took the last line break away and put columns in another order."""
    path = write("method,note,image,rater\nA,hm,1,ann")
    votes = VoteFile(path, ["A", "B"])
    assert votes.voted == {("ann", "1")}
    votes.add("bob", "1", "B", ["A", "B"])
    assert path.read_text() == "method,note,image,rater\nA,hm,1,ann\nB,,1,bob\n"


def test_a_file_with_column_names_alone_is_a_beginning(write):
    path = write(HEADER)
    assert VoteFile(path, ["A", "B"]).voted == set()
    assert path.read_text() == HEADER


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,score\n1,2\n", "no column 'rater'"),
        (HEADER + "ann,1,A,A|C,\n", "'B' was not shown"),
        (HEADER + "ann,1,A,A|B|C,\n", "has votes among A, B, C, and this study shows A, B"),
        ("rater,image,method\nann,1,C\n", "vote for 'C'"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(write, text, words):
    path = write(text)
    with pytest.raises(SlackoffError, match=re.escape(words)):
        VoteFile(path, ["A", "B"])
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_refused(write, tmp_path):
    for place in (Path("/proc/votes.csv"), tmp_path):
        with pytest.raises(SlackoffError, match=rf"{place} cannot be written .*: name a file for --votes"):
            VoteFile(place, ["A", "B"])
    if os.geteuid():  # root may write everything
        write(HEADER).chmod(0o444)
        with pytest.raises(SlackoffError, match="cannot be written"):
            VoteFile(tmp_path / "votes.csv", ["A", "B"])
