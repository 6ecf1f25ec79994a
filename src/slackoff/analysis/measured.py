"""Studies that measured something instead of training: which report draws which kind."""

import json
from importlib import import_module
from pathlib import Path

from rich.console import Console

_REPORTS = {"complexity": "slackoff.analysis.complexity.report", "runtime": "slackoff.analysis.runtime.report"}
"""Kind -> module with ``show(folder, console)``; imported when it draws."""


def find(study_or_folder: str | Path, runs: str | Path = "runs") -> tuple[Path, str] | None:
    """Folder and kind of such a study, by that folder or by its name under `runs`/studies; None for anything else."""
    for folder in (Path(study_or_folder), Path(runs) / "studies" / str(study_or_folder)):
        try:
            content = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        kind = content.get("kind") if isinstance(content, dict) else None
        return (folder, kind) if kind in _REPORTS else None
    return None


def show(folder: Path, kind: str, console: Console) -> None:
    """Build the report of a study and print what it says and where its page lies.

    Raises:
        SlackoffError: the record is missing or damaged.
    """
    import_module(_REPORTS[kind]).show(folder, console)
