"""Verbs as a person types them."""

from typer.testing import CliRunner, Result

from slackoff.cli.app import app


def call(*arguments: object) -> Result:
    """Run a verb."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def mistake(*arguments: object) -> str:
    """The one sentence with which a verb refuses."""
    found = call(*arguments)
    assert found.exit_code == 2
    assert len(found.stderr.strip().splitlines()) == 1
    assert found.stderr.startswith("error: ")
    return found.stderr
