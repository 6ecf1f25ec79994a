"""Grids that are no plain products: axes that go together, cells left out with a reason, rows from a Python file."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.sweep import study as study_module
from slackoff.sweep.expand import Expander, expand_jobs
from slackoff.sweep.grids import jobs_of_lists, leave_out
from slackoff.sweep.plan import plan
from slackoff.sweep.python_grid import read_python

QUIET = Console(quiet=True)
FIXED = ["size=smoke", "network=unet_tiny"]
MANIFEST = ["+experiment=manifest", *FIXED]


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes grid.py into the folder that the test stands in."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        (tmp_path / "grid.py").write_text(text)
        return tmp_path / "grid.py"

    return write


def lists(**values: str) -> dict[str, list[str]]:
    return {key: [f"{key}={value}" for value in text.split(",")] for key, text in values.items()}


# Axes that go together.


def test_zipped_lists_give_pairs_and_the_others_a_product():
    values = lists(a="1,2,3", seed="0,1", b="4,5,6", c="x")
    assert jobs_of_lists(values, ["a", "b"]) == [
        [f"a={a}", f"b={b}", f"seed={seed}", "c=x"] for a, b in ((1, 4), (2, 5), (3, 6)) for seed in (0, 1)
    ]
    assert jobs_of_lists(values) == [list(job) for job in itertools.product(*values.values())]
    two = jobs_of_lists(lists(a="1,2", b="3,4", c="5,6", d="7,8"), [["a", "b"], ["d", "c"]])
    assert [" ".join(job) for job in two] == [
        f"a={a} b={b} d={d} c={c}" for a, b in ((1, 3), (2, 4)) for c, d in ((5, 7), (6, 8))
    ]


@pytest.mark.parametrize(
    ("together", "words"),
    [
        (["a", "b"], r"study.zip: the lists differ in length \(a 2, b 3\): give each as many values"),
        (["a", "bb"], "study.zip names bb, for which the command gives no values: did you mean 'b'"),
        (["a", "zoo"], "study.zip names zoo, .*: add zoo=VALUE,VALUE to the command"),
        ([["a", "c"], ["c", "d"]], "study.zip names c twice"),
        (["a"], "study.zip lists config keys whose values go together, at least two"),
        ([["a", "c"], "d"], "study.zip lists config keys whose values go together"),
    ],
)
def test_what_cannot_be_zipped_is_said(together, words: str):
    with pytest.raises(SlackoffError, match=words):
        jobs_of_lists(lists(a="1,2", b="3,4,5", c="6,7", d="8,9"), together)


# Cells that are left out.


def test_cells_are_left_out_by_conditions_and_rows_with_their_reason(grid, expander: Expander):
    path = grid(
        "def rows():\n"
        "    for network in ('unet_tiny', 'resnet_small'):\n"
        "        for count in (4, 8, 16):\n"
        "            skip = 'too many' if count == 16 else ''\n"
        "            yield {'network': network, 'background.patch_count': count, 'skip': skip}\n"
    )
    skip = "study.skip=[{network:resnet_small,background.patch_count:[8,9],reason:'seen before'}]"
    given = ["+experiment=manifest", "size=smoke", f"study.manifest={path}", skip]
    jobs, configs = expand_jobs([given], expander, QUIET, given)
    kept, kept_configs, skipped = leave_out(jobs, configs)
    assert [(c["network"]["name"], c["background"]["patch_count"]) for c in kept_configs] == [
        ("unet_tiny", 4),
        ("unet_tiny", 8),
        ("resnet_small", 4),
    ]
    assert [str(each) for each in skipped] == [
        "skipped: grid.py, row 3: too many",
        "skipped: grid.py, row 5: seen before",
        "skipped: grid.py, row 6: too many",
    ]
    cells = plan(kept_configs, [job.overrides for job in kept])
    study_module._write_study(cells, path.parent / "study", skipped)
    told = json.loads((path.parent / "study/study.json").read_text())["skipped"]
    assert [each["reason"] for each in told] == ["too many", "seen before", "too many"]
    assert told[1]["overrides"][:2] == ["network=resnet_small", "background.patch_count=8"]


@pytest.mark.parametrize(
    ("skip", "words"),
    [
        ("[{network:unet_tiny}]", "study.skip lists mappings of config keys to values with a reason"),
        ("[{reason:no}]", "study.skip lists mappings"),
        (
            "[{netwrok:unet,reason:no}]",
            "study.skip names netwrok, which is no key of the config: did you mean 'network'",
        ),
        ("[{network:unet_tiny,reason:never}]", r"Every cell is skipped \(never\): take a condition out"),
    ],
)
def test_what_is_no_condition_is_said(skip: str, words: str, expander: Expander):
    jobs, configs = expand_jobs([[*FIXED, f"study.skip={skip}"]], expander, QUIET)
    with pytest.raises(SlackoffError, match=words):
        leave_out(jobs, configs)


# Rows from a Python file.


def test_both_ways_to_write_a_grid_give_the_cells_of_a_product_in_any_order(grid, expander: Expander):
    counts, steps = (4, 8), (10, 20)
    product = [[*FIXED, f"background.patch_count={n}", f"schedule.steps={s}"] for n in counts for s in steps]
    expected = {cell.id for cell in plan([expander(job) for job in product], product)}
    written = [
        "def rows():\n    for s in (20, 10):\n        for n in (8, 4):\n"
        "            yield {'schedule.steps': s, 'background.patch_count': n, 'serves': 'a figure'}\n",
        "import numpy as np\ndef grid(add):\n    for n in np.array([8, 4]):\n        add({'background.patch_count': n},"
        " **{'schedule.steps': 10})\n        add(**{'background.patch_count': n, 'schedule.steps': 20})\n",
    ]
    for text in written:
        given = [*MANIFEST, f"study.manifest={grid(text)}"]
        jobs, configs = expand_jobs([given], expander, QUIET, given)
        random.Random(0).shuffle(configs)
        assert {cell.id for cell in plan(configs, [job.overrides for job in jobs])} == expected
    pairs = jobs_of_lists(lists(**{"background.patch_count": "4,8", "schedule.steps": "10,20"}), [])
    assert {cell.id for cell in plan([expander([*FIXED, *job]) for job in pairs], pairs)} == expected


def test_what_lies_beside_the_file_can_be_imported(grid):
    path = grid("from mine_beside import COUNTS\ndef rows():\n    return [{'seed': n} for n in COUNTS]\n")
    (path.parent / "mine_beside.py").write_text("COUNTS = (3, 5)\n")
    assert [row.assignments for row in read_python(path)] == [{"seed": "seed=3"}, {"seed": "seed=5"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", r"^grid.py has no function rows\(\) that yields mappings, and no grid\(add\) that adds them$"),
        ("def rows():\n    yield {}\n    1 / 0\n", "^grid.py, line 3: ZeroDivisionError: division by zero$"),
        ("def rows(:\n", "^grid.py, line 1: SyntaxError: invalid syntax"),
        ("def rows():\n    return []\n", "^grid.py yields no rows: yield a mapping"),
        ("def rows():\n    yield 'seed=1'\n", "^grid.py, row 1 is 'seed=1', and no mapping"),
        ("def rows():\n    yield {'seed': object()}\n", "^grid.py, row 1: seed is a object: give a number"),
        ("def rows():\n    yield {'serves': 'x'}\n", "^grid.py, row 1 sets nothing"),
        ("def rows():\n    yield {'runs': '/x'}\n", "^grid.py, row 1 sets runs, which only the command line can"),
        (
            "def rows():\n    while True:\n        yield {'seed': 1}\n",
            "^grid.py yields more than 1,000 rows: let it end",
        ),
    ],
)
def test_what_is_no_grid_is_said(text: str, words: str, grid, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("slackoff.sweep.python_grid.MOST_VALUES", 1000)
    with pytest.raises(SlackoffError, match=words):
        read_python(grid(text))


def test_a_python_file_runs_only_where_the_command_line_names_it(grid, tmp_path: Path, expander: Expander):
    """An experiment, or parameters of a sweeper in one, may come from anybody."""
    path = grid(f"open({str(tmp_path / 'made')!r}, 'w')\ndef rows():\n    yield {{'seed': 1}}\n")
    job = [*MANIFEST, f"study.manifest={path}"]
    for typed in ((), FIXED, ["study.name=study.manifest=grid.py"]):
        with pytest.raises(SlackoffError, match=f"add study.manifest={path} to the command"):
            expand_jobs([job], expander, QUIET, typed)
        assert not (tmp_path / "made").exists()
    assert len(expand_jobs([job], expander, QUIET, [f"study.manifest={path}"])[0]) == 1
    assert (tmp_path / "made").exists()
