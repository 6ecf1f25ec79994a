"""``python -m benchmarks.gpu_check``: does everything that uses a GPU do what it does on a CPU, and how fast?

The answers are one table of pass, fail and skipped; a skipped check proves nothing. Each section's go to a JSON file as
soon as it has ended. Exit code 1: a check failed.
"""

import argparse
import json
import os
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks import tables
from benchmarks.gpu_sections import SECTIONS, Check, Outcome, Run, judged, skipped
from slackoff.cell.training import silence_libraries
from slackoff.errors import one_line
from slackoff.record.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
STYLES = {"pass": "green", "fail": "bold red", "skipped": "yellow"}
COLUMNS = ("section", "check", "verdict", "figures, or why")

HELP = """\
sections: {sections}

on a machine with a GPU and a package registry:
  make gpu-check

on a machine with a GPU and none: torch, lightning, timm, torchmetrics and pandas are often there; hydra-core,
omegaconf, antlr4-python3-runtime, wandb (which this check does without), kornia and kornia-rs usually not; rich,
scipy, pyarrow, safetensors, psutil, filelock, pillow and matplotlib may be missing, too. Fill a folder on a machine of
the same kind that has a registry, with what `python -c "import NAME"` misses there; --python-version is its Python's:
  python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --dest wheels \\
      'hydra-core>=1.3.8,<1.5' 'omegaconf>=2.3,<2.4' kornia kornia-rs
  python -m pip wheel --no-deps --wheel-dir wheels 'antlr4-python3-runtime==4.9.*'     # is published as source only
Carry it there beside the checkout, then:
  python -m pip install --no-index --no-deps --target carried wheels/*.whl
  PYTHONPATH=src:carried python -m benchmarks.gpu_check --out results
Ranks and slots are processes of their own: start it in the root of the checkout.
"""

Sections = dict[str, list[dict[str, Any]]]


def run_section(name: str, run: Run, console: Console) -> list[dict[str, Any]]:
    """All checks of a section, as they are kept; one that raises has failed."""
    rows = []
    for check_name, check in SECTIONS[name](run):
        started = time.monotonic()
        outcome = _guarded(check)
        seconds = round(time.monotonic() - started, 2)
        rows.append({"check": check_name, **outcome._asdict(), "seconds": seconds})
        line = f"{name}: {check_name}: {outcome.verdict} ({seconds:.1f} s)"
        console.print(line, style=STYLES[outcome.verdict] if outcome.verdict == "fail" else "dim", highlight=False)
    return rows


def _guarded(check: Check) -> Outcome:
    try:
        return check()
    except torch.OutOfMemoryError as error:
        return skipped(f"the memory of the GPU does not suffice: {one_line(error, 120)}")
    except Exception as error:  # whatever a check raises must not take down the others
        return judged(False, f"{type(error).__name__}: {one_line(error)}", traceback=traceback.format_exc())


def table(sections: Sections, facts: dict[str, Any]) -> Table:
    """Every check with its verdict."""
    found = Table(*COLUMNS, box=SIMPLE_HEAD, title="slackoff: GPU check", caption=tables.describe(facts))
    found.caption_justify = "left"
    for name, rows in sections.items():
        for number, row in enumerate(rows):
            cells = (name if number == 0 else "", row["check"], row["verdict"], row["detail"])
            styles = ("bold", "", STYLES[row["verdict"]], "")
            found.add_row(*map(Text, cells, styles))
        found.add_section()
    return found


def closing(sections: Sections) -> str:
    """How many checks passed, failed and were skipped."""
    counts = Counter(row["verdict"] for rows in sections.values() for row in rows)
    line = f"{counts['pass']} passed, {counts['fail']} failed, {counts['skipped']} skipped"
    return f"{line}; a skipped check proves nothing." if counts["skipped"] else f"{line}."


def _markdown(sections: Sections, facts: dict[str, Any]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    lines += [(name, row["check"], row["verdict"], row["detail"]) for name, rows in sections.items() for row in rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)
    intro = f"{tables.describe(facts)} Written by `make gpu-check`; what is checked: [README](../README.md#gpu-check)."
    return f"# GPU check\n\n{intro}\n\n{body}\n\n{closing(sections)}\n"


def _earlier(path: Path) -> Sections:
    """What another run has kept, of which --only replaces a part."""
    try:
        found: Sections = json.loads(path.read_text(encoding="utf-8"))["sections"]
        return found
    except (OSError, ValueError, KeyError):
        return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print the table, keep the results; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check",
        description=__doc__,
        epilog=HELP.format(sections=", ".join(SECTIONS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", choices=SECTIONS, metavar="SECTION", help="check this alone")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same script at tiny sizes")
    parser.add_argument("--out", type=Path, help="folder for JSON and table (cuda: benchmarks/results)")
    parser.add_argument("--minutes", type=float, default=5.0, help="after which what is optional is left out")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: --device=cpu runs the same checks at tiny sizes")
    silence_libraries()
    if options.device == "cpu":
        torch.set_num_threads(1)  # tiny operations are slow when two busy threads share them
    facts = tables.machine(os.getloadavg()[0])
    out = options.out or (RESULTS if options.device == "cuda" else None)
    path = out / f"{tables.stem(facts)}-gpu-check.json" if out else None
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    kept, sections = _earlier(path) if path and options.only else {}, Sections()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slackoff-gpu-", ignore_cleanup_errors=True) as folder:
        run = Run(device, Path(folder), started + 60 * options.minutes)
        for name in [name for name in SECTIONS if name in (options.only or SECTIONS)]:
            sections[name] = run_section(name, run, console)
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, {"machine": facts, "device": str(device), "sections": kept | sections})
    console.print(table(sections, facts))
    console.print(f"{time.monotonic() - started:.0f} s. {closing(sections)}", highlight=False)
    if path:
        write_text(path.with_suffix(".md"), _markdown(kept | sections, facts))
        console.print(f"Saved: {path}", soft_wrap=True, highlight=False)
    return int(any(row["verdict"] == "fail" for rows in sections.values() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
