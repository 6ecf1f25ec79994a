"""A search: its space in Hydra's words, trials that are cells, whatever is killed and however many drivers share it."""

import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console

from hydra_plugins.slackoff_sweeper import OptunaSweeper
from slackoff.analysis.search import search_caption, search_figure, search_table
from slackoff.cell.launch import CellExit
from slackoff.cli.hydra_app import run
from slackoff.errors import SlackoffError
from slackoff.record.ledger import Owner
from slackoff.record.search import Aim, SearchRecord, Trial, read_search
from slackoff.record.status import Status
from slackoff.sweep import cost
from slackoff.sweep.backend import Backend, Resources, RunningCell, Slot
from slackoff.sweep.expand import Expander
from slackoff.sweep.local import LocalBackend
from slackoff.sweep.objective import Objective, objectives_of
from slackoff.sweep.plan import Cell
from train_here import train_here

optuna = pytest.importorskip("optuna", reason="needs the extra optuna")

from slackoff.sweep.search import JOURNAL, Search, SearchSettings  # noqa: E402
from slackoff.sweep.search_space import Space  # noqa: E402

QUIET = Console(quiet=True)
PSNR = Objective("psnr_rgb", "maximize")


def space(*overrides: str) -> Space:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return Space({each.get_key_element(): each for each in parsed})


RATE_AND_COUNT = ("rate=tag(log,interval(1e-4,1e-2))", "count=4,8,16")

