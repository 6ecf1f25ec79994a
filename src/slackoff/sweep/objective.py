"""What a search looks for, and when it ends a cell early: ``study.objective`` and ``study.prune_...`` of a config."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from slackoff.cell.pruning import PruningRule, TrialPlace
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import HEADLINE_THRESHOLD, THRESHOLDS, measure_columns
from slackoff.record.files import read_lines
from slackoff.sweep.expand import Config

Direction = Literal["maximize", "minimize"]

_POOLED = "_pooled"
_POOLED_MEASURES = ("e_r", "e_b")


class Objective(NamedTuple):
    """A mean over the images of a cell's first test set, and which way is better."""

    measure: str
    direction: Direction

    def final(self, folder: Path) -> float | None:
        """Its value in the record of a cell that is done; None where the record has none.

        Raises:
            OSError: the record cannot be read.
        """
        key = f"final/{self.measure}"
        values = [float(row[key]) for row in read_lines(folder / "steps.jsonl") if key in row]
        return values[-1] if values else None


def objectives_of(config: Config) -> list[Objective]:
    """The one or two objectives of a config; none where it has none.

    ``study.objective`` is the name of a measure, a list of two, or a mapping of names to 'maximize' or 'minimize'; a
    name alone is taken in the direction in which it is better.

    Raises:
        SlackoffError: a measure that the evaluation does not have, or one without a better direction; more than two.
    """
    asked = config["study"].get("objective") or []
    names = [asked] if isinstance(asked, str) else asked
    given: dict[str, Any] = asked if isinstance(asked, dict) else dict.fromkeys(names)
    if len(given) > 2:
        raise SlackoffError(f"study.objective has {len(given)} measures: give one or two")
    return [_objective(name, direction, _measures(config)) for name, direction in given.items()]


def _objective(name: str, direction: Direction | None, measures: dict[str, Direction | None]) -> Objective:
    if name not in measures:
        useful = [each for each, better in measures.items() if better and "_t" not in each]
        raise SlackoffError(
            f"study.objective={name} is nothing that the evaluation measures: the measures are {', '.join(useful)}"
        )
    if (found := direction or measures[name]) is None:
        raise SlackoffError(
            f"study.objective={name} has no better direction: no network can change it, or write "
            f"'study.objective={{{name}: maximize}}'"
        )
    return Objective(name, found)


def _measures(config: Config) -> dict[str, Direction | None]:
    """The means of an evaluation, and which way each is better."""
    protocol = config["evaluation"]["protocol"]
    columns = measure_columns(
        protocol.get("thresholds", THRESHOLDS),
        protocol.get("headline", HEADLINE_THRESHOLD),
        protocol.get("channel", "rgb"),
    )
    directions: dict[str | None, Direction] = {"higher": "maximize", "lower": "minimize"}
    found = {name: directions.get(column.better) for name, column in columns.items()}
    return found | {f"{name}{_POOLED}": found[name] for name in _POOLED_MEASURES}


def pruning_rule(config: Config, trial: TrialPlace | None = None) -> PruningRule | None:
    """When the cells of a command are ended early: by the thresholds of its config, or by the pruner of its search.

    Raises:
        SlackoffError: thresholds without an objective.
    """
    study = config["study"]
    below, above = study.get("prune_below"), study.get("prune_above")
    if below is None and above is None and trial is None:
        return None
    objectives = objectives_of(config)
    if not objectives:
        raise SlackoffError(
            "study.prune_below and study.prune_above are held against study.objective: add study.objective=MEASURE, "
            "such as psnr_rgb"
        )
    return PruningRule(objectives[0].measure, below, above, study.get("prune_from") or 0, trial)
