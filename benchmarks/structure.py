"""How large and how entangled a tree is: ``python -m benchmarks.structure [TREE ...] [--measure] [--json]``.

A TREE is a commit, a folder, or ``.`` (the working tree, and the default); several stand side by side. Nothing of a
tree is imported here, only read and, with ``--measure``, run: its inside may be arranged as it likes.
``python -m benchmarks.structure --lost BEFORE AFTER`` lists public names whose docstring is gone.

Definitions, of ``src/**/*.py`` and of ``tests/**/*.py``:

- lines: *docstring* (any statement that is only a string, all its lines), *comment* (nothing but a comment), *blank*,
  and *code*, the rest. YAML: every line of ``*.yaml`` in conf, sweeps and src.
- median: of the lines of a file. *Small*: under 100 lines. Empty files count for neither.
- *root modules*: files directly in the package.
- *public docstrings*: of classes, functions and methods; no part of the qualified name begins with an underscore.
- *rooms*: packages and modules directly in the package; *arrows*: pairs of rooms of which one imports the other,
  imports inside functions included.
- *lines twice*: code lines inside four consecutive ones that occur elsewhere too; imports and lines of brackets left
  out, spaces at both ends cut. *Lines of one shape*: the same of eight lines, with names and constants blanked.
- *functions of one shape*: functions of at least four statements, beyond the first of those whose syntax trees are
  equal but for names and constants.

Runs (``--measure``; at smoke size, one CPU thread):

- *command to step*: one cell from the command line to the start of its first training step, all processes together. A
  file is *loaded* when its module is executed, *called* when a function in it is.
- *record to curve*: ``slackoff report`` up to the first figure that is saved.
- *plan*: seconds from the start of Python until a dry run has listed the 150 cells of paper150, and a manifest of 2,000
  rows (those of paper150 under more and more seeds), with the peak memory of that process, not of those that it
  starts.
- *start of a cell*: seconds that its status tells from the start of its process to the end of the first step.
"""

import argparse
import ast
import io
import json
import keyword
import os
import re
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "slackoff"
SMALL = 100
WINDOW = 4  # lines, and statements; twice as many lines where they are blanked
SKIPPED = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@contextmanager
def checked_out(name: str) -> Iterator[Path]:
    """The folder of a tree: a commit is checked out in a temporary one, and removed afterwards."""
    if Path(name).is_dir():
        yield Path(name).resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", folder, name], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)


def sources(folder: Path) -> dict[str, str]:
    """Text of each Python file below a folder by its path."""
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}


# --- counting ---------------------------------------------------------------------------------------------------------


def kinds_of_lines(text: str) -> dict[int, str]:
    """Number of each line, from 1, to ``code``, ``docstring``, ``comment`` or ``blank``."""
    kinds = dict.fromkeys(range(1, len(text.splitlines()) + 1), "blank")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SKIPPED:
            for number in range(token.start[0], token.end[0] + 1):
                if token.type != tokenize.COMMENT:
                    kinds[number] = "code"
                elif kinds[number] == "blank":
                    kinds[number] = "comment"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            kinds |= dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), "docstring")
    return kinds


def sizes(files: dict[str, str]) -> dict[str, float]:
    """Files and lines."""
    lengths = [count for count in (len(text.splitlines()) for text in files.values()) if count]
    kinds = Counter(kind for text in files.values() for kind in kinds_of_lines(text).values())
    found: dict[str, float] = {"files": len(files), "lines": sum(lengths)}
    found |= {f"lines: {kind}": kinds[kind] for kind in ("code", "docstring", "comment", "blank")}
    small = sum(count < SMALL for count in lengths)
    return found | {"median lines of a file": median(lengths or [0]), f"files under {SMALL} lines": small}


