"""Several processes for one cell: torchrun starts them, each trains on its share of every batch.

``train_in_ranks`` is called in the cell's process. A rank is run by torchrun as ``-m slackoff.cell.ranks FOLDER
REPORTS`` and writes into the folder REPORTS why it did not train to the end.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NoReturn

import psutil

from slackoff.cell.launch import (
    CellExit,
    LaunchOptions,
    Pruned,
    Stopped,
    exit_now,
    ignore_stop_signals,
    launcher_variables,
    on_stop_signal,
)
from slackoff.errors import SlackoffError, explain_error, ignore_output_errors
from slackoff.record.files import write_json
from slackoff.record.ledger import Owner
from slackoff.record.status import Status, read_status

_PROGRAM = ("-m", "slackoff.cell.ranks")
_POLL_S = 0.2
_SHUTDOWN_S = 120  # from a signal to torchrun itself to its SIGKILL; by default 30
_COMMUNICATION_BACKENDS = ("gloo", "NCCL")  # gloo raises plain RuntimeErrors


@dataclass(frozen=True)
class RankReport:
    """Why a rank did not train to the end.

    ``kind``: "error" is one of its own, "connection" one of the connection to the others, which may be no more than the
    consequence of what happened to one of them; "stopped" means that it was asked to stop, "pruned" that its sweep's
    rule ended it, for the reason in ``sentence``. ``at``: seconds on the clock that all processes of a machine share.
    """

    kind: Literal["error", "connection", "stopped", "pruned"]
    at: float
    sentence: str = ""
    traceback: str = ""


def train_in_ranks(folder: Path, status: Status, options: LaunchOptions) -> None:
    """Let torchrun train a cell in ``options.ranks`` processes; ``status`` then says what the first of them wrote.

    Raises:
        SlackoffError: they failed; the first of them that has an error of its own says why.
        Stopped: they were asked to stop.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
    this = Owner.this()
    environment = dict(os.environ)
    for name in launcher_variables(os.environ):
        del environment[name]
    environment |= replace(options, supervisor=(this.pid, this.started)).as_environment()
    environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(_SHUTDOWN_S)
    stop = _StopForwarder()
    with TemporaryDirectory(prefix="slackoff-ranks-") as place:
        code = stop.wait(subprocess.Popen([*command, *_PROGRAM, str(folder), place], env=environment))
        reports = [RankReport(**json.loads(path.read_text(encoding="utf-8"))) for path in Path(place).glob("*.json")]
    written = read_status(folder)
    assert written is not None
    for field in fields(Status):
        setattr(status, field.name, getattr(written, field.name))
    if code:
        raise _summary(reports, stop.asked, code, options.ranks, folder)


class _StopForwarder:
    """Passes a request to stop on to the ranks: torchrun would kill them after a while or, asked twice, leave them."""

    def __init__(self) -> None:
        self.asked = False
        on_stop_signal(lambda *_: setattr(self, "asked", True))

    def wait(self, torchrun: "subprocess.Popen[bytes]") -> int:
        """Wait for the end of torchrun, whose exit code is returned; a request goes to its ranks as they come."""
        signalled: set[psutil.Process] = set()
        while True:
            with suppress(subprocess.TimeoutExpired):
                return torchrun.wait(_POLL_S)
            if self.asked:
                with suppress(psutil.Error):
                    for rank in set(psutil.Process(torchrun.pid).children()) - signalled:
                        signalled.add(rank)
                        rank.terminate()


def _summary(reports: list[RankReport], asked: bool, code: int, ranks: int, folder: Path) -> BaseException:
    """What to raise when not every rank trained to the end."""
    first = {report.kind: report for report in sorted(reports, key=lambda report: report.at, reverse=True)}
    log = folder / "log.txt"
    if cause := first.get("error"):
        error = SlackoffError(cause.sentence)
    elif cause := first.get("pruned"):
        return Pruned(cause.sentence)
    elif asked or (len(reports) == ranks and "stopped" in first):  # one that died and so stopped the others has none
        return Stopped()
    elif cause := first.get("connection"):
        error = SlackoffError(f"the {ranks} ranks lost each other ({cause.sentence}); if one died, {log} says of what")
    else:
        return SlackoffError(f"the {ranks} ranks died (torchrun's exit code {code}); their last words are in {log}")
    error.add_note(f"In the rank:\n{cause.traceback}")
    return error


def main(folder: Path, reports: Path, options: LaunchOptions) -> CellExit:
    """Train this rank's share of the cell in ``folder``; the first rank keeps the status.

    A rank that cannot end its work writes a ``RankReport`` into ``reports``.
    """
    on_stop_signal(_raise_stopped)
    if options.supervisor:  # it holds the claim: without it others may take the cell
        Owner.local(*options.supervisor).exit_when_it_ends(CellExit.LOST)
    number = int(os.environ["RANK"])
    try:
        _train(folder, options, number)
    except (Stopped, Exception) as error:
        ignore_stop_signals()  # torchrun sends a signal as soon as another rank has ended
        report = _report(error, folder)
        print(report.sentence or "stopped", file=sys.stderr)
        with suppress(OSError):
            write_json(reports / f"{number}.json", asdict(report))
        return CellExit.INTERRUPTED if report.kind in ("stopped", "pruned") else CellExit.FAILED
    return CellExit.DONE


def _raise_stopped(*_: object) -> NoReturn:
    """Before training is built up, which then listens itself."""
    raise Stopped


def _train(folder: Path, options: LaunchOptions, number: int) -> None:
    import torch.distributed

    from slackoff.cell.training import Ranks, train

    ranks = Ranks(number, int(os.environ["WORLD_SIZE"]))
    status = read_status(folder)
    assert status is not None
    try:
        train(folder, status, options.process_start, ranks)
    finally:
        if ranks.first:
            with suppress(OSError):
                status.write(folder)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _report(error: BaseException, folder: Path) -> RankReport:
    if isinstance(error, Pruned):
        return RankReport("pruned", time.monotonic(), str(error))
    if not isinstance(error, Exception):
        return RankReport("stopped", time.monotonic())
    kind: Literal["error", "connection"] = "error"
    if isinstance(error, RuntimeError):
        from torch.distributed import DistError

        if isinstance(error, DistError) or any(name in str(error) for name in _COMMUNICATION_BACKENDS):
            kind = "connection"
    text = "".join(traceback.format_exception(error))
    return RankReport(kind, time.monotonic(), explain_error(error, folder), text)


if __name__ == "__main__":
    ignore_output_errors()
    exit_now(main(Path(sys.argv[1]), Path(sys.argv[2]), LaunchOptions.read()))
