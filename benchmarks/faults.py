"""Which careful faults do the tests notice? ``python -m benchmarks.faults TREE --out FOLDER``.

``faults.yaml`` holds them: a file below src/slackoff, text that stands in it once, what is put in its place, and the
kind. One at a time is put into a copy of the tree, and the tests that reach its lines run until one fails; how these
are found, and the outcomes, are those of ``benchmarks.mutants``. ``--direct`` runs the given tests as they are, without
looking which reach what: for one room in minutes.

    python -m benchmarks.faults . --out faults/now
    python -m benchmarks.faults . --out faults/photos --only deraining/photos --direct --tests tests/deraining
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml

from benchmarks.mutants import GRACE_S, Mutant, Reached, copied, first_failure
from benchmarks.structure import ROOT, checked_out

KINDS = ("together", "recovery", "product")


class Fault(NamedTuple):
    """One fault; ``file`` is below src/slackoff."""

    kind: str
    file: str
    before: str
    after: str

    def put_into(self, tree: Path) -> tuple[Path, str, str]:
        """The file in a tree, its text, and its text with the fault.

        Raises:
            ValueError: the text does not stand there once: the code has changed, and so must the fault.
        """
        path = tree / "src" / "slackoff" / self.file
        text = path.read_text(encoding="utf-8")
        if (times := text.count(self.before)) != 1:
            raise ValueError(f"{self.file}: {self.before!r} stands there {times} times")
        return path, text, text.replace(self.before, self.after)


def read_faults() -> list[Fault]:
    """All of ``faults.yaml``."""
    return [Fault(**each) for each in yaml.safe_load((ROOT / "benchmarks" / "faults.yaml").read_text(encoding="utf-8"))]


def outcome(fault: Fault, tree: Path, reached: Reached | None, tests: list[str], budget_s: float) -> tuple[str, str]:
    """What became of a fault in a copy of a tree, and by which test."""
    path, text, wrong = fault.put_into(tree)
    chosen, limit_s = tests, 3600.0
    if reached is not None:
        first = text[: text.index(fault.before)].count("\n") + 1
        lines = range(first, first + len(fault.before.rstrip("\n").split("\n")))
        place = str(path.relative_to(tree / "src"))
        found = {name for line in lines for name in reached.tests(Mutant(place, line, 0, "", 0))}
        chosen, seconds = [], 0.0
        for name in sorted(found, key=lambda name: (reached.seconds[name], name)):
            seconds += reached.seconds[name]
            if not chosen or seconds <= budget_s:
                chosen.append(name)
        limit_s = 3 * seconds + GRACE_S
        if not chosen:
            return "unreached", ""
    path.write_text(wrong, encoding="utf-8")
    try:
        failed = first_failure(chosen, tree, limit_s)
    finally:
        path.write_text(text, encoding="utf-8")
    return ("killed", failed) if failed else ("survived", "")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", help="commit or folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copy, the coverage and the results")
    parser.add_argument("--only", default="", help="faults in whose file, text or kind this stands")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="folders and files of tests")
    parser.add_argument("--direct", action="store_true", help="run all of these tests for each fault")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of tests for one fault")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    with checked_out(arguments.tree) as tree:
        copy = copied(tree, out / "tree-0")
    reached = None if arguments.direct else Reached(copy, out, arguments.tests, 1)
    counts: Counter[tuple[str, str]] = Counter()
    with (out / "faults.jsonl").open("a", encoding="utf-8") as file:
        for fault in read_faults():
            if not any(arguments.only in part for part in fault):
                continue
            became, by = outcome(fault, copy, reached, arguments.tests, arguments.budget)
            counts[fault.kind, became] += 1
            file.write(json.dumps([*fault, became, by]) + "\n")
            file.flush()
            print(f"{became}: {fault.kind} {fault.file}: {fault.before.strip()!r} {by}", flush=True)
    for kind in KINDS:
        of_kind = {became: count for (each, became), count in counts.items() if each == kind}
        print(f"{kind}: {of_kind.get('killed', 0)} of {sum(of_kind.values())} killed {of_kind}")


if __name__ == "__main__":
    main()
