"""What the networks of a study cost: parameters, operations, seconds per image. Read from network_costs.json."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from slackoff.analysis.runtime.summary import Timing, timing
from slackoff.errors import SlackoffError

FILE = "network_costs.json"
"""The file beside study.json in which a sweep keeps them."""


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs.

    `gflops`: 1e9 operations for one image, a multiply-add is two; NaN where they cannot be counted. `timing`: seconds
    per image, NaN where timing it failed, and `failure` says why.
    """

    parameters: int
    gflops: float
    timing: Timing
    failure: str = ""


@dataclass(frozen=True)
class NetworkCosts:
    """The costs by network, for square RGB images of `size_px` one at a time, on the machine that `hardware` names."""

    networks: dict[str, NetworkCost]
    size_px: int
    hardware: str


def network_costs(folder: Path) -> NetworkCosts | None:
    """The costs that were kept in a study's folder; None where none were.

    Raises:
        SlackoffError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        networks = {
            str(row["network"]): NetworkCost(
                int(row["parameters"]),
                math.nan if row["gflops"] is None else float(row["gflops"]),
                timing([float(seconds) for seconds in row["seconds"]]),
                str(row["failure"]),
            )
            for row in content["networks"]
        }
        return NetworkCosts(networks, int(content["settings"]["size_px"]), str(content["hardware"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlackoffError(
            f"{path} is damaged ({type(error).__name__}: {error}): remove it and run the study's command again, which "
            "measures anew and trains nothing that is done."
        ) from error
