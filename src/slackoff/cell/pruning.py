"""Ending cells that do not look promising: a threshold or one of Optuna's pruners, asked after each evaluation.

The rule comes with the command of a sweep, in the environment of the cell's process, and never from a record: the
journal of a search is opened where the person at the command line has it. A cell that is trained again without a rule
(``slackoff retry ID``) therefore goes on to its last step.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slackoff.errors import SlackoffError, check_choice
from slackoff.record.files import read_lines

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import JournalStorage
    from optuna.trial import Trial

INSTALL = "in the checkout, .venv/bin/pip install -e '.[optuna]'"
PRUNERS = {"median": "MedianPruner", "successive_halving": "SuccessiveHalvingPruner", "hyperband": "HyperbandPruner"}
"""Pruners by their names on the command line, with Optuna's defaults."""
MEASURED = "test/"
"""How the record names what the evaluations during training find: ``test/psnr_rgb``."""

_VARIABLE = "SLACKOFF_PRUNING"


@dataclass(frozen=True)
class TrialPlace:
    """Where a search keeps the trial that a cell is: its journal, the name of the study in it, the trial's number."""

    journal: str
    study: str
    number: int
    pruner: str


@dataclass(frozen=True)
class PruningRule:
    """When a cell is ended before its last step.

    Args:
        measure: which of the evaluation's means is looked at.
        below, above: a mean below or above these ends the cell, and so does one that is no number.
        from_step: the first step whose evaluation counts.
        trial: asks a pruner of Optuna; None for none.
    """

    measure: str
    below: float | None = None
    above: float | None = None
    from_step: int = 0
    trial: TrialPlace | None = None

    def as_environment(self) -> dict[str, str]:
        return {_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> "PruningRule | None":
        """From the environment of this process; None where its command prunes nothing."""
        if not (text := os.environ.get(_VARIABLE)):
            return None
        content = json.loads(text)
        return cls(**{**content, "trial": TrialPlace(**content["trial"]) if content["trial"] else None})

    def crossed(self, step: int, value: float) -> str | None:
        """Which threshold a value crosses, as the end of a sentence; None where it stands on the right side."""
        thresholds = (("below", self.below), ("above", self.above))
        if step < self.from_step or all(limit is None for _, limit in thresholds):
            return None
        if math.isnan(value):
            return "is no number"
        for word, limit in thresholds:
            if limit is not None and (value < limit if word == "below" else value > limit):
                return f"is {word} {limit:g}"
        return None

    def stands(self, folder: Path) -> bool:
        """Whether a cell that was pruned would be pruned by this rule at its last evaluation, too.

        A verdict of Optuna's pruner stands: it is kept with the trial.

        Raises:
            OSError: the record cannot be read.
        """
        if self.trial is not None:
            return True
        rows = measured(read_lines(folder / "steps.jsonl"), self.measure)
        return bool(rows) and self.crossed(*rows[-1]) is not None


def measured(rows: Sequence[Mapping[str, Any]], measure: str) -> list[tuple[int, float]]:
    """Steps and values of a measure at the evaluations during training, from the rows of ``steps.jsonl``."""
    return [(row["step"], float(row[MEASURED + measure])) for row in rows if MEASURED + measure in row]


class Pruning:
    """Gives a verdict on a cell after each of its evaluations.

    Args:
        rule: by which.
        earlier: rows of the record of earlier attempts on the cell; the pruner is told of them first.
        notes: where a sentence goes if the pruner cannot be asked: training then goes on.
    """

    def __init__(self, rule: PruningRule, earlier: Sequence[Mapping[str, Any]], notes: list[str]) -> None:
        self.rule, self.earlier, self.notes = rule, measured(earlier, rule.measure), notes

    def verdict(self, step: int, means: Mapping[str, float]) -> str | None:
        """Why the cell is to end now, in one sentence; None to go on.

        Raises:
            SlackoffError: the evaluation has no such measure.
        """
        if self.rule.measure not in means:
            raise SlackoffError(
                f"study.objective={self.rule.measure} is nothing that the evaluation measures: the measures are "
                f"{', '.join(means)}"
            )
        value = means[self.rule.measure]
        said = f"pruned at step {step}: {self.rule.measure} {value:.4g}"
        if crossed := self.rule.crossed(step, value):
            return f"{said} {crossed}"
        if self.rule.trial is not None and self._pruner_says_so(self.rule.trial, step, value):
            return f"{said}, by the {self.rule.trial.pruner} pruner against the other trials"
        return None

    def _pruner_says_so(self, place: TrialPlace, step: int, value: float) -> bool:
        from optuna.exceptions import OptunaError

        try:
            trial = _open_trial(place)
            report(trial, [*self.earlier, (step, value)])
            return step >= self.rule.from_step and trial.should_prune()
        except (OSError, OptunaError, LookupError, ValueError, RuntimeError) as error:
            note = f"the pruner could not be asked ({type(error).__name__}: {error})"
            if note not in self.notes:
                self.notes.append(note)
            return False


def report(trial: "Trial", values: Sequence[tuple[int, float]]) -> None:
    """Tell a trial values by their steps, each step once."""
    known = trial._cached_frozen_trial.intermediate_values
    for step, value in values:
        if step not in known:
            trial.report(value, step)


def open_storage(journal: Path) -> "JournalStorage":
    """The trials in a journal: a file of JSON lines that several machines may write at once, on NFS too."""
    from optuna import logging
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    logging.set_verbosity(logging.ERROR)
    return JournalStorage(JournalFileBackend(str(journal)))


def make_pruner(name: str) -> "BasePruner":
    """A pruner of Optuna by its name among `PRUNERS`."""
    import optuna

    check_choice(name, "hydra.sweeper.pruner", ("none", *PRUNERS))
    pruner: BasePruner = getattr(optuna.pruners, PRUNERS.get(name, "NopPruner"))()
    return pruner


def _open_trial(place: TrialPlace) -> "Trial":
    import optuna

    storage = open_storage(Path(place.journal))
    # Its own sampler would be asked for parameters of a trial that has them.
    sampler = optuna.samplers.RandomSampler(0)
    study = optuna.load_study(
        study_name=place.study, storage=storage, pruner=make_pruner(place.pruner), sampler=sampler
    )
    number = storage.get_trial_id_from_study_id_trial_number(study._study_id, place.number)
    return optuna.trial.Trial(study, number)
