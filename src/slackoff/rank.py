"""One rank of a cell that several processes train. Run by torchrun as ``-m slackoff.rank FOLDER``."""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import torch.distributed
from omegaconf import DictConfig, OmegaConf

from slackoff import failure
from slackoff.handover import Exit, Handover
from slackoff.leave import leave
from slackoff.output import endure
from slackoff.record.atomic import write_json, write_text
from slackoff.record.environment import describe_environment
from slackoff.record.owner import Owner
from slackoff.record.signals import Stopped
from slackoff.record.status import read_status
from slackoff.training import Ranks, run_cell


def main(folder: Path, handover: Handover) -> int:
    """Train this rank's share; the first rank keeps the status, the first to fail writes why."""
    if handover.supervisor:  # it holds the claim: without it others may take the cell
        Owner.near(*handover.supervisor).ends_us_too(Exit.LOST)
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    status = read_status(folder)
    assert status is not None
    try:
        config = OmegaConf.load(folder / "config.yaml")
        assert isinstance(config, DictConfig)
        if ranks.first:
            write_json(folder / "environment.json", {**describe_environment(), "ranks": ranks.count})
        run_cell(config, folder, status, handover.process_start, ranks)
    except Stopped:
        status.state = "interrupted"
    except Exception as error:
        status.state = "failed"
        status.last_error = failure.sentence(error, folder)
        print(status.last_error, file=sys.stderr)
        with suppress(OSError):
            status.write(folder)
        with suppress(OSError):
            write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
        return Exit.FAILED
    if ranks.first:
        status.write(folder)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return Exit.DONE


if __name__ == "__main__":
    endure()
    leave(main(Path(sys.argv[1]), Handover.read()))
