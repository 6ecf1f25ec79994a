"""Which share of small errors do the tests notice? ``python -m benchmarks.mutants TREE --out FOLDER``.

The errors are those of cosmic-ray (``pip install -e '.[dev,mutants]'``): an operator replaced, a number changed
by one, a condition negated, a loop left out. So many places of ``src`` are drawn with a seed: each place of the code is
as likely as any other, then one of its errors. Lines that no test reaches count, annotations do not. One error at a
time is made in a copy of the tree, and the tests that reach its line run until one fails. Which these are, and how long
they take, one run of all tests under coverage says. A line that only importing reaches is tried on the tests of its
file.

``FOLDER/mutants.jsonl`` has a line for each error as soon as it is tried; the same command again goes on from there:

    python -m benchmarks.mutants BEFORE --out mutants/before
    python -m benchmarks.mutants AFTER --out mutants/after
    python -m benchmarks.mutants . --out mutants/one_room --under slackoff/metrics --tests tests/metrics --count 5

Killed: a test failed, or took too long (three times what these tests take, and a minute). Survived: none did.
Unreached: no test comes to the line. Unclear: what failed fails without the error too. The share is killed over all
that is clear. Each tree takes a folder of its own.
"""

import argparse
import ast
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import coverage
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from benchmarks.structure import ROOT, checked_out

PARTS = ("src", "tests", "conf", "sweeps", "benchmarks", "notebooks", "docs", "examples")
LEFT_OUT = ("VariableReplacer", "VariableInserter")  # they take the name of a variable
GRACE_S = 60.0

CONFIG = """
[run]
branch = false
source = {source}
parallel = true
patch = subprocess, _exit, fork
context = ${{TEST_OF_PROCESS-}}
data_file = {data}
"""
WATCHER = '''
"""Names the running test to coverage, also in processes that it starts, and writes down how long it took."""
import json, os
import coverage, pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    os.environ["TEST_OF_PROCESS"] = item.nodeid
    coverage.Coverage.current().switch_context(item.nodeid)
    return (yield)

def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed and not hasattr(report, "node"):
        with open(os.environ["TEST_TIMES"], "a") as file:
            file.write(json.dumps([report.nodeid, report.duration]) + "\\n")
'''


@dataclass(frozen=True)
class Mutant:
    """One error at one place.

    Args:
        path: of the file, below src.
        line: where the place begins, from 1.
        column: the same, from 0.
        operator: cosmic-ray's name of the kind of error.
        occurrence: which of the places and variants of this kind in the file.
    """

    path: str
    line: int
    column: int
    operator: str
    occurrence: int


def mutants_of(path: str, text: str) -> Iterator[Mutant]:
    """Every error that can be made in a file, annotations left out: these do nothing at run time."""
    annotations = [
        annotation
        for node in ast.walk(ast.parse(text))
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.expr)
    ]
    unread = [((each.lineno, each.col_offset), (each.end_lineno, each.end_col_offset)) for each in annotations]
    nodes = list(ast_nodes(get_ast(text)))
    for name in operator_names():
        if name.endswith(LEFT_OUT):
            continue
        operator = get_operator(name)()
        positions = [position for node in nodes for position in operator.mutation_positions(node)]
        for occurrence, ((line, column), _) in enumerate(positions):
            if not any(first <= (line, column) < last for first, last in unread):
                yield Mutant(path, line, column, name, occurrence)


def drawn(tree: Path, under: str, count: int, seed: int) -> list[Mutant]:
    """So many errors, each at a place of its own."""
    places = defaultdict(list)
    for path in sorted((tree / "src" / under).rglob("*.py")):
        for mutant in mutants_of(str(path.relative_to(tree / "src")), path.read_text(encoding="utf-8")):
            places[mutant.path, mutant.line, mutant.column].append(mutant)
    generator = random.Random(seed)
    chosen = generator.sample(sorted(places), min(count, len(places)))
    return [generator.choice(places[place]) for place in chosen]


def copied(tree: Path, folder: Path) -> Path:
    """A copy of what the tests need of a tree, with the data beside it."""
    shutil.rmtree(folder, ignore_errors=True)  # one that was stopped may hold an error
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        if (tree / part).is_dir():
            shutil.copytree(tree / part, folder / part, ignore=ignored)
    for file in [*tree.glob("*.toml"), *tree.glob("*.md"), *tree.glob(".importlinter"), *tree.glob("Makefile")]:
        shutil.copy(file, folder)
    data = folder.parent / "shared"
    if (ROOT.parent / "shared").is_dir() and not data.exists():
        data.symlink_to(ROOT.parent / "shared")
    return folder


