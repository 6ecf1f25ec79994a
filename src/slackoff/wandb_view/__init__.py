"""A study in W&B: its cells while they train, and all of it replayed from the record, with a workspace and a report.

W&B is a view: nothing here changes the record, fails a cell or a study, or deletes anything on a server. `content` is
what a run shows of a cell, `live` shows it while it trains, and `publish` replays cells and study from the record to a
`destination`, where it makes the workspace and the report. What an agent of a W&B sweep asks for is here.
"""

import os

from slackoff.errors import SlackoffError


def agent_run() -> str | None:
    """The id of the run that an agent of a W&B sweep gave this command and waits for; None without an agent."""
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
