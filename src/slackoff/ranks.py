"""Several processes for one cell: torchrun starts them, each trains on its share of every batch."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psutil

from slackoff.errors import SlackoffError
from slackoff.handover import Handover, launcher_variables
from slackoff.record.files import write_json
from slackoff.record.owner import Owner
from slackoff.record.signals import Stopped, handle
from slackoff.record.status import Status, read_status

_PROGRAM = ("-m", "slackoff.rank")
_POLL_S = 0.2
_SHUTDOWN_S = 120  # from a signal to torchrun itself to its SIGKILL; by default 30


@dataclass(frozen=True)
class LastWords:
    """How a rank that did not train to the end came to that.

    ``kind``: "cause" is an error of its own, "lost" one of the connection to the others, which may be no more than
    the consequence of what happened to one of them; "stopped" means that it was asked to stop. ``at``: seconds on the
    clock that all processes of a machine share.
    """

    kind: Literal["cause", "lost", "stopped"]
    at: float
    sentence: str = ""
    traceback: str = ""

    def write(self, folder: Path, rank: int) -> None:
        write_json(folder / f"{rank}.json", asdict(self))


def train_in_ranks(folder: Path, status: Status, handover: Handover) -> None:
    """Let torchrun train a cell in ``handover.ranks`` processes; ``status`` then says what the first of them wrote.

    Raises:
        SlackoffError: they failed; it is told as the first of them that has a cause of its own tells it.
        Stopped: they were asked to stop.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={handover.ranks}"]
    this = Owner.this()
    handed = replace(handover, supervisor=(this.pid, this.started))
    inherited = set(launcher_variables(os.environ))
    environment = {key: value for key, value in os.environ.items() if key not in inherited}
    environment |= {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_SHUTDOWN_S), **handed.as_environment()}
    request = _Request()
    with TemporaryDirectory(prefix="slackoff-ranks-") as words:
        code = request.pass_on(subprocess.Popen([*command, *_PROGRAM, str(folder), words], env=environment))
        said = sorted((_read(path) for path in Path(words).glob("*.json")), key=lambda each: each.at)
    _adopt(status, folder)
    if code:
        raise _ending(said, request.asked, code, handover.ranks, folder)


class _Request:
    """A request to stop, given to the ranks: torchrun would kill them after a while or, asked twice, leave them."""

    def __init__(self) -> None:
        self.asked = False
        handle(self._note)

    def _note(self, *_: object) -> None:
        self.asked = True

    def pass_on(self, torchrun: "subprocess.Popen[bytes]") -> int:
        """Wait for the end of torchrun, whose exit code is returned; a request goes to its ranks as they come."""
        told: set[psutil.Process] = set()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return torchrun.wait(_POLL_S)
            if self.asked:
                with suppress(psutil.Error):
                    for rank in set(psutil.Process(torchrun.pid).children()) - told:
                        told.add(rank)
                        rank.terminate()


def _read(path: Path) -> LastWords:
    return LastWords(**json.loads(path.read_text(encoding="utf-8")))


def _ending(said: list[LastWords], asked: bool, code: int, ranks: int, folder: Path) -> BaseException:
    """What to raise when not every rank trained to the end."""
    cause = next((each for each in said if each.kind == "cause"), None)
    if cause is not None:
        return _with_traceback(SlackoffError(cause.sentence), cause)
    # torchrun sends SIGTERM to the others when one dies; that one has left no words
    if asked or (len(said) == ranks and any(each.kind == "stopped" for each in said)):
        return Stopped()
    log = folder / "log.txt"
    lost = next((each for each in said if each.kind == "lost"), None)
    if lost is not None:
        error = SlackoffError(f"the {ranks} ranks lost each other ({lost.sentence}); if one died, {log} says of what")
        return _with_traceback(error, lost)
    return SlackoffError(f"the {ranks} ranks died (torchrun's exit code {code}); their last words are in {log}")


def _with_traceback(error: SlackoffError, words: LastWords) -> SlackoffError:
    error.add_note(f"In the rank:\n{words.traceback}")
    return error


def _adopt(status: Status, folder: Path) -> None:
    found = read_status(folder)
    assert found is not None
    for field in fields(Status):
        setattr(status, field.name, getattr(found, field.name))
