"""An agent of a W&B sweep that runs our cells: it gives each command one run, and waits for what that measures."""

import logging
import os
from pathlib import Path

from slackoff.errors import SlackoffError

_log = logging.getLogger(__name__)


def agent_run() -> str | None:
    """The id of the run that an agent gave this command; None without an agent."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def refuse_many_cells(count: int) -> None:
    """An agent's command trains one cell: several would be written into one run.

    Raises:
        SlackoffError: there is an agent, and there are several cells.
    """
    if agent_run() and count > 1:
        raise SlackoffError(
            f"An agent of a W&B sweep gives one run, and this command has {count} cells: take -m out of the sweep's "
            "command and let its parameters name single values"
        )


def show_done_cell(folder: Path, project: str) -> None:
    """Replay a cell that was trained before into the run that the agent waits for; failing is said in the log only."""
    from slackoff.publishing.cell_run import replay_into

    try:
        project = os.environ.get("WANDB_PROJECT", project)
        replay_into(agent_run() or "", project, os.environ.get("WANDB_ENTITY"), folder)
    except Exception as error:  # W&B is a view: whatever it raises must not fail a command
        _log.warning("The cell is not shown in W&B (%s: %s)", type(error).__name__, error)
