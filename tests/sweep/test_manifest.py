"""Manifests: the shipped ones are what the paper asks for, and a bad row is named before anything is trained."""

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from slackoff.cli.hydra_app import run
from slackoff.errors import SlackoffError
from slackoff.sweep.expand import Expander, expand_jobs
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import jobs_of, read_manifest
from slackoff.sweep.plan import plan

CATEGORIES = ("celeba", "div2k", "manga109", "urban100")
Key = tuple[str, str, str, int, int]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes my.yaml into the folder that the test stands in."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
        return "my.yaml"

    return write


def expected_rows(resnet: str, unet: str, swinir: str, spdnet: str, rcdnet: str, most: int) -> dict[str, set[Key]]:
    """Section 7 of what is known about the paper, block by block: network, background, rain, count, seed."""
    counts = (*(2**power for power in range(3, 11)), most)
    table2 = {
        spdnet: [(most, "medium"), (512, "large"), (256, "large"), (128, "large")],
        rcdnet: [(most, "medium"), (64, "medium"), (512, "large"), (256, "large"), (128, "large")],
    }
    return {
        "stated": {(n, b, "medium", c, 0) for n, b, c in itertools.product((resnet, unet, swinir), CATEGORIES, counts)},
        "Fig 5": {(resnet, "div2k", r, c, 0) for r, c in itertools.product(("small", "large"), counts)},
        "Table 2": {(n, "div2k", r, c, 0) for n, rows in table2.items() for c, r in rows},
        "ours": {(resnet, "div2k", "medium", c, s) for s, c in itertools.product((1, 2, 3), (8, 64, 256, 1024, most))},
    }


@pytest.mark.parametrize(
    ("name", "networks", "most"),
    [
        ("paper150", ("resnet", "unet", "swinir", "spdnet", "rcdnet"), 30000),
        ("paper150_laptop", ("resnet_small", "unet_small", "swinir_small", "spdnet_small", "rcdnet_small"), 1536),
    ],
)
def test_paper150_has_the_cells_of_the_paper_and_each_once(
    name: str, networks: tuple[str, str, str, str, str], most: int, expander: Expander
) -> None:
    jobs = list(jobs_of(read_manifest(name), ["+experiment=manifest", f"study.manifest={name}"]))
    found: dict[str, set[Key]] = {}
    configs = [expander(job.overrides) for job in jobs]
    for job, config in zip(jobs, configs, strict=True):
        assert job.row is not None
        block = job.row.serves if job.row.basis == "inferred" else job.row.basis
        keys = ("network", "background", "rain")
        network, background, rain = (config[key]["name"] for key in keys)
        found.setdefault(block, set()).add(
            (network, background, rain, config["background"]["patch_count"], config["seed"])
        )
        assert (config["task"]["name"], config["evaluation"]["name"]) == ("supervised", "streaks")
    assert found == expected_rows(*networks, most)
    serves = Counter(job.row.serves for job in jobs if job.row)
    assert serves == {"Figs 4, 7, 10": 108, "Fig 5": 18, "Table 2": 9, "error bars of Fig 4": 15}
    cells = plan(
        configs, [job.overrides for job in jobs], [job.row for job in jobs], Fingerprints(missing_allowed=True)
    )
    assert len(cells) == 150
    assert set(cells[0].axes) == {"patch_count", "network", "background", "rain", "seed"}


def test_a_row_wins_over_common_and_the_command_line_over_both(written, expander: Expander) -> None:
    rows = read_manifest(
        written(
            """
common: {network: unet_tiny, seed: 1, schedule.steps: 7}
rows:
  - {seed: 2, background.patch_count: 8}
  - {background.patch_count: 16, task.learning_rate: 1e-3, study.title: "2026-01-01", evaluation.count: null}
  - {rain.length: [20, 30], fixed_rain_per_patch: true, study.question: "don't, {stop}", logger.project: 'a\\b'}
"""
        )
    )
    first, second, third = (expander(job.overrides) for job in jobs_of(rows, ["size=smoke", "schedule.steps=9"]))
    assert [config["seed"] for config in (first, second, third)] == [2, 1, 1]
    assert [config["background"]["patch_count"] for config in (first, second)] == [8, 16]
    assert {config["schedule"]["steps"] for config in (first, second, third)} == {9}
    assert second["task"]["learning_rate"] == 1e-3
    assert second["study"]["title"] == "2026-01-01"
    assert second["evaluation"]["count"] is None
    assert third["rain"]["length"] == [20, 30]
    assert third["fixed_rain_per_patch"] is True
    assert third["study"]["question"] == "don't, {stop}"
    assert third["logger"]["project"] == "a\\b"


