"""Training a finished cell longer: a new cell that goes on from the other's last checkpoint, under its own schedule.

Weights, averages, the optimiser's state and the number of the step are the other cell's; the learning rate is what the
new cell's schedule has at that step. So it ends as a cell that was trained that long from the start, where the rates
that the other one was trained under are the same.
"""

import warnings
from typing import Any

from omegaconf import DictConfig

from slackoff.config import build
from slackoff.record.checkpoint import ResumePoint, find_resume_point
from slackoff.tasks import Task


def point_to_continue(config: DictConfig) -> ResumePoint:
    """The last checkpoint of the cell ``continue_from``.

    Raises:
        SlackoffError: see ``slackoff.config.build.cell_to_continue``.
    """
    origin = build.cell_to_continue(config)
    found = find_resume_point(origin / "checkpoints", origin.name)
    return found._replace(notes=[*found.notes, f"goes on from step {found.step} of the cell {origin.name}"])


def under_own_schedule(task: Task, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The other cell's checkpoint with the learning rates that this task's schedule has at its step."""
    made: Any = task.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    with warnings.catch_warnings(action="ignore"):  # the schedule steps without the optimiser
        for _ in range(checkpoint["global_step"]):
            schedule.step()
    (state,) = checkpoint["optimizer_states"]
    fresh = optimizer.state_dict()["param_groups"]
    groups = [{**own, "params": other["params"]} for own, other in zip(fresh, state["param_groups"], strict=True)]
    return {
        **checkpoint,
        "optimizer_states": [{**state, "param_groups": groups}],
        "lr_schedulers": [schedule.state_dict()],
    }
