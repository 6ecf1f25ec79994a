"""What two commits show of themselves, side by side: ``python tests/freeze.py BEFORE AFTER [--keep FOLDER]``.

A restructuring must not change what a user sees. Each tree (a commit, a folder, or ``.`` for this one) is asked through
its command line and its files alone, by the same code, in one run on one machine and with one Python: help texts,
composed configs, plans of the shipped experiments, the table of networks, and records of studies at smoke size with
their numbers, claims, tables and page texts. What has to differ (identities, times, dates, the commit) is masked. Every
other difference is printed, and makes the exit code 1. Changes that are meant stand in ``freeze_intended.yaml``.

All parts take about a quarter of an hour a tree on two cores; ``--only help configs`` takes some of them,
``--studies patchcount`` some of the studies.
"""

import argparse
import csv
import html
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import unified_diff
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks.structure import checked_out  # noqa: E402

INTENDED = Path(__file__).with_name("freeze_intended.yaml")

VERBS = ("status", "report", "networks", "retry", "clean", "import-weights", "derain", "export", "demo", "publish")
VERBS += ("user-study", "why")
SIZES = ("smoke", "laptop", "paper")
LAUNCHERS = ("local", "ray", "slurm")
PLACES = {
    "protocol": ("{group}@evaluation.protocol={name}",),
    "terms": ("task=multitask", "{group}@task.terms={name}"),
    "weighting": ("task=multitask", "{group}@task.weighting={name}"),
}
"""How the choices of groups are composed that do not stand at the top of a config."""
STUDIES = ("patchcount", "rainrange", "category", "transfer", "table2", "paper150", "balance", "zoo")
STUDIES += ("menet_ablation", "menet_table2", "menet_lossnet", "menet_slacking", "moss", "moss_ablation")
STUDIES += ("semi_generalisation",)
"""The studies whose cells need no data of the user at smoke size."""
CHEAP = ("size=smoke", "schedule.steps=4", "schedule.log_every=1", "schedule.evaluate_every=2", "evaluation.count=6")
CHEAP += ("trainer.precision=32-true", "logger.wandb=false")

MACHINE = {"ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MACHINE |= {"CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "offline", "COLUMNS": "250", "PYTHONDONTWRITEBYTECODE": "1"}
MACHINE |= {"TERM": "dumb", "NO_COLOR": "1"}

Item = list[str] | dict[str, Any]
"""One thing that a tree shows: lines of text, or leaves by their path."""
Snapshot = dict[str, Item]


