"""Rows as a table on the terminal, as Markdown and as JSON."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.results import Row, amount
from slackoff.record.environment import describe_environment

COLUMNS = ("measured", "setting", "detail", "median", "min to max", "goal", "goal met")


def machine(load_before: float) -> dict[str, Any]:
    """Hardware, versions, date, and how busy the machine was before the run."""
    return {
        **describe_environment(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": round(load_before, 2),
    }


def describe(facts: dict[str, Any]) -> str:
    """Hardware and versions in one sentence."""
    packages = facts["packages"]
    busy = "" if facts["load_before"] < 0.5 else "; THE MACHINE WAS NOT QUIET, take the figures with care"
    return (
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, torch {packages['torch']}, "
        f"lightning {packages['lightning']}, {facts['date']}, load average before the run "
        f"{facts['load_before']:.1f}{busy}."
    )


def show(rows: Sequence[Row], facts: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table(*COLUMNS, title="slackoff: speed", caption=describe(facts), caption_justify="left")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        colour = "green" if row.met else "bold red"
        last = following is None or following.question != row.question
        table.add_row(*_cells(row)[:-1], f"[{colour}]{_cells(row)[-1]}", end_section=last)
    console.print(table)


def save(rows: Sequence[Row], facts: dict[str, Any], raw: dict[str, Any], folder: Path) -> Path:
    """Write ``<cpu>-<cores>cores.json`` and ``.md``; the Markdown file's path."""
    kind = re.sub(r"[^a-z0-9]+", "-", facts["cpu"].lower()).strip("-")
    path = folder / f"{kind}-{facts['cores']}cores.md"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "rows": [vars(row) for row in rows], "raw": raw}
    path.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    path.write_text(_markdown(rows, facts), encoding="utf-8")
    return path


def _markdown(rows: Sequence[Row], facts: dict[str, Any]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"# Speed\n\n{describe(facts)} Written by `make bench ARGS=--save`.\n\n{table}\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.question,
        row.setting,
        row.detail,
        amount(row, row.value),
        f"{amount(row, row.low)} to {amount(row, row.high)}",
        row.goal,
        "yes" if row.met else "MISSED",
    )