def definitions(files: dict[str, str]) -> Iterator[tuple[str, str, str, bool]]:
    """Each public class, function and method: module, qualified name, kind, and whether it has a docstring."""

    def inside(module: str, node: ast.AST, prefix: str, kind: str) -> Iterator[tuple[str, str, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, Definition):
                if isinstance(child, ast.If | ast.Try):
                    yield from inside(module, child, prefix, kind)
            elif not child.name.startswith("_"):
                is_class = isinstance(child, ast.ClassDef)
                yield module, prefix + child.name, "class" if is_class else kind, bool(ast.get_docstring(child))
                if is_class:
                    yield from inside(module, child, f"{prefix}{child.name}.", "method")

    for path, text in files.items():
        module = module_of(path)
        if not any(part.startswith("_") for part in module.split(".")):
            yield from inside(module, ast.parse(text), "", "function")


def lost(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Public names of `before`, by simple name and kind, of which no docstring is left in `after`."""
    names: dict[str, bool] = {}
    for _, name, kind, documented in definitions(after):
        key = f"{kind} {name.rpartition('.')[2]}"
        names[key] = names.get(key, False) or documented
    gone: dict[str, str] = {}
    for module, name, kind, documented in definitions(before):
        key = f"{kind} {name.rpartition('.')[2]}"
        if documented and not names.get(key, False):
            gone[f"{kind} {module}:{name}"] = "there, without a docstring" if key in names else "nowhere"
    return [f"{name} ({state})" for name, state in gone.items()]


def module_of(path: str) -> str:
    """Dotted name of a module by its path below src."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def arrows(files: dict[str, str]) -> dict[tuple[str, str], int]:
    """Pairs of rooms, importer first, to the number of imports between them; lazy ones count."""
    modules = {module_of(path) for path in files}
    found: Counter[tuple[str, str]] = Counter()
    for path, text in files.items():
        own = module_of(path)
        if not own.startswith(f"{PACKAGE}."):
            continue
        for node in ast.walk(ast.parse(text)):
            targets = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = own.split(".") if path.endswith("__init__.py") else own.split(".")[:-1]
                base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
                base = ".".join(part for part in (base, node.module) if part)
                targets = [f"{base}.{alias.name}" for alias in node.names]
                targets = [target if target in modules else base for target in targets]
            rooms = {room_of(target) for target in targets if target.startswith(f"{PACKAGE}.")}
            found.update((room_of(own), room) for room in rooms if room != room_of(own))
    return dict(found)


def room_of(module: str) -> str:
    """The room of a module: the second part of its name."""
    return module.split(".")[1]


def rooms(files: dict[str, str]) -> dict[str, list[str]]:
    """Rooms to the paths of their files."""
    found = defaultdict(list)
    for path in files:
        if module_of(path).startswith(f"{PACKAGE}."):
            found[room_of(module_of(path))].append(path)
    return dict(found)


def lines_twice(files: dict[str, str], window: int = WINDOW, blanked: bool = False) -> int:
    """Code lines inside so many consecutive ones that occur in two places, as they are or as shapes."""
    places = defaultdict(list)
    for path, text in files.items():
        imports = {
            number
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        lines = dict(enumerate(text.splitlines(), start=1))
        numbers = [number for number, kind in kinds_of_lines(text).items() if kind == "code" and number not in imports]
        numbers = [number for number in numbers if re.search(r"\w", lines[number])]
        lines = _shapes(text) if blanked else lines
        for start in range(len(numbers) - window + 1):
            inside = numbers[start : start + window]
            places[tuple(lines.get(number, "").strip() for number in inside)].append((path, inside))
    twice = [place for found in places.values() if len(found) > 1 for place in found]
    return len({(path, number) for path, inside in twice for number in inside})


def _shapes(text: str) -> dict[int, str]:
    """Number of each line to its tokens, names and constants blanked."""
    found: dict[int, str] = defaultdict(str)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.OP or keyword.iskeyword(token.string):
            found[token.start[0]] += f" {token.string}"
        elif token.type not in {*SKIPPED, tokenize.COMMENT}:
            found[token.start[0]] += " _"
    return found


def functions_of_one_shape(files: dict[str, str]) -> tuple[int, int]:
    """Functions beyond the first of each shape, and their lines."""
    shapes = defaultdict(list)
    for text in files.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                statements = sum(isinstance(inner, ast.stmt) for part in body for inner in ast.walk(part))
                if statements >= WINDOW:
                    shape = " ".join(type(inner).__name__ for part in body for inner in _walk_in_order(part))
                    lines = (node.end_lineno or node.lineno) - body[0].lineno + 1
                    shapes[shape].append(lines)
    repeated = [lines for found in shapes.values() for lines in found[1:]]
    return len(repeated), sum(repeated)


def _walk_in_order(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes depth first, with the end of each marked: two trees of one sequence are of one shape."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk_in_order(child)
    yield ast.Pass()


def count(tree: Path) -> dict[str, float]:
    """All figures that come from reading a tree."""
    own = sources(tree / "src")
    tests = sources(tree / "tests")
    yaml_files = [path for folder in ("conf", "sweeps", "src") for path in (tree / folder).rglob("*.yaml")]
    found = sizes(own)
    found["YAML lines"] = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in yaml_files)
    found["root modules"] = sum(path.startswith(f"{PACKAGE}/") and path.count("/") == 1 for path in own)
    found["public docstrings"] = sum(documented for *_, documented in definitions(own))
    found["rooms"] = len(rooms(own))
    found["arrows between rooms"] = len(arrows(own))
    for where, files in (("", own), ("tests: ", tests)):
        found |= {f"{where}{name}": value for name, value in sizes(files).items()} if where else {}
        found[f"{where}lines twice"] = lines_twice(files)
        found[f"{where}lines of one shape"] = lines_twice(files, 2 * WINDOW, blanked=True)
        shapes = functions_of_one_shape(files)
        found |= dict(zip((f"{where}functions of one shape", f"{where}their lines"), shapes, strict=True))
    return found


# --- running ----------------------------------------------------------------------------------------------------------

TRACER = """
import os, sys, threading, time
SOURCE, LOG = os.environ["TRACE_SOURCE"], os.open(os.environ["TRACE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
MARKS, seen = os.environ["TRACE_MARKS"].split(), set()

def trace(frame, event, argument):
    code = frame.f_code
    if event != "call" or code in seen:
        return
    seen.add(code)
    own = code.co_filename.startswith(SOURCE)
    kind = "mark" if code.co_name in MARKS and (own or "matplotlib" in code.co_filename) else ""
    if (own and code.co_filename.endswith(".py")) or kind:  # bodies of modules and classes are not optimised code
        kind = kind or ("called" if code.co_flags & 1 else "loaded")
        os.write(LOG, f"{time.monotonic()} {kind} {code.co_filename}\\n".encode())

threading.setprofile(trace)
sys.setprofile(trace)
"""
SMOKE = ("size=smoke", "network=unet_tiny", "schedule.steps=4", "trainer.precision=32-true", "logger.wandb=false")


def run(tree: Path, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m slackoff`` of a tree in a folder; what it prints comes through a pipe."""
    path = f"{environment.pop('first', '')}{os.pathsep}{tree / 'src'}".strip(os.pathsep)
    fixed = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", PACKAGE, *arguments],
        cwd=folder,
        env={**os.environ, **fixed, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def traced(tree: Path, folder: Path, mark: str, *arguments: str) -> tuple[int, int]:
    """Own files loaded, and called, before a function called `mark` begins, in all processes of a command.

    Raises:
        RuntimeError: the command failed, or the mark was never reached.
    """
    (folder / "tracer").mkdir(exist_ok=True)
    (folder / "tracer" / "sitecustomize.py").write_text(TRACER, encoding="utf-8")
    log = folder / f"{mark}.log"
    names = {"TRACE_SOURCE": f"{tree / 'src'}/", "TRACE_LOG": str(log), "TRACE_MARKS": mark}
    process = run(tree, folder, *arguments, first=str(folder / "tracer"), **names)
    shown = process.communicate()[0]
    events = [line.split(" ", 2) for line in log.read_text(encoding="utf-8").splitlines()]
    marks = [float(moment) for moment, kind, _ in events if kind == "mark"]
    if process.returncode or not marks:
        raise RuntimeError(f"{' '.join(arguments)} did not reach {mark}:\n{shown[-2000:]}")
    before = {(kind, path) for moment, kind, path in events if float(moment) <= min(marks)}
    return sum(kind == "loaded" for kind, _ in before), sum(kind == "called" for kind, _ in before)


def planned(tree: Path, folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds until a dry run has listed its cells, and the most MB that its process had resident.

    Raises:
        RuntimeError: it ended without a list.
    """
    started = time.monotonic()
    process = run(tree, folder, *arguments, "--dry-run")
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if re.match(r"\d[\d,]* cells?:", line):
            seconds = time.monotonic() - started
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            return seconds, usage.ru_maxrss / 1024
    raise RuntimeError(f"{' '.join(arguments)} planned nothing:\n{shown[-2000:]}")


def measure(tree: Path) -> dict[str, float]:
    """All figures that come from running a tree."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        step = traced(tree, folder, "training_step", *SMOKE)
        shown = run(tree, folder, "+experiment=patchcount", "-m", *SMOKE).communicate()[0]
        curve = traced(tree, folder, "savefig", "report")
        status = [json.loads(path.read_text()) for path in folder.glob("runs/**/status.json")]
        starts = [found["seconds_to_first_step"] for found in status if found.get("seconds_to_first_step")]
        if not starts:
            raise RuntimeError(f"no cell took a step:\n{shown[-2000:]}")
        shipped = tree / "sweeps" / "paper150.yaml"
        content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
        rows = content["rows"]
        content["rows"] = [
            {**row, "seed": row.get("seed", 0) + 10 * (number // len(rows))}
            for number, row in zip(range(2000), rows * (2000 // len(rows) + 1), strict=False)
        ]
        (folder / "many.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        few, few_mb = planned(tree, folder, "+experiment=paper150", "-m", "size=paper")
        many, many_mb = planned(tree, folder, "+experiment=manifest", "-m", "size=paper", "study.manifest=many.yaml")
    figures: dict[str, float] = {}
    for name, (loaded, called) in {"command to step": step, "record to curve": curve}.items():
        figures |= {f"{name}: files loaded": loaded, f"{name}: files called": called}
    figures |= {"plan 150 cells, s": few, "plan 150 cells, MB": few_mb}
    figures |= {"plan 2,000 cells, s": many, "plan 2,000 cells, MB": many_mb}
    return figures | {"start of a cell, s": median(starts)}


def show(figures: dict[str, dict[str, float]], console: Console) -> None:
    """Print one row a figure and one column a tree."""
    table = Table("", *figures)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(figures.values())):
        values = [found[name] for found in figures.values()]
        table.add_row(name, *(f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" for value in values))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.structure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trees", nargs="*", default=["."], help="commits or folders")
    parser.add_argument("--measure", action="store_true", help="the runs too; a few minutes a tree")
    parser.add_argument("--lost", action="store_true", help="public docstrings of the first tree that the second lacks")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    if chosen.lost and len(chosen.trees) != 2:
        parser.error("--lost takes two trees: BEFORE AFTER")
    figures: dict[str, dict[str, Any]] = {}
    read = []
    for name in chosen.trees:
        with checked_out(name) as tree:
            if chosen.lost:
                read.append(sources(tree / "src"))
            else:
                figures[name] = count(tree) | (measure(tree) if chosen.measure else {})
    if chosen.lost:
        print("\n".join(found := lost(*read)) or "none")
        sys.exit(bool(found))
    if chosen.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures, Console())


if __name__ == "__main__":
    main()
