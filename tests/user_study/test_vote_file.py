"""Votes on disk: whole lines, from many at once, on a full disk, after a restart."""

import csv
import fcntl
import os
import re
import resource
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from slackoff.errors import SlackoffError
from slackoff.user_study import read_votes
from slackoff.user_study import votes as vote_file
from slackoff.user_study.votes import VoteFile

HEADER = "rater,image,method,shown,voted_at\n"
ADD = """
import sys
from slackoff.user_study.votes import VoteFile
votes = VoteFile(sys.argv[1], ["A", "B"])
for number in range(50):
    votes.add(sys.argv[2], f"image {number}, the " + "long" * 40, "AB"[number % 2], ["B", "A"])
"""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_a_vote_is_one_line(tmp_path):
    path = tmp_path / "new" / "votes.csv"
    votes = VoteFile(path, ["A", "B, the second"])
    assert path.read_text() == HEADER
    votes.add("ann", "1", "B, the second", ["B, the second", "A"])
    [row] = rows(path)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row.pop("voted_at"))
    assert row == {"rater": "ann", "image": "1", "method": "B, the second", "shown": "B, the second|A"}
    assert read_votes(path).methods == ("A", "B, the second")


def test_a_vote_is_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    path = tmp_path / "votes.csv"
    votes = VoteFile(path, ["A", "B"])
    flushed = []
    monkeypatch.setattr(vote_file.os, "fsync", lambda descriptor: flushed.append(path.read_text().count("\n")))
    votes.add("ann", "1", "A", ["A", "B"])
    assert flushed == [2]


def test_processes_at_once_do_not_tear_lines(tmp_path):
    path = tmp_path / "votes.csv"
    names = ["ann", "bob", "cid"]
    writers = [subprocess.Popen([sys.executable, "-c", ADD, str(path), name]) for name in names]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_text().count("rater,image") == 1
    assert Counter(row["rater"] for row in rows(path)) == dict.fromkeys(names, 50)
    assert read_votes(path).replaced == 0


def test_a_vote_waits_for_whoever_writes(tmp_path):
    path = tmp_path / "votes.csv"
    votes = VoteFile(path, ["A", "B"])
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer = threading.Thread(target=votes.add, args=("ann", "1", "A", ["A", "B"]))
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert path.read_text() == HEADER
    writer.join()
    assert len(rows(path)) == 1


def test_a_full_disk_leaves_no_half_line(tmp_path):
    path = tmp_path / "votes.csv"
    votes = VoteFile(path, ["A", "B"])
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


def test_what_the_file_has_is_kept_and_known(tmp_path):
    """An editor took the last line break away and put columns in another order."""
    path = tmp_path / "votes.csv"
    path.write_text("method,note,image,rater\nA,hm,1,ann")
    votes = VoteFile(path, ["A", "B"])
    assert votes.voted == {("ann", "1")}
    votes.add("bob", "1", "B", ["A", "B"])
    assert path.read_text() == "method,note,image,rater\nA,hm,1,ann\nB,,1,bob\n"


def test_a_file_with_column_names_alone_is_a_beginning(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER)
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
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, text, words):
    path = tmp_path / "votes.csv"
    path.write_text(text)
    with pytest.raises(SlackoffError, match=re.escape(words)):
        VoteFile(path, ["A", "B"])
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(SlackoffError, match=r"/proc/votes.csv cannot be written .*: name a file for --votes"):
        VoteFile("/proc/votes.csv", ["A", "B"])
    with pytest.raises(SlackoffError, match=r"cannot be written \(Is a directory\)"):
        VoteFile(tmp_path, ["A", "B"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file_is_refused(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER)
    path.chmod(0o444)
    with pytest.raises(SlackoffError, match="cannot be written"):
        VoteFile(path, ["A", "B"])
