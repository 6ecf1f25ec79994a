"""``python -m slackoff``: a known verb goes to the command line tool, everything else to Hydra."""

import os
import signal
import sys

from slackoff.errors import ignore_output_errors

VERBS = (
    "status",
    "report",
    "networks",
    "retry",
    "why",
    "clean",
    "import-weights",
    "derain",
    "export",
    "demo",
    "publish",
    "user-study",
)
LOOKS = ("--help", "-h", "--hydra-help", "--info", "-i", "--cfg", "-c")


def main() -> None:
    """Entry point of ``python -m slackoff`` and of the ``slackoff`` command."""
    # An agent of a W&B sweep waits for what its run measures.
    os.environ.setdefault("WANDB_MODE", "online" if os.environ.get("WANDB_SWEEP_ID") else "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    ignore_output_errors()
    looking = len(sys.argv) > 1 and sys.argv[1] in VERBS
    if looking or not {*LOOKS}.isdisjoint(sys.argv):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # what is piped into head may end early
    if looking:
        from slackoff.cli.app import app

        app(prog_name="slackoff")
    else:
        from slackoff.cli.hydra_app import run

        run()


if __name__ == "__main__":
    main()
