"""The sections as a table on the terminal, as Markdown and as JSON."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.results import Row, Section, amount
from slackoff.record.environment import describe_environment

COLUMNS = ("setting", "figures", "median", "min to max", "goal")
QUIET_LOAD = 0.5


def machine(load_before: float) -> dict[str, Any]:
    """Hardware, versions, date, and how busy the machine was before the run."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {**describe_environment(), "date": date, "load_before": round(load_before, 2)}


def describe(facts: dict[str, Any]) -> str:
    """Hardware and versions in a sentence or two."""
    packages = facts["packages"]
    gpu = f"{facts['gpu']}, " if facts["gpu"] else ""
    sentence = (
        f"{gpu}{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, torch {packages['torch']}, "
        f"lightning {packages['lightning']}, {facts['date']}."
    )
    if facts["load_before"] < QUIET_LOAD:
        return sentence
    return f"{sentence} Other programs were running (load average {facts['load_before']:.1f}): do not quote these."


def show(sections: Sequence[Section], facts: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(*COLUMNS, box=SIMPLE_HEAD, title="slackoff: speed", caption=describe(facts), caption_justify="left")
    for section in sections:
        table.add_row(f"[bold]{section.question}", f"[bold]goal: {section.goal}")
        for row in section.rows:
            *cells, verdict = _cells(row)
            table.add_row(*cells, f"[{'green' if row.met else 'bold red'}]{verdict}")
        table.add_section()
    console.print(table)


def save(
    sections: Sequence[Section], facts: dict[str, Any], raw: dict[str, Any], folder: Path, only: str | None = None
) -> Path:
    """Write ``<stem>.json`` and ``.md``, with ``-<only>`` in their names where that alone was measured.

    Returns:
        The path of the latter.
    """
    path = folder / f"{stem(facts)}{f'-{only}' if only else ''}.md"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "sections": [asdict(section) for section in sections], "raw": raw}
    path.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    path.write_text(_markdown(sections, facts, only), encoding="utf-8")
    return path


def stem(facts: dict[str, Any]) -> str:
    """How results of a machine are called: its GPU, or its CPU with the number of cores."""
    kind = re.sub(r"[^a-z0-9]+", "-", (facts["gpu"] or facts["cpu"]).lower()).strip("-") or "unknown"
    return kind if facts["gpu"] else f"{kind}-{facts['cores']}cores"


def _markdown(sections: Sequence[Section], facts: dict[str, Any], only: str | None) -> str:
    arguments = f'"{only} --save"' if only else "--save"
    parts = [
        "# Speed",
        f"{describe(facts)} Written by `make bench ARGS={arguments}`; what is measured: [README](../README.md).",
    ]
    for section in sections:
        lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, section.rows)]
        parts.append(f"## {section.question}\n\nGoal: {section.goal}.")
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    value, low, high = (amount(row, value) for value in (row.value, row.low, row.high))
    return row.setting, row.detail, f"{value} {row.unit}", f"{low} to {high}", "met" if row.met else "MISSED"
