"""The cell that another one begins with: found by its id in a folder of runs, and whether it can be begun with."""

import re
from pathlib import Path

from slackoff.errors import SlackoffError
from slackoff.record.status import read_status

WEIGHTS = "network.safetensors"

_ID = re.compile("[0-9a-f]{4,12}")


def find_cell(identity: str, runs: Path) -> Path:
    """The folder of the one cell whose id begins like that.

    Raises:
        SlackoffError: there is none, or there are several.
    """
    cells = [path.parent for path in (runs / "cells").glob("*/status.json")]
    found = sorted(folder for folder in cells if identity and folder.name.startswith(identity))
    if found and (len(found) == 1 or found[0].name == identity):  # what is all of an id comes before longer ones
        return found[0]
    if found:
        some = ", ".join(path.name for path in found[:3]) + (", ..." if len(found) > 3 else "")
        raise SlackoffError(f"{len(found)} cells under {runs} begin with '{identity}' ({some}): give more of the id")
    raise SlackoffError(
        f"There is no cell '{identity}' under {runs}: python -m slackoff status --runs {runs} lists them"
    )


def done_cell(identity: str, runs: Path, key: str) -> Path:
    """The folder of a cell that another one begins with.

    Args:
        identity: the cell's id, or so much of its beginning that no other cell begins alike.
        runs: where the records are.
        key: the config key that names it, for messages.

    Raises:
        SlackoffError: as ``find_cell``; or it is not done, or its weights are gone.
    """
    try:
        folder = find_cell(identity, runs)
    except SlackoffError as error:
        raise SlackoffError(f"{key}={identity}: {error}") from error
    status = read_status(folder)
    if status is None or status.state != "done":
        raise SlackoffError(
            f"{key}={identity}: the cell {folder.name} is {status.state if status else 'not there'}, and only a done "
            "cell can be begun with: train it by a command of its own first, then run this one"
        )
    if not (folder / WEIGHTS).is_file():
        raise SlackoffError(f"{key}={identity}: {folder / WEIGHTS} is gone: train that cell again")
    return folder


def starting_weights(start_from: str, runs: Path) -> Path:
    """The weight file that ``start_from`` names: a file, or the weights of a done cell by its id.

    Raises:
        SlackoffError: as ``done_cell``. A file that is not there is left to its reader.
    """
    path = Path(start_from).expanduser()
    if path.exists() or not _ID.fullmatch(start_from):
        return path
    return done_cell(start_from, runs, "start_from") / WEIGHTS
