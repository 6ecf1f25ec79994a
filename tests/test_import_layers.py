"""The arrows between the rooms, held by the contracts in .importlinter."""

import logging
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

CONTRACTS = Path(__file__).parents[1] / ".importlinter"


@pytest.fixture
def check(capsys, monkeypatch):
    monkeypatch.setattr("logging.config.dictConfig", lambda config: None)  # import-linter turns all other loggers off

    def run(contracts: Path) -> tuple[int, str]:
        code = lint_imports(config_filename=str(contracts), no_cache=True)
        return code, capsys.readouterr().out

    return run


def test_no_room_imports_a_later_one_and_plain_rooms_no_framework(check):
    logger = logging.getLogger("slackoff.of_another_test")
    code, output = check(CONTRACTS)
    assert not logger.disabled
    assert code == 0, output
    assert "4 kept, 0 broken" in output


@pytest.mark.parametrize(
    ("allowed", "refused", "complaint"),
    [
        ("    config\n    wandb_view\n", "    wandb_view\n    config\n", "0 broken"),
        ("    tasks\n    data\n", "    data\n    tasks\n", "slackoff.tasks.task -> slackoff.data"),
        ("    sweep\n    measurements\n", "    measurements\n    sweep\n", "-> slackoff.measurements"),
        ("    slackoff.tasks\n", "    slackoff.errors\n", "slackoff.record.status -> slackoff.errors"),
        ("    slackoff.analysis\n", "    slackoff.record\n", "slackoff.wandb_view.live -> slackoff.record"),
        ("    lightning\n", "    torchmetrics\n", "slackoff.metrics.metric_classes -> torchmetrics"),
        ("    sweep\n", "", "sweep"),
    ],
)
def test_the_contracts_see_a_wrong_arrow(check, tmp_path, allowed, refused, complaint):
    """Turned round, an arrow that the code has is refused; rooms that do not know each other may stand either way."""
    text = CONTRACTS.read_text()
    assert allowed in text
    turned = tmp_path / "turned.ini"
    turned.write_text(text.replace(allowed, refused))
    code, output = check(turned)
    assert complaint in output
    assert (code == 0) == ("0 broken" in complaint)