def _environment(copy: Path) -> dict[str, str]:
    # Without bytecode: files of one size and one second would be taken for each other.
    return {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


class Reached:
    """Which tests reach which line, from one run of them under coverage.

    Args:
        copy: of the tree.
        out: where the data is kept; a run that is there already is used.
        tests: folders and files of tests.
        jobs: processes of tests.
    """

    def __init__(self, copy: Path, out: Path, tests: list[str], jobs: int) -> None:
        self._source = copy / "src"
        data, times = out / "coverage" / "data", out / "coverage" / "times.jsonl"
        if not data.exists():
            shutil.rmtree(data.parent, ignore_errors=True)
            data.parent.mkdir(parents=True)
            (data.parent / "watcher.py").write_text(WATCHER, encoding="utf-8")
            config = data.parent / "config"
            config.write_text(CONFIG.format(source=self._source, data=data), encoding="utf-8")
            environment = {**_environment(copy), "TEST_TIMES": str(times)}
            environment["PYTHONPATH"] += os.pathsep + str(data.parent)
            run = [sys.executable, "-m", "coverage", "run", f"--rcfile={config}", "-m", "pytest", "-q", "-p", "watcher"]
            run += ["-p", "no:cacheprovider", "-n", str(jobs if jobs > 1 else 0), *tests]
            subprocess.run(run, cwd=copy, env=environment, check=False)
            combine = [sys.executable, "-m", "coverage", "combine", "-q", f"--rcfile={config}"]
            subprocess.run(combine, cwd=copy, env=environment, check=True)
        self._data = coverage.CoverageData(str(data))
        self._data.read()
        lines = times.read_text(encoding="utf-8").splitlines()
        self.seconds: dict[str, float] = dict(json.loads(line) for line in lines)

    def tests(self, mutant: Mutant) -> list[str]:
        """Tests that reach the line of an error, the shortest first; where only importing does, those of the file."""
        by_line = self._data.contexts_by_lineno(str(self._source / mutant.path))
        if mutant.line not in by_line:
            return []
        found = {name for name in by_line[mutant.line] if name in self.seconds}
        found = found or {name for names in by_line.values() for name in names if name in self.seconds}
        return sorted(found, key=lambda name: (self.seconds[name], name))


def tried(mutant: Mutant, copy: Path, reached: Reached, budget_s: float) -> dict[str, Any]:
    """Make an error, run the tests that reach it, and put the file right again.

    Args:
        budget_s: of tests that reach a line, the shortest run, as long as they take together.
    """
    tests: list[str] = []
    seconds = 0.0
    for name in reached.tests(mutant):
        seconds += reached.seconds[name]
        if tests and seconds > budget_s:
            break
        tests.append(name)
    path = copy / "src" / mutant.path
    text = path.read_text(encoding="utf-8")
    wrong = mutate_code(text, get_operator(mutant.operator)(), mutant.occurrence)
    assert wrong is not None
    told = {**asdict(mutant), "tests": len(tests)}
    told["diff"] = list(unified_diff(text.splitlines(), wrong.splitlines(), n=0, lineterm=""))[3:]
    if not tests:
        return {**told, "outcome": "unreached"}
    started = time.monotonic()
    limit = 3 * sum(reached.seconds[name] for name in tests) + GRACE_S
    path.write_text(wrong, encoding="utf-8")
    try:
        failed = first_failure(tests, copy, limit)
    finally:
        path.write_text(text, encoding="utf-8")
    outcome = "killed" if failed else "survived"
    if failed and first_failure([failed] if failed in tests else tests, copy, limit):
        outcome = "unclear"
    return {**told, "outcome": outcome, "by": failed, "seconds": round(time.monotonic() - started, 1)}


def first_failure(tests: list[str], copy: Path, limit_s: float) -> str | None:
    """The first test that fails, or what else went wrong; None if all pass."""
    listed = copy / "tests_of_mutant.txt"
    listed.write_text("\n".join(tests), encoding="utf-8")
    run = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", f"@{listed.name}"]
    process = subprocess.Popen(
        run,
        cwd=copy,
        env=_environment(copy),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        shown = process.communicate(timeout=limit_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what the tests have started too
        process.communicate()
        return "timeout"
    if not process.returncode:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - |$)", shown, re.MULTILINE)
    return failed[1] if failed else f"exit code {process.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", help="commit or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copy, the coverage and the results")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", default="", help="only files below this folder of src")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="folders and files of tests")
    parser.add_argument(
        "--budget", type=float, default=120.0, help="seconds of tests for one error, the shortest first"
    )
    parser.add_argument("--jobs", type=int, default=1, help="errors at once, each in a copy of its own")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    with checked_out(arguments.tree) as tree:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(arguments.jobs):
            copies.put(copied(tree, out / f"tree-{number}"))
    original = out / "tree-0"
    reached = Reached(original, out, arguments.tests, arguments.jobs)
    chosen = drawn(original, arguments.under, arguments.count, arguments.seed)
    results = out / "mutants.jsonl"
    results.touch()
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    known = {tuple(each[key] for key in ("path", "operator", "occurrence")) for each in found}
    waiting = [each for each in chosen if (each.path, each.operator, each.occurrence) not in known]

    def work(mutant: Mutant) -> dict[str, Any]:
        copy = copies.get()
        try:
            return tried(mutant, copy, reached, arguments.budget)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(arguments.jobs) as pool, results.open("a", encoding="utf-8") as file:
        for told in pool.map(work, waiting):
            found.append(told)
            file.write(json.dumps(told) + "\n")
            file.flush()
            place = f"{told['path']}:{told['line']}"
            print(f"{len(found)} of {len(chosen)}: {told['outcome']}: {place} {told['operator']}", flush=True)
    counts = Counter(told["outcome"] for told in found)
    clear = len(found) - counts["unclear"]
    print(f"killed {counts['killed'] / max(1, clear):.1%} of {clear}: {dict(counts)}")


if __name__ == "__main__":
    main()
