"""The process of one cell: claim it, train it, write down how that ended.

Run as ``python -m slackoff.cell.process FOLDER`` by the sweep, in a process of its own.
"""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from slackoff.cell.launch import CellExit, LaunchOptions, Pruned, Stopped, exit_now
from slackoff.cell.ranks import train_in_ranks
from slackoff.errors import explain_error, explain_unwritable, ignore_output_errors
from slackoff.record.files import now, refuse_links_out, write_text
from slackoff.record.ledger import Claim, ClaimedError, Outcome, Owner, claim, end_attempt
from slackoff.record.status import Status, read_status


def main(folder: Path, options: LaunchOptions) -> CellExit:
    """Train the cell whose ``config.yaml`` lies in ``folder``; its status and its ledger say how that went."""
    if options.supervisor:
        Owner.local(*options.supervisor).exit_when_it_ends(CellExit.LOST)
    try:
        if read_status(folder) is None:
            print(f"{folder} holds no cell: it has no status.json", file=sys.stderr)
            return CellExit.NO_CELL
        attempt = claim(folder, options.slot, options.after)
        with Claim(attempt, _exit_as_lost):
            outcome, reason = _attempt(folder, attempt.number, options)
            end_attempt(attempt, outcome, reason)
    except ClaimedError as error:
        print(error, file=sys.stderr)
        return CellExit.ELSEWHERE
    except OSError as error:
        print(explain_unwritable(error, folder), file=sys.stderr)
        return CellExit.UNWRITTEN
    return CellExit.of(outcome)


def _exit_as_lost() -> None:
    """End without another word in the record: it belongs to the process that took the cell over."""
    print("another process took this cell over", file=sys.stderr, flush=True)
    os._exit(CellExit.LOST)


def _attempt(folder: Path, number: int, options: LaunchOptions) -> tuple[Outcome, str | None]:
    status = read_status(folder)  # again: whoever held the cell before may have ended it since
    assert status is not None
    if status.state == "done":
        return "unneeded", None
    status.state, status.attempts, status.last_error = "running", number, None
    status.started_at = status.started_at or now()
    status.notes, status.seconds_to_first_step, status.finished_at = [], None, None
    try:
        refuse_links_out(folder)
        status.write(folder)
        (folder / "error.txt").unlink(missing_ok=True)
        _train(folder, status, options)
        status.state, status.step, status.finished_at = "done", status.steps_total, now()
        status.write(folder)
    except Pruned as verdict:
        status.state, status.finished_at = "pruned", now()
        status.notes.append(str(verdict))
        status.write(folder)
        return "pruned", None
    except Stopped:
        status.state = "interrupted"
        status.write(folder)
        return "interrupted", None
    except Exception as error:
        status.state, status.finished_at = "failed", now()
        status.last_error = sentence = explain_error(error, folder)
        print(sentence, file=sys.stderr)
        with suppress(OSError):  # the ledger has the last word, and where that cannot be written, the driver
            status.write(folder)
        with suppress(OSError):
            write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
        return "failed", sentence
    return "done", None


def _train(folder: Path, status: Status, options: LaunchOptions) -> None:
    if options.ranks > 1:
        train_in_ranks(folder, status, options)
    else:
        from slackoff.cell.training import train  # imports torch; by now the cell is claimed

        train(folder, status, options.process_start)


if __name__ == "__main__":
    ignore_output_errors()
    exit_now(main(Path(sys.argv[1]), LaunchOptions.read()))
