"""Several processes for one cell: torchrun starts them, each trains on its share of every batch."""

import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

from slackoff.errors import SlackoffError
from slackoff.handover import Handover
from slackoff.record.owner import Owner
from slackoff.record.signals import SIGNALS, Stopped
from slackoff.record.status import Status, read_status


def train_in_ranks(folder: Path, status: Status, handover: Handover) -> None:
    """Let torchrun train a cell in ``handover.ranks`` processes; ``status`` then says what the first of them wrote.

    Raises:
        SlackoffError: they failed.
        Stopped: they were asked to stop.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={handover.ranks}"]
    this = Owner.this()
    handed = replace(handover, supervisor=(this.pid, this.started))
    environment = {**os.environ, **handed.as_environment()}
    process = subprocess.Popen([*command, "-m", "slackoff.rank", str(folder)], env=environment)
    for number in SIGNALS:
        signal.signal(number, lambda *_: process.send_signal(signal.SIGTERM))
    code = process.wait()
    _adopt(status, folder)
    if status.state == "interrupted":
        raise Stopped
    if status.state == "failed" and status.last_error:
        raise SlackoffError(status.last_error)
    if code:
        raise SlackoffError(
            f"the {handover.ranks} ranks died (torchrun's exit code {code}); "
            f"their last words are in {folder / 'log.txt'}"
        )


def _adopt(status: Status, folder: Path) -> None:
    found = read_status(folder)
    assert found is not None
    for field in fields(Status):
        setattr(status, field.name, getattr(found, field.name))
