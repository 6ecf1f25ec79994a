"""One rank of a cell that several processes train. Run by torchrun as ``-m slackoff.rank FOLDER WORDS``."""

import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from slackoff import failure
from slackoff.errors import SlackoffError
from slackoff.handover import Exit, Handover
from slackoff.leave import leave
from slackoff.output import endure
from slackoff.ranks import LastWords
from slackoff.record.files import write_json
from slackoff.record.owner import Owner
from slackoff.record.signals import Stopped, handle, ignore
from slackoff.record.status import read_status

_BACKENDS = ("gloo", "NCCL")


def main(folder: Path, words: Path, handover: Handover) -> Exit:
    """Train this rank's share; the first rank keeps the status, each that cannot end its work writes why.

    Args:
        folder: the cell's.
        words: where ``LastWords`` are written.
        handover: from the driver.
    """
    handle(_stop)
    if handover.supervisor:  # it holds the claim: without it others may take the cell
        Owner.near(*handover.supervisor).ends_us_too(Exit.LOST)
    number = int(os.environ["RANK"])
    try:
        _train(folder, handover, number)
    except (Stopped, Exception) as error:
        ignore()  # torchrun sends a signal as soon as another rank has ended
        last = _last_words(error, folder)
        print(last.sentence or "stopped", file=sys.stderr)
        with suppress(OSError):
            last.write(words, number)
        return Exit.INTERRUPTED if last.kind == "stopped" else Exit.FAILED
    return Exit.DONE


def _stop(*_: object) -> NoReturn:
    """Before training is built up, which then listens itself."""
    raise Stopped


def _train(folder: Path, handover: Handover, number: int) -> None:
    import torch.distributed
    from omegaconf import DictConfig, OmegaConf

    from slackoff.record.environment import describe_environment
    from slackoff.training import Ranks, run_cell

    ranks = Ranks(number, int(os.environ["WORLD_SIZE"]))
    status = read_status(folder)
    assert status is not None
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    if ranks.first:
        write_json(folder / "environment.json", {**describe_environment(), "ranks": ranks.count})
    try:
        run_cell(config, folder, status, handover.process_start, ranks)
    finally:
        if ranks.first:
            with suppress(OSError):
                status.write(folder)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _last_words(error: BaseException, folder: Path) -> LastWords:
    if not isinstance(error, Exception):
        return LastWords("stopped", time.monotonic())
    text = "".join(traceback.format_exception(error))
    told = (time.monotonic(), failure.sentence(error, folder), text)
    return LastWords("lost", *told) if _of_connection(error) else LastWords("cause", *told)


def _of_connection(error: Exception) -> bool:
    """Whether an error is one of torch.distributed, whose gloo raises plain ``RuntimeError``."""
    if isinstance(error, SlackoffError) or not isinstance(error, RuntimeError):
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or any(name in str(error) for name in _BACKENDS)


if __name__ == "__main__":
    endure()
    leave(main(Path(sys.argv[1]), Path(sys.argv[2]), Handover.read()))
