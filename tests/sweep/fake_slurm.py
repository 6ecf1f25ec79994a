"""Slurm's commands as small scripts that a test controls: what the queue holds, who refuses, who does not answer."""

import os
import pickle
from pathlib import Path

import pytest
from submitit.core.utils import JobPaths

SBATCH = """\
env > environment
if [ -e refusal ]; then cat refusal >&2; exit 1; fi
number=$(( $(cat number) + 1 )); echo $number > number
echo "$number|PENDING|Priority|$(sed -n 's/#SBATCH --job-name=//p' "$script")" >> jobs
echo "Submitted batch job $number"
"""
SQUEUE = """\
if [ -e down ]; then echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; fi
cat jobs
"""
SCANCEL = """\
echo "$arguments" >> cancelled
case "$arguments" in --*) ;; *) sed -i "s/^$arguments|[A-Z]*|/$arguments|CANCELLED|/" jobs ;; esac
"""


class FakeSlurm:
    """Its files lie in ``folder``; its commands are first on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "jobs").touch()
        (folder / "number").write_text("10\n")
        for name, script in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("srun", "")):
            path = folder / name
            path.write_text(f'#!/bin/sh\nscript=$(realpath "$1" 2> /dev/null); arguments="$*"; cd {folder}\n{script}')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def set(self, number: str, state: str, reason: str = "None") -> None:
        """Let the queue show a job in a state."""
        rows = [line.split("|") for line in (self.folder / "jobs").read_text().splitlines()]
        rows = [[row[0], state, reason, row[3]] if row[0] == number else row for row in rows]
        (self.folder / "jobs").write_text("".join("|".join(row) + "\n" for row in rows))

    def add(self, number: str, state: str, name: str) -> None:
        """Let the queue show one more job."""
        with (self.folder / "jobs").open("a") as file:
            file.write(f"{number}|{state}|None|{name}\n")

    def refuse(self, reason: str | None) -> None:
        """Let sbatch refuse all jobs; None lets it take them again."""
        _write_or_remove(self.folder / "refusal", reason)

    def answers(self, answers: bool) -> None:
        """Whether squeue reaches the controller."""
        _write_or_remove(self.folder / "down", None if answers else "")

    @property
    def cancelled(self) -> list[str]:
        """The arguments of every scancel so far."""
        path = self.folder / "cancelled"
        return path.read_text().splitlines() if path.exists() else []


def write_result(paths: JobPaths, outcome: str, value: object) -> None:
    """What submitit writes at the end of a job."""
    paths.result_pickle.write_bytes(pickle.dumps((outcome, value)))


def _write_or_remove(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text)