# --- asking a tree ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """A checkout, and a folder of its own where its commands run.

    Args:
        root: of the checkout.
        folder: where commands run and records are written.
        studies: to train.
        sizes: at which experiments are composed and planned.
    """

    root: Path
    folder: Path
    studies: Sequence[str] = STUDIES
    sizes: Sequence[str] = SIZES

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **MACHINE, "PYTHONPATH": str(self.root / "src")}
        self.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "slackoff", *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def lines(self, *arguments: str) -> list[str]:
        """What a command prints; where it fails, the last lines of that, after one that tells the exit code."""
        process = self.start(*arguments)
        shown = process.communicate()[0].splitlines()
        return [f"FAILED with exit code {process.returncode}", *shown[-5:]] if process.returncode else shown

    def choices(self) -> dict[str, list[str]]:
        """Config groups and their choices, as ``--help`` lists them."""
        shown = "\n".join(self.lines("--help")).partition("Choices (group=choice):")[2]
        return {group: names.split(", ") for group, names in re.findall(r"^(\w+): (.+)$", shown, re.MULTILINE)}


def help_texts(tree: Tree) -> Snapshot:
    """Help of the program, of each verb, and of the verbs below them."""
    shown = {"": tree.lines("--help")}
    waiting = [*dict.fromkeys([*VERBS, *re.findall(r"python -m slackoff ([a-z][a-z-]*)(?=\s)", "\n".join(shown[""]))])]
    while waiting:
        verb = waiting.pop(0)
        shown[verb] = tree.lines(*verb.split(), "--help")
        _, commands, listed = "\n".join(shown[verb]).partition("─ Commands ─")
        waiting += [f"{verb} {name}" for name in re.findall(r"^│ ([a-z][a-z-]*) ", listed, re.MULTILINE) if commands]
    return {f"help of slackoff {verb}".strip(): lines for verb, lines in shown.items()}


def configs(tree: Tree) -> Snapshot:
    """The composed config of each experiment at each size, of each choice of each group alone, and the launchers."""
    groups = tree.choices()
    commands = [(f"+experiment={name}", f"size={size}") for name in groups.pop("experiment") for size in tree.sizes]
    commands += [
        tuple(text.format(group=group, name=name) for text in PLACES.get(group, ("{group}={name}",)))
        for group, names in groups.items()
        for name in names
    ]
    named = [(" ".join(command), (*command, "--cfg", "job")) for command in commands]
    launcher = ("--cfg", "hydra", "--package", "hydra.launcher")
    named += [(f"hydra/launcher={name}", (f"hydra/launcher={name}", *launcher)) for name in LAUNCHERS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        shown = pool.map(lambda command: tree.lines(*command[1]), named)
        return {f"config of {name}": _config(lines) for (name, _), lines in zip(named, shown, strict=True)}


def _config(lines: list[str]) -> Item:
    """Leaves without their targets: what builds an object may be called otherwise."""
    if lines[0].startswith("FAILED"):
        return lines
    leaves = flat(yaml.safe_load("\n".join(lines)))
    return {key: value for key, value in leaves.items() if not key.endswith("_target_")}


def plans(tree: Tree) -> Snapshot:
    """Cells and axes of each experiment at each size as a dry run lists them, without identities and costs."""
    commands = [(name, size) for name in tree.choices()["experiment"] for size in tree.sizes]

    def plan(command: tuple[str, str]) -> list[str]:
        return _plan(tree.start(f"+experiment={command[0]}", "-m", f"size={command[1]}", "--dry-run"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {
            f"plan of {name} at {size} size": lines
            for (name, size), lines in zip(commands, pool.map(plan, commands), strict=True)
        }


def _plan(process: subprocess.Popen[str]) -> list[str]:
    """What stands before the cost, which takes a while to measure."""
    shown = []
    assert process.stdout is not None
    for line in process.stdout:
        shown.append(masked(line).replace("~", ""))
        if re.match(r"\d[\d,]* cells?:", line):
            process.kill()
            break
    process.communicate()
    return sorted(" ".join(line.split()) for line in shown if line.strip())


def networks(tree: Tree) -> Snapshot:
    """The table of networks: parameters, operations and papers."""
    lines = tree.lines("networks", "--json")
    return {"networks": lines if lines[0].startswith("FAILED") else flat(json.loads("\n".join(lines)))}


def studies(tree: Tree) -> Snapshot:
    """Trained studies at smoke size: numbers of every cell, claims, tables and texts."""
    snapshot: Snapshot = {}
    for name in tree.studies:
        snapshot |= _study(tree, name, *CHEAP)
    return snapshot


def measurements(tree: Tree) -> Snapshot:
    """The studies that train nothing, over tiny images of noise and tiny networks."""
    for stream, name in enumerate(("celeba", "div2k", "manga109", "urban100")):
        (tree.folder / "data" / name).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            pixels = np.random.default_rng([stream, number]).integers(0, 256, (64, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tree.folder / "data" / name / f"{number}.png")
    snapshot = _study(tree, "complexity", "size=smoke", "study.measure.patch_size_px=32")
    timed = ("study.measure.networks=[unet_tiny,resnet_small]", "study.measure.rounds=2", "study.measure.budget_s=0.1")
    runtime = _study(tree, "menet_runtime", "size=smoke", *timed)
    for name, item in runtime.items():  # times are everywhere in its texts; what is no time is in its rows
        if isinstance(item, list):
            runtime[name] = [re.sub(r"\d[\d.,]*(e-\d+)?", "#", line) for line in item]
    return {**snapshot, **runtime}


PARTS: dict[str, Callable[[Tree], Snapshot]] = {
    "help": help_texts,
    "configs": configs,
    "plans": plans,
    "networks": networks,
    "studies": studies,
    "measurements": measurements,
}


# --- reading a record -------------------------------------------------------------------------------------------------

MEASURED = re.compile(r"second|quartile|elapsed|started|finished|created|(\b|_)(ratio|rounds|hours|id)(\b|_)|git_")
"""Columns and keys that hold times, identities or the commit."""


def _study(tree: Tree, name: str, *overrides: str) -> Snapshot:
    """Run a study, and read what it left behind."""
    shown = tree.lines(f"+experiment={name}", "-m", *overrides)
    if shown[0].startswith("FAILED"):
        return {f"study {name}": shown}
    (listing,) = tree.folder.glob(f"**/studies/{name}-*/study.json")
    content = json.loads(listing.read_text(encoding="utf-8"))
    snapshot: Snapshot = {}
    for cell in content.pop("cells", []):
        label = " ".join(f"{axis}={value}" for axis, value in cell["axes"].items())
        (images,) = tree.folder.glob(f"**/{cell['id']}/images.parquet")
        (steps,) = tree.folder.glob(f"**/{cell['id']}/steps.jsonl")
        snapshot[f"images of {name}, cell {label}"] = rows(pd.read_parquet(images).to_dict("records"))
        logged = [json.loads(line) for line in steps.read_text(encoding="utf-8").splitlines()]
        snapshot[f"steps of {name}, cell {label}"] = rows(logged)
    kept = {key: value for key, value in flat(content).items() if not key.endswith("_target_")}
    snapshot[f"study.json of {name}"] = {key: _masked_leaf(key, value) for key, value in kept.items()}
    for path in sorted(listing.parent.rglob("*")):
        what = f"{path.relative_to(listing.parent)} of {name}"
        if path.name == "claims.json":
            snapshot[what] = _claims(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".parquet":
            snapshot[what] = rows(pd.read_parquet(path).to_dict("records"))
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                snapshot[what] = rows(list(csv.DictReader(file)))
        elif path.suffix == ".html":
            snapshot[what] = page_text(path.read_text(encoding="utf-8"))
    files = {masked(str(path.relative_to(listing.parent))) for path in listing.parent.rglob("*") if path.is_file()}
    snapshot[f"files of {name}"] = sorted(files)
    return snapshot


def _claims(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """By what they are about, not by their place."""
    return flat({"/".join(str(claim.get(key, "")) for key in ("family", "id", "group")): claim for claim in claims})


def rows(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Leaves of a table, without times and identities; numbers stay exact."""
    return {
        f"row {number}, {key}": masked(value) if isinstance(value, str) else str(value)
        for number, row in enumerate(records)
        for key, value in row.items()
        if not MEASURED.search(key)
    }


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Leaves of nested mappings and lists by their dotted path; an empty one is a leaf."""
    inside = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(inside, dict) or not inside:
        return {path: content}
    return {
        key: leaf
        for name, value in inside.items()
        for key, leaf in flat(value, f"{path}.{name}" if path else str(name)).items()
    }


def masked(text: str) -> str:
    """Text without identities of cells and studies and without dates."""
    text = re.sub(r"\b(\w+(?:-\w+)*-)[0-9a-f]{6}\b", r"\1<id>", text)
    text = re.sub(r"\b[0-9a-f]{40}\b|\b(?=\w*\d)[0-9a-f]{12}\b", "<id>", text)
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\+00:00)?", "<date>", text)


def _masked_leaf(key: str, value: Any) -> Any:
    return "<measured>" if MEASURED.search(key) else masked(value) if isinstance(value, str) else value


INLINE = "b|i|em|strong|sub|sup|span|a|code|small|var|abbr|mark"


def page_text(page: str) -> list[str]:
    """The lines a reader sees, one a block or row, without identities, dates, times, targets and the number of keys."""
    page = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>", "", page)
    found = []
    for part in re.split(r"(?s)(<table\b.*?</table>)", page):
        found += _table_rows(part) if part.startswith("<table") else _blocks(part)
    lines = [masked(line) for line in found if "_target_" not in line]
    lines = [re.sub(r"[\d.,]+(?= (device-)?hours)", "#", line) for line in lines]
    return [re.sub(r"\(\d+ keys\)", "(# keys)", line) for line in lines]


def _blocks(part: str) -> list[str]:
    """The texts of a part of a page, block by block, also those in the place of pictures."""
    text = " ".join(part.split())
    text = re.sub(r'<[^<>]*\b(?:alt|title|aria-label)="([^"]+)"[^<>]*>', r"\n[\1]", text)
    text = re.sub(rf"</?(?!(?:{INLINE})\b)\w[^>]*>", "\n", text)
    lines = html.unescape(re.sub(r"<[^>]*>", "", text)).split("\n")
    return [line.strip() for line in lines if line.strip()]


def _table_rows(table: str) -> list[str]:
    """The rows of a table, its cells apart by bars; times are left out."""
    rows = [
        [" ".join(_blocks(cell)) for cell in re.findall(r"(?s)<t[dh]\b[^>]*>(.*?)</t[dh]>", row)]
        for row in re.findall(r"(?s)<tr\b.*?</tr>", table)
    ]
    heads, *rest = rows or [[]]
    lines = [" | ".join(heads)]
    for row in rest:
        named = zip_longest(heads, row, fillvalue="")
        cells = ["<measured>" if MEASURED.search(head) else cell for head, cell in named]
        lines.append(f"{row[0]} | <measured>" if row and MEASURED.search(row[0]) else " | ".join(cells))
    return lines


# --- comparing --------------------------------------------------------------------------------------------------------


Change = dict[str, str | None]


def expected(before: Snapshot, after: Snapshot, changes: list[Change]) -> tuple[Snapshot, Snapshot, list[int]]:
    """Apply the changes that are meant to what was before, and leave out what is meant to be new afterwards.

    Returns:
        Both snapshots, and how often each change applied.
    """
    new = [{**change, "before": change["after"], "after": None} for change in changes if change["before"] is None]
    old = [change for change in changes if change["before"] is not None]
    (before, of_old), (after, of_new) = _changed(before, old), _changed(after, new)
    used = {"old": iter(of_old), "new": iter(of_new)}
    return before, after, [next(used["new" if change["before"] is None else "old"]) for change in changes]


def _changed(snapshot: Snapshot, changes: list[Change]) -> tuple[Snapshot, list[int]]:
    used = [0] * len(changes)

    def line(item: str, text: str) -> str | None:
        for number, change in enumerate(changes):
            if re.search(change["where"] or "", item):
                text, count = re.subn(change["before"] or "", change["after"] or "", text)
                used[number] += count
                if count and change["after"] is None:
                    return None
        return text

    def pairs(item: str, leaves: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in leaves.items():
            changed = line(item, f"{key}: {value}")
            if changed == f"{key}: {value}":
                yield key, value
            elif changed is not None:
                yield changed.partition(": ")[0], changed.partition(": ")[2]

    found: Snapshot = {}
    for name, item in snapshot.items():
        renamed = line("item", name)
        if renamed is None:
            continue
        if isinstance(item, dict):
            found[renamed] = dict(pairs(name, item))
        else:
            found[renamed] = [text for text in (line(name, text) for text in item) if text is not None]
    return found, used


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Every difference in words; commands that fail in both trees count too."""
    found = []
    for name in sorted({*before, *after}):
        if name not in after or name not in before:
            found.append(f"{name}: only {'before' if name in before else 'after'}")
            continue
        old, new = before[name], after[name]
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [*old, *(key for key in new if key not in old)]:
                if key not in new:
                    found.append(f"{name}: {key} is gone, it was {old[key]!r}")
                elif key not in old:
                    found.append(f"{name}: {key} is new: {new[key]!r}")
                elif str(old[key]) != str(new[key]):
                    found.append(f"{name}: {key} was {old[key]!r}, is {new[key]!r}")
        elif old != new:
            texts = [item if isinstance(item, list) else [f"{len(item)} values"] for item in (old, new)]
            changed = [line for line in unified_diff(*texts, lineterm="", n=0) if not re.match(r"---|\+\+\+|@@", line)]
            found += [f"{name}: {'was' if line[0] == '-' else 'is '} {line[1:]}" for line in changed]
        if isinstance(new, list) and new and new[0].startswith("FAILED") and old == new:
            found.append(f"{name}: failed in both trees: {' / '.join(new)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="commit or folder")
    parser.add_argument("after", help="commit or folder")
    parser.add_argument("--keep", type=Path, help="folder for both snapshots as JSON")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts of a snapshot")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES, help="studies to train")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES, help="of composed configs and plans")
    arguments = parser.parse_args()
    snapshots: dict[str, Snapshot] = {"before": {}, "after": {}}
    with (
        tempfile.TemporaryDirectory() as temporary,
        checked_out(arguments.before) as before,
        checked_out(arguments.after) as after,
    ):
        roots = {"before": before, "after": after}
        for part in arguments.only:
            for when, snapshot in snapshots.items():
                print(f"{part} {when} ...", file=sys.stderr)
                folder = Path(temporary) / when
                snapshot |= PARTS[part](Tree(roots[when], folder, arguments.studies, arguments.sizes))
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for when, snapshot in snapshots.items():
            text = json.dumps(snapshot, indent=1, default=str, ensure_ascii=False)
            (arguments.keep / f"{when}.json").write_text(text + "\n", encoding="utf-8")
    changes = yaml.safe_load(INTENDED.read_text(encoding="utf-8")) or []
    old, new, used = expected(snapshots["before"], snapshots["after"], changes)
    found = differences(old, new)
    for line in found:
        print(line)
    for change, count in zip(changes, used, strict=True):
        print(f"meant ({count} times): {change['before']} -> {change['after']}: {change['why']}")
    items = sum(len(item) for item in snapshots["after"].values())
    print(f"{len(found)} differences in {len(snapshots['after'])} things with {items:,} lines and values")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
