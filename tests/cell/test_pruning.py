"""Cells that are ended early: by a threshold or by Optuna's pruner, as a state of its own, and resumable."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slackoff.cell import pruning
from slackoff.cell.launch import CellExit
from slackoff.cell.pruning import Pruning, PruningRule, TrialPlace, open_storage
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor, attempts
from slackoff.record.status import observed_status
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.plan import Cell
from train_here import measures, train_here, written


@pytest.mark.parametrize(
    ("rule", "step", "value", "words"),
    [
        (PruningRule("psnr_rgb", below=20), 10, 19.9, "is below 20"),
        (PruningRule("psnr_rgb", below=20), 10, 20.0, None),
        (PruningRule("e_b", above=3), 10, 3.5, "is above 3"),
        (PruningRule("e_b", above=3), 10, 3.0, None),
        (PruningRule("e_b", above=3, from_step=20), 10, 3.5, None),
        (PruningRule("e_b", above=3, from_step=20), 20, 3.5, "is above 3"),
        (PruningRule("e_b", above=3), 10, math.nan, "is no number"),
        (PruningRule("e_b"), 10, math.nan, None),
    ],
)
def test_which_values_cross_a_threshold(rule: PruningRule, step: int, value: float, words: str | None):
    assert rule.crossed(step, value) == words


def test_a_rule_comes_back_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    assert PruningRule.read() is None
    for trial in (None, TrialPlace("/a/b.journal", "search", 3, "median")):
        rule = PruningRule("psnr_rgb", 1.5, None, 7, trial)
        for name, value in rule.as_environment().items():
            monkeypatch.setenv(name, value)
        assert PruningRule.read() == rule


def test_a_pruned_cell_has_a_state_of_its_own_and_goes_on_to_the_same_weights(
    prepared: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    quick = ("evaluation.count=2", "evaluation.quick_count=1")
    cell, undisturbed = prepared(*quick), prepared(*quick, f"runs={tmp_path}/other")
    rule = PruningRule("psnr_rgb", below=1000.0, from_step=10)
    with monkeypatch.context() as patch:
        for name, value in rule.as_environment().items():
            patch.setenv(name, value)
        assert train_here(cell.folder) == CellExit.PRUNED
    status = written(cell.folder)
    assert (status.state, status.step, status.last_error) == ("pruned", 10, None)
    assert status.notes[-1].startswith("pruned at step 10: psnr_rgb ")
    assert status.notes[-1].endswith(" is below 1000")
    assert [attempt.outcome for attempt in attempts(cell.folder)] == ["pruned"]
    assert observed_status(cell.folder, HeartbeatMonitor()) == status
    assert rule.stands(cell.folder)
    assert not PruningRule("psnr_rgb", below=-1000.0).stands(cell.folder)
    assert not cell.is_over(status)  # this command has no rule
    assert prepare(cell, HeartbeatMonitor()).state == "pending"

    assert [train_here(each.folder) for each in (cell, undisturbed)] == [CellExit.DONE] * 2
    ours, theirs = (load_file(each.folder / "network.safetensors") for each in (cell, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert measures(cell.folder) == measures(undisturbed.folder)


def test_the_last_evaluation_prunes_nothing(prepared: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch):
    cell = prepared("evaluation.count=2", "evaluation.quick_count=1", "schedule.evaluate_every=20")
    for name, value in PruningRule("psnr_rgb", below=1000.0).as_environment().items():
        monkeypatch.setenv(name, value)
    assert train_here(cell.folder) == CellExit.DONE


def test_a_measure_that_is_not_measured_is_named():
    with pytest.raises(SlackoffError, match=r"study.objective=psnr is nothing .*: the measures are psnr_rgb"):
        Pruning(PruningRule("psnr", below=1.0), [], []).verdict(10, {"psnr_rgb": 3.0})


def test_the_median_pruner_ends_what_is_worse_than_the_trials_before(tmp_path: Path):
    optuna = pytest.importorskip("optuna", reason="needs the extra optuna")
    journal = tmp_path / "a.journal"
    study = optuna.create_study(study_name="search", storage=open_storage(journal), direction="maximize")
    for value in (20.0, 21.0, 22.0, 23.0, 24.0):
        trial = study.ask()
        trial.report(value, 10)
        study.tell(trial, value)
    notes: list[str] = []

    def verdict(value: float, earlier: list[dict[str, float]]) -> str | None:
        place = TrialPlace(str(journal), "search", study.ask().number, "median")
        return Pruning(PruningRule("psnr_rgb", trial=place), earlier, notes).verdict(10, {"psnr_rgb": value})

    assert verdict(21.9, []) == "pruned at step 10: psnr_rgb 21.9, by the median pruner against the other trials"
    assert verdict(22.1, []) is None
    assert verdict(21.9, [{"step": 5, "test/psnr_rgb": 25.0}]) is None  # the pruner takes the best value so far
    assert study.get_trials()[-1].intermediate_values == {5: 25.0, 10: 21.9}
    assert notes == []


def test_a_journal_that_cannot_be_used_does_not_stop_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("optuna", reason="needs the extra optuna")
    notes: list[str] = []
    rule = PruningRule("psnr_rgb", trial=TrialPlace(str(tmp_path / "gone" / "a"), "search", 0, "median"))
    judge = Pruning(rule, [], notes)
    assert judge.verdict(10, {"psnr_rgb": 1.0}) is None
    assert judge.verdict(20, {"psnr_rgb": 1.0}) is None
    assert len(notes) == 1
    assert notes[0].startswith("the pruner could not be asked (FileNotFoundError")


def test_the_pruners_that_are_named_are_optunas():
    optuna = pytest.importorskip("optuna", reason="needs the extra optuna")
    for name, kind in pruning.PRUNERS.items():
        assert type(pruning.make_pruner(name)) is getattr(optuna.pruners, kind)
    assert type(pruning.make_pruner("none")) is optuna.pruners.NopPruner
    with pytest.raises(SlackoffError, match=r"hydra.sweeper.pruner=mean is not known: choose one of none, median"):
        pruning.make_pruner("mean")
