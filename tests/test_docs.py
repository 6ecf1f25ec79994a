"""The commands and examples of docs/architecture.md run as they stand, one after the other, in a new folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_the_page_names_files_that_are_there():
    named = re.findall(r"`([a-z_]+(?:/[a-z_0-9.]+)*(?:\.(?:py|yaml)|/))`", PAGE.read_text())
    roots = [PAGE.parents[1], *(PAGE.parents[1] / "src" / part for part in ("", "slackoff"))]
    rooms = [path for root in roots for path in [root, *root.glob("*/")]]
    missing = [name for name in named if not any((room / name).exists() for room in rooms)]
    assert len(named) > 30
    assert missing == ["attempts/"]  # of a record


@pytest.mark.timeout(300)
def test_its_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command as a process, and beside it the training by hand; then the figure of what the command recorded."""
    text = PAGE.read_text()
    (command,) = re.findall(r"^    python -m (.*)$", text, re.MULTILINE)
    by_hand, drawn = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "said.txt").open("w") as said:
        running = subprocess.Popen([sys.executable, "-m", *shlex.split(command)], stdout=said, stderr=said)
        exec(by_hand, {})
        assert len(capsys.readouterr().out.splitlines()) == 3
        assert running.wait() == 0, (tmp_path / "said.txt").read_text()
    exec(drawn, {})
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_what_is_trusted_names_tests_that_are_there():
    root = PAGE.parents[1]
    rows = [line for line in (root / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")][2:]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row) for row in rows]
    assert len(rows) > 20
    assert [row for row, found in zip(rows, named, strict=True) if len(found) != 1] == []
    for ((file, name),) in named:
        assert re.search(rf"^def {name}\(", (root / file).read_text(), re.MULTILINE), f"{file} has no {name}"