Make = Callable[..., Search]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A search over a rate and a count, whose cells are folders."""

    def cell(number: int, params: dict[str, Any]) -> Cell:
        identity = f"cell-{params['rate']:.6g}-{params['count']}"
        content = {"schedule": {"steps": 20}, "study": {"objective": "psnr_rgb"}, "trainer": {"precision": "32-true"}}
        content |= {"evaluation": {"protocol": {}}}
        return Cell(identity, content, tmp_path / "runs/cells" / identity, {}, {"trial": number, **params})

    def search(trials: int = 8, sampler: str = "tpe", pruner: str = "none", overrides=RATE_AND_COUNT) -> Search:
        settings = SearchSettings(trials, sampler, 0, pruner)
        return Search(tmp_path / "study", space(*overrides), [PSNR], settings, cell)

    return search


def end(cell: Cell, state: Any = "done", value: float | None = None) -> None:
    """Leave the record of a cell that ended; its value falls with the distance of the rate from 0.001."""
    rate = cell.axes["rate"]
    value = -abs(math.log10(rate) + 3) if value is None else value
    cell.folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"step": 10, "test/psnr_rgb": value - 1},
        *([{"step": 20, "final/psnr_rgb": value}] if state == "done" else []),
    ]
    (cell.folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    replace(cell.first_status(), state=state).write(cell.folder)


def ask(search: Search) -> tuple[int, Cell]:
    found = search.ask()
    assert found is not None
    return found


class Instantly(Backend):
    """Ends each cell as soon as it is started, in the state that ``how`` gives."""

    def __init__(self, how: Callable[[Cell], str] = lambda _: "done") -> None:
        self.how, self.started = how, []

    def start(self, cell: Cell, slot: Slot, after: int) -> RunningCell:
        self.started.append(cell.id)
        return _Ended(cell, slot, after, self.how(cell))


class _Ended(RunningCell):
    def __init__(self, cell: Cell, slot: Slot, after: int, state: str) -> None:
        super().__init__(cell, slot, after)
        self.state = state
        end(cell, state)

    def ended(self) -> bool:
        return True

    def seconds(self) -> float:
        return 1.0

    def kill(self) -> None: ...

    def _send_stop(self) -> None: ...

    def _owns(self, attempt: object) -> bool:
        return True

    def _how_ended(self) -> CellExit | str:
        return CellExit.of(self.state)


def resources(backend: Backend, slots: int = 2) -> Resources:
    return Resources([Slot({}, f"slot {number}") for number in range(slots)], lambda: backend)


# The space.


def test_the_space_is_what_hydra_sweeps_over():
    found = space(
        "a=interval(0.1,2)",
        "b=tag(log,interval(1e-4,1e-2))",
        "c=int(interval(1,64))",
        "d=range(1,10)",
        "e=range(0,1,0.25)",
        "f=x,y",
        "g=choice(3,'p q')",
        "h=tag(log,int(interval(1,64)))",
    ).distributions
    distributions = optuna.distributions
    assert found == {
        "a": distributions.FloatDistribution(0.1, 2.0),
        "b": distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "c": distributions.IntDistribution(1, 64),
        "d": distributions.IntDistribution(1, 9),
        "e": distributions.FloatDistribution(0.0, 0.75, step=0.25),
        "f": distributions.CategoricalDistribution(["x", "y"]),
        "g": distributions.CategoricalDistribution(["3", r"p\ q"]),
        "h": distributions.IntDistribution(1, 64, log=True),
    }


def test_corners_have_each_end_and_each_choice_once():
    found = space("a=interval(0.1,2)", "f=x,y,z")
    assert found.corners() == [{"a": 0.1, "f": "x"}, {"a": 2.0, "f": "x"}, {"a": 0.1, "f": "y"}, {"a": 0.1, "f": "z"}]
    assert found.overrides({"a": 0.123456789, "f": "y"}) == ["a=0.123457", "f=y"]
    assert str(found) == "a 0.1 to 2, f x|y|z"
    narrow = space("a=interval(0.33333333,0.33333334)")  # closer than six digits tell
    assert narrow.overrides({"a": 0.33333334}) == ["a=0.33333333"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "has nothing to search over: give a key several values"),
        (["a=interval(2,1)"], r"a cannot be searched over as a=interval\(2,1\): "),
        (["a=tag(log,interval(0,1))"], "a cannot be searched over as"),
        (["a=tag(log,choice(1,2))"], r"a: tag\(log,...\) is for interval and range"),
        (["a=tag(normal,interval(0,1))"], "a: the tag normal is not known"),
    ],
)
def test_what_is_no_space_is_said(overrides: list[str], words: str):
    with pytest.raises(SlackoffError, match=words):
        space(*overrides)


# Objectives.


def test_measures_are_taken_in_the_direction_in_which_they_are_better(expander: Expander):
    config = expander(["size=smoke"])

    def asked(objective: Any) -> list[Objective]:
        return objectives_of({**config, "study": {**config["study"], "objective": objective}})

    assert asked(None) == []
    assert asked("psnr_rgb") == [PSNR]
    assert asked(["psnr_rgb", "e_b_pooled"]) == [PSNR, Objective("e_b_pooled", "minimize")]
    assert asked({"e_r": "minimize"}) == [Objective("e_r", "minimize")]
    for wrong, words in (
        ("psnr", "study.objective=psnr is nothing .* measures are e_r, e_b, .*psnr_rgb, .*e_r_pooled"),
        ("psnr_rgb_input", "has no better direction: no network can change it"),
        (["e_r", "e_b", "psnr_y"], "study.objective has 3 measures: give one or two"),
    ):
        with pytest.raises(SlackoffError, match=words):
            asked(wrong)


# Trials.


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsgaii"])
def test_a_search_that_is_killed_goes_on_as_one_that_was_not(sampler: str, make: Make, tmp_path: Path):
    asked: list[list[Mapping[str, Any]]] = []
    for killed in (False, True):
        search, found = make(14, sampler), []
        for _ in range(14):
            search = make(14, sampler) if killed else search
            number, cell = ask(search)
            end(cell)
            search.tell(number, cell, "done")
            found.append(cell.axes)
        assert search.ask() is None
        asked.append(found)
        (tmp_path / "study" / JOURNAL).unlink()
    assert asked[0] == asked[1]
    assert [axes["trial"] for axes in asked[0]] == list(range(14))
    assert len({axes["rate"] for axes in asked[0]}) > 10


def test_trials_of_a_driver_that_is_gone_are_taken_up_and_those_of_others_are_not(make: Make, monkeypatch):
    search = make(3)
    gone = Owner.local(2**22 + 1, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "this", classmethod(lambda _: gone))
        number, cell = ask(search)
    others = [ask(make(3))]
    assert [others[0][0], others[0][1].id] == [number, cell.id]
    others += [ask(make(3)), ask(make(3))]
    assert [found[0] for found in others] == [0, 1, 2]
    assert make(3).ask() is None  # all three run, in a process that lives


def test_trials_of_another_machine_are_left_while_they_may_run(make: Make, monkeypatch):
    far = Owner("far", "another boot", 5, 1.0)
    search = make(2)
    with monkeypatch.context() as patch:
        patch.setattr(Owner, "this", classmethod(lambda _: far))
        ask(search)
    later = make(2)
    assert ask(later)[0] == 1
    later.monitor.stale_after_s = 0.0
    later.open.clear()
    assert ask(later)[0] == 0


def test_a_driver_trains_each_cell_once_and_reads_what_is_done(make: Make):
    first, second, third = Instantly(), Instantly(), Instantly()
    cells, statuses = make(4).run(resources(first), QUIET)
    assert [status.state for status in statuses] == ["done"] * 4
    make(8).run(resources(second), QUIET)
    make(8).run(resources(third), QUIET)
    assert len(first.started) == 4
    assert len({*first.started, *second.started}) == 8
    assert third.started == []
    trials = make(8).study.trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 8
    assert [trial.intermediate_values for trial in trials] == [{10: trial.value - 1} for trial in trials]
    best = max(trials, key=lambda trial: trial.value)
    (line,) = make(8).best()
    assert line.startswith(f"Best: trial {best.number}, cell {best.user_attrs['cell']}: psnr_rgb ")
    assert [cell.axes["trial"] for cell in cells] == [0, 1, 2, 3]


def test_the_same_parameters_are_one_cell_which_is_trained_once(make: Make):
    backend = Instantly()
    few = ("rate=0.001,0.01", "count=4,8")

    def number(search: Search) -> Search:
        made = search.make_cell
        search.make_cell = lambda trial, params: made(trial, {**params, "rate": float(params["rate"])})
        return search

    number(make(12, overrides=few)).run(resources(backend), QUIET)
    assert 2 <= len(backend.started) <= 4
    assert len(set(backend.started)) == len(backend.started)
    assert [trial.state.name for trial in make(12, overrides=few).study.trials] == ["COMPLETE"] * 12


def test_pruned_and_failed_trials_are_told_and_failed_ones_tried_again_by_the_next_command(make: Make):
    states = iter(["pruned", "failed", "done", "done"])
    cells, statuses = make(4).run(resources(Instantly(lambda _: next(states)), 1), QUIET)
    assert [status.state for status in statuses] == ["pruned", "failed", "done", "done"]
    told = [(trial.state.name, trial.value) for trial in make(4).study.trials[:2]]
    assert told[0][0] == "PRUNED"
    assert told[0][1] == make(4).study.trials[0].intermediate_values[10]
    assert told[1] == ("FAIL", None)
    again = Instantly()
    make(4).run(resources(again), QUIET)
    assert again.started == [cells[1].id]
    assert [trial.number for trial in make(4).trials()] == [0, 2, 3, 4]
    last = Instantly()
    make(4).run(resources(last), QUIET)
    assert last.started == []


def test_a_value_that_is_no_number_counts_as_failed(make: Make):
    search = make(1)
    number, cell = ask(search)
    end(cell, "done", math.nan)
    assert search.tell(number, cell, "done") == f"trial 0: cell {cell.id} has no psnr_rgb, it counts as failed"
    assert search.best() == ["No trial is done: nothing is the best."]


def test_parameters_that_make_no_config_together_cost_a_trial_and_a_sentence(make: Make):
    search = make(3)
    made, refused = search.make_cell, SlackoffError("they do not go together")

    def some(number: int, params: dict[str, Any]) -> Cell:
        if number == 0:
            raise refused
        return made(number, params)

    search.make_cell = some
    assert ask(search)[0] == 1
    assert search.troubles[0].endswith("): they do not go together")
    assert search.study.trials[0].state.name == "FAIL"


def test_trials_of_somebody_else_are_no_parameters_of_ours(make: Make):
    """They would become overrides: where is written, what is run."""
    search = make(2)
    theirs = search.space.distributions | {"runs": optuna.distributions.CategoricalDistribution(["/somewhere"])}
    far = {"rate": optuna.distributions.FloatDistribution(0.1, 1.0, log=True)}
    for distributions in (theirs, search.space.distributions | far, far):
        search.study.ask(distributions)
    assert len(search.study.trials) == 3
    assert search.trials() == []
    asked = [ask(search) for _ in range(2)]
    assert all(search.space.holds({key: cell.axes[key] for key in ("rate", "count")}) for _, cell in asked)
    assert search.ask() is None


def test_a_damaged_journal_is_one_sentence(make: Make, tmp_path: Path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / JOURNAL).write_text('{"op_code": 0}\n{"op_code": 1}\n')
    with pytest.raises(SlackoffError, match=f"{JOURNAL} is damaged .*: move it away and run the same command again"):
        make()


# The command, and what it draws.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seed=1,2"], "A search needs study.objective: add study.objective=MEASURE, such as psnr_rgb"),
        (["study.objective=psnr_rgb"], "has nothing to search over"),
        (["study.objective=psnr", "seed=1,2"], "study.objective=psnr is nothing that the evaluation measures"),
        (["study.objective=psnr_rgb", "network=unet_tiny,unett"], "There is no network 'unett'"),
        (["study.objective=psnr_rgb", "schedule.learning_rate=interval(-1,1)"], "Invalid learning rate: -1.0"),
        (["study.objective=[e_r,e_b]", "seed=1,2", "hydra.sweeper.pruner=median"], "compares trials by one measure"),
        (
            ["study.objective=e_b", "seed=1,2", "hydra.sweeper.sampler=cmaes"],
            "hydra.sweeper.sampler=cmaes is not known",
        ),
        (["study.objective=e_b", "seed=1,2", "hydra.sweeper.trials=0"], "hydra.sweeper.trials=0 cannot be"),
        (["study.objective=e_b", "seed=1,2", "+study.manifest=table2"], "leave study.manifest and study.measure out"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(arguments, words: str, tmp_path: Path, monkeypatch, capsys):
    fixed = ["hydra/sweeper=optuna", "-m", "size=smoke", f"runs={tmp_path}/runs"]
    monkeypatch.setattr(sys, "argv", ["slackoff", *fixed, *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    sentence = capsys.readouterr().err.strip()
    assert words in sentence
    assert len(sentence.splitlines()) == 1
    assert not (tmp_path / "runs/studies").exists()


def test_without_optuna_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(OptunaSweeper.sweep.__globals__, "find_spec", lambda _: None)
    with pytest.raises(SlackoffError, match=r"needs Optuna: in the checkout, .venv/bin/pip install -e '.\[optuna\]'"):
        OptunaSweeper().sweep([])


def test_the_report_shows_history_importance_and_the_best():
    trials = [
        Trial(0, "complete", "a", {"seed": 1}, [20.0]),
        Trial(1, "pruned", "b", {"seed": 2}, [13.0]),
        Trial(2, "complete", "c", {"seed": 3}, [22.5]),
        Trial(3, "fail", None, {"seed": 4}, None),
    ]
    record = SearchRecord([Aim("psnr_rgb", "maximize")], ["seed"], {"seed": 1.0}, trials)
    table = search_table(record)
    assert table["psnr_rgb"].tolist()[:3] == [20.0, 13.0, 22.5]
    assert pd.isna(table["psnr_rgb"][3])
    history, importance = search_figure(record).axes
    assert history.get_lines()[0].get_ydata().tolist() == [20.0, 22.5]
    assert len(importance.patches) == 1
    assert "2 trials are done, 1 were pruned, 1 failed" in search_caption(record)
    assert "Best PSNR (RGB): 22.5 of trial 2 (seed 3)." in search_caption(record)


class _TrainedHere(_Ended):
    """A cell that the process of the tests trains, with the environment that its own would have."""

    def __init__(self, cell: Cell, slot: Slot, after: int) -> None:
        RunningCell.__init__(self, cell, slot, after)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in slot.environment.items():
                patch.setenv(name, value)
            self.code = train_here(cell.folder)

    def _how_ended(self) -> CellExit | str:
        return self.code


def test_the_command_searches_prunes_and_draws_and_its_repetition_trains_nothing(tmp_path, monkeypatch, capsys):
    started: list[str] = []

    def start(_: object, cell: Cell, slot: Slot, after: int) -> RunningCell:
        started.append(cell.id)
        return _TrainedHere(cell, slot, after)

    monkeypatch.setattr(LocalBackend, "start", start)
    command = ["hydra/sweeper=optuna", "-m", "size=smoke", "network=unet_tiny", "logger.wandb=false", "seed=0"]
    command += ["evaluation.count=2", "evaluation.quick_count=1", "study.objective=psnr_rgb", "study.prune_below=17"]
    command += ["schedule.learning_rate=tag(log,interval(1e-7,1e-2))", "hydra.sweeper.trials=3"]
    command += ["hydra.sweeper.sampler=random", "hydra.launcher.slots=1", f"runs={tmp_path}/runs"]

    def search() -> str:
        monkeypatch.setattr(sys, "argv", ["slackoff", *command])
        run()
        return capsys.readouterr().out

    first = search()
    (study,) = (tmp_path / "runs/studies").iterdir()
    record = read_search(study)
    assert record is not None
    assert sorted(trial.state for trial in record.trials) == ["complete", "pruned", "pruned"]
    for trial in record.trials:
        cell = tmp_path / "runs/cells" / str(trial.cell)
        status = Status(**json.loads((cell / "status.json").read_text()))
        assert (status.state, status.attempts) == ("done" if trial.state == "complete" else "pruned", 1)
        assert status.label["learning_rate"] == trial.params["schedule.learning_rate"]
        if trial.state == "complete":
            assert trial.values == pytest.approx([pd.read_parquet(cell / "images.parquet")["psnr_rgb"].mean()])
    best = max((trial for trial in record.trials if trial.state == "complete"), key=lambda trial: trial.values)
    assert f"Best: trial {best.number}, cell {best.cell}: psnr_rgb {best.values[0]:.4g} with" in first
    assert (study / "figures/search.svg").stat().st_size > 1000
    assert '<section id="search">' in (study / "index.html").read_text()
    assert len(pd.read_csv(study / "tables/search.csv")) == 3

    assert "nothing to train" not in search()
    assert len(started) == 3
    assert read_search(study) == record


def test_the_commands_of_the_page_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """As dry runs, without the measuring of costs."""
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    commands = re.findall(r"^    python -m slackoff (.*)$", page, re.MULTILINE)
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "grid.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "_show_cost", lambda *_: None)
    monkeypatch.setattr(cost, "estimate_cost", lambda *_: None)
    shown = []
    for command in commands:
        words = shlex.split(command)
        monkeypatch.setattr(sys, "argv", ["slackoff", *words, *({"--dry-run"} - set(words))])
        run()
        shown.append(capsys.readouterr().out)
    zipped, skipped, grid, search, pruned = shown
    assert "2 cells: 0 done, 2 to train" in zipped
    assert "skipped: network=unet_small seed=1: one seed is enough" in skipped
    assert "3 cells: 0 done" in skipped
    assert "skipped: grid.py, row 6: diverges" in grid
    assert "6 cells: 0 done" in grid
    assert "Search: maximize psnr_rgb; 4 trials over schedule.learning_rate 0.0001 to 0.01 (log)" in search
    assert "2 cells: 0 done" in pruned
    assert not list(tmp_path.glob("runs/*"))