def test_rows_that_the_command_line_makes_equal_are_one_cell(written, expander: Expander) -> None:
    name = written("rows:\n  - {network: unet_tiny, seed: 1}\n  - {network: unet_tiny, seed: 2}\n")
    given = ["+experiment=manifest", f"study.manifest={name}"]
    counts = []
    for more in ([], ["seed=5"], ["schedule.steps=3"]):
        jobs, configs = expand_jobs([[*given, *more]], expander, Console(quiet=True))
        counts.append(len(plan(configs, [job.overrides for job in jobs], [job.row for job in jobs])))
    assert counts == [2, 1, 2]


def test_several_jobs_of_the_command_line_each_ask_for_all_rows(written, expander: Expander) -> None:
    name = written("rows:\n  - {rain: small}\n  - {rain: large}\n")
    overrides = [["+experiment=manifest", f"study.manifest={name}", f"seed={seed}"] for seed in (0, 1)]
    jobs, configs = expand_jobs(overrides, expander, Console(quiet=True))
    assert [(config["rain"]["name"], config["seed"]) for config in configs] == [
        ("small", 0),
        ("large", 0),
        ("small", 1),
        ("large", 1),
    ]
    assert [job.row.number for job in jobs if job.row] == [1, 2, 1, 2]


GOOD = "  - {network: unet_tiny}\n"
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "unknown key": (f"rows:\n{GOOD}  - {{netwrok: unet}}\n", ["row 2 (line 3)", "'netwrok'", "'network'"]),
    "unknown inner key": (
        f"rows:\n{GOOD}  - {{network.widht: 3}}\n",
        ["row 2 (line 3)", "mean 'network.width'"],
    ),
    "unknown choice": ("rows:\n  - network: unett\n", ["row 1 (line 2)", "no network 'unett'", "did you mean 'unet'"]),
    "the same twice": (f"rows:\n{GOOD}{GOOD}", ["rows 1 (line 2) and 2 (line 3) are the same cell"]),
    "one identity": (f"rows:\n{GOOD}\n  - {{network: unet_tiny, seed: 0}}\n", ["rows 1 (line 2) and 2 (line 4)"]),
    "one identity, other words": (
        "rows:\n  - {background: builtin, rain: small}\n  - {rain: small, logger.project: x}\n",
        ["rows 1 (line 2) and 2 (line 3) are the same cell"],
    ),
    "value not given": (
        f"rows:\n{GOOD}  - {{background: folder}}\n",
        ["row 2 (line 3)", "background.root is not"],
    ),
    "value left out": (f"rows:\n{GOOD}  - {{seed: }}\n", ["row 2 (line 3)", "seed has no value"]),
    "value out of place": (f"rows:\n{GOOD}  - {{seed: x}}\n", ["row 2 (line 3)", "seed=x"]),
    "key twice": ("rows:\n  - {seed: 1, seed: 2}\n", ["row 1 (line 2)", "seed is given twice"]),
    "no key": ("rows:\n  - {? [1] : 2}\n", ["row 1 (line 2)", "a config key is missing"]),
    "no mapping": ("rows:\n  - unet\n", ["row 1 (line 2)", "no mapping"]),
    "nothing set": ("rows:\n  - {serves: Fig 1}\n", ["row 1 (line 2)", "sets nothing"]),
    "no rows": ("common: {seed: 1}\n", ["my.yaml has no rows"]),
    "other part": (f"common: {{seed: 1}}\nrow:\n{GOOD}", ["my.yaml: row is not known"]),
    "empty": ("", ["my.yaml has no rows"]),
    "no YAML": ("rows: [{", ["study.manifest=my.yaml cannot be read"]),
    "an object": ("rows:\n  - {seed: !!python/name:os.system }\n", ["row 1 (line 2)", "seed cannot be read"]),
    "no folder": ("rows:\n  - {background: celeba}\n", ["roots.celeba=data/celeba does not exist"]),
}


MANIFEST = ("+experiment=manifest", "-m", "size=smoke")


@pytest.mark.parametrize(("text", "parts"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_bad_row_is_one_sentence_and_nothing_is_trained(text: str, parts: list[str], written, mistake) -> None:
    sentence = mistake(*MANIFEST, "study.manifest=" + written(text))
    for part in ("my.yaml" if "row" in parts[0] else "", *parts):
        assert part in sentence


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ((*MANIFEST, "study.manifest=nowhere.yaml"), ["study.manifest=nowhere.yaml does not exist", "paper150"]),
        ((*MANIFEST, "study.manifest=paper15"), ["did you mean 'paper150'?"]),
        (MANIFEST, ["study.manifest is not given"]),
    ],
)
def test_a_manifest_that_is_not_there(command, parts: list[str], mistake) -> None:
    sentence = mistake(*command)
    assert all(part in sentence for part in parts)


def test_a_manifest_is_for_multiruns(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["slackoff", "+experiment=paper150", "size=smoke"])
    with pytest.raises(SystemExit):
        run()
    assert "add -m to the command" in capsys.readouterr().err


def test_a_mistake_names_a_manifest_elsewhere_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    path.write_text("rows: []\n")
    with pytest.raises(SlackoffError, match=f"^{path} has no rows"):
        read_manifest(str(path))
