"""``python -m slackoff``: a known verb goes to the command line tool, everything else to Hydra."""

import os
import signal
import sys

from slackoff.errors import EXIT_STOPPED, ignore_output_errors

LOOKS = ("--help", "-h", "--hydra-help", "--info", "-i", "--cfg", "-c")


def main() -> None:
    """Entry point of ``python -m slackoff`` and of the ``slackoff`` command."""
    # An agent of a W&B sweep waits for what its run measures.
    os.environ.setdefault("WANDB_MODE", "online" if os.environ.get("WANDB_SWEEP_ID") else "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    ignore_output_errors()
    try:
        _run()
    except KeyboardInterrupt:  # while the rest was being imported: all later ones have words of their own
        print("stopped before anything was begun", file=sys.stderr)
        sys.exit(EXIT_STOPPED)


def _run() -> None:
    import typer

    from slackoff.cli.app import app

    verbs = typer.main.get_command(app)
    assert isinstance(verbs, typer.core.TyperGroup)
    is_verb = len(sys.argv) > 1 and sys.argv[1] in verbs.commands
    if is_verb or not {*LOOKS}.isdisjoint(sys.argv):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # what is piped into head may end early
    if is_verb:
        verbs(prog_name="slackoff")
    else:
        from slackoff.cli.hydra_app import run

        run()


if __name__ == "__main__":
    main()
