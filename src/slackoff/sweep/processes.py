"""Cells as processes: start one in a slot, see how it ended, stop it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from slackoff.record.atomic import write_text
from slackoff.record.status import Status, now
from slackoff.sweep.plan import Cell
from slackoff.sweep.slots import Slot

STOP_SIGNAL = signal.SIGTERM


@dataclass
class CellProcess:
    """A running cell."""

    cell: Cell
    slot: Slot
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, cell: Cell, slot: Slot) -> "CellProcess":
        """Start a cell on its own resolved config; the sweep's command line is not passed on."""
        environment = {**os.environ, **slot.environment, "SLACKOFF_PROCESS_START": str(time.time())}
        with (cell.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "slackoff.cell", str(cell.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        return cls(cell, slot, process)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def settle(self) -> Status:
        """The status after the process ended; one that died without a word is marked failed here."""
        status = self.cell.status()
        code = self.process.returncode
        if code == 3:
            status.last_error = "another process is training this cell at this moment: run the command again later"
            status.state = "failed"
        elif status.state in ("pending", "running"):
            status.state, status.finished_at = "failed", now()
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            status.last_error = f"the process died ({cause}); its last words are in {self.cell.folder / 'log.txt'}"
            write_text(self.cell.folder / "error.txt", status.last_error + "\n")
            status.write(self.cell.folder)
        return status

    def stop(self) -> None:
        """End the process and its helpers now; the last checkpoint stays."""
        if not self.ended():
            os.killpg(self.process.pid, STOP_SIGNAL)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
