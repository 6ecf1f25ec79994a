"""The process of one cell: claim it, train it, write down how that ended.

Run as ``python -m slackoff.cell FOLDER`` by the sweep, in a process of its own.
"""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from slackoff import failure
from slackoff.handover import Exit, Handover
from slackoff.leave import leave
from slackoff.output import endure
from slackoff.ranks import train_in_ranks
from slackoff.record.files import now, write_text
from slackoff.record.ledger import Claim, ClaimedError, Outcome, claim
from slackoff.record.owner import Owner
from slackoff.record.signals import Stopped
from slackoff.record.status import Status, read_status


def main(folder: Path, handover: Handover) -> Exit:
    """Train the cell whose ``config.yaml`` lies in ``folder``; its status and its ledger say how that went."""
    if handover.supervisor:
        Owner.near(*handover.supervisor).ends_us_too(Exit.LOST)
    try:
        if read_status(folder) is None:
            print(f"{folder} holds no cell: it has no status.json", file=sys.stderr)
            return Exit.NO_CELL
        attempt = claim(folder, handover.slot, handover.after)
    except ClaimedError as error:
        print(error, file=sys.stderr)
        return Exit.ELSEWHERE
    except OSError as error:
        print(failure.unwritable(error, folder), file=sys.stderr)
        return Exit.UNWRITTEN
    with Claim(attempt, _give_up) as held:
        try:
            outcome, reason = _attempt(folder, attempt.number, handover)
            held.end(outcome, reason)
        except OSError as error:
            print(failure.unwritable(error, folder), file=sys.stderr)
            return Exit.UNWRITTEN
    return Exit.of(outcome)


def _give_up() -> None:
    """End without another word in the record: it belongs to the process that took the cell over."""
    print("another process took this cell over", file=sys.stderr, flush=True)
    os._exit(Exit.LOST)


def _attempt(folder: Path, number: int, handover: Handover) -> tuple[Outcome, str | None]:
    status = read_status(folder)  # again: whoever held the cell before may have ended it since
    assert status is not None
    if status.state == "done":
        return "unneeded", None
    status.state, status.attempts, status.last_error = "running", number, None
    status.started_at = status.started_at or now()
    status.notes, status.seconds_to_first_step, status.finished_at = [], None, None
    try:
        status.write(folder)
        (folder / "error.txt").unlink(missing_ok=True)
        _train(folder, status, handover)
        status.state, status.step, status.finished_at = "done", status.steps_total, now()
        status.write(folder)
    except Stopped:
        status.state = "interrupted"
        status.write(folder)
        return "interrupted", None
    except Exception as error:
        return "failed", _write_failure(folder, status, error)
    return "done", None


def _train(folder: Path, status: Status, handover: Handover) -> None:
    if handover.ranks > 1:
        train_in_ranks(folder, status, handover)
        return
    from slackoff.training import train_alone  # imports torch; by now the cell is claimed

    train_alone(folder, status, handover.process_start)


def _write_failure(folder: Path, status: Status, error: Exception) -> str:
    status.state, status.finished_at = "failed", now()
    status.last_error = sentence = failure.sentence(error, folder)
    print(sentence, file=sys.stderr)
    with suppress(OSError):  # the ledger has the last word, and where that cannot be written, the driver
        status.write(folder)
    with suppress(OSError):
        write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    return sentence


if __name__ == "__main__":
    endure()
    leave(main(Path(sys.argv[1]), Handover.read()))
