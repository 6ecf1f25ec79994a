"""What a sweep measures of its networks: once, of the networks as they are configured, and mistakes before training."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from slackoff.analysis.network_costs import FILE, network_costs
from slackoff.config.presets import compose_preset
from slackoff.errors import SlackoffError
from slackoff.sweep.network_costs import check_network_costs, keep_network_costs
from slackoff.sweep.plan import Cell

SETTINGS = {"size_px": 32, "rounds": 3, "budget_s": 0.2}


def cell(name: str, cost: Any = SETTINGS, **changes: Any) -> Cell:
    node = OmegaConf.to_container(compose_preset(name)) | changes
    content = {"network": node, "study": {"options": {"cost": cost} if cost else {}}}
    return Cell("0" * 12, content, Path(), {"network": node["name"]}, {})


def test_costs_are_kept_and_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell("unet_tiny"), cell("ddn_small"), cell("unet_tiny")]
    keep_network_costs(cells, tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert list(found.networks) == ["unet_tiny", "ddn_small"]
    assert [cost.parameters for cost in found.networks.values()] == [1727, 19737]
    assert all(cost.timing.median > 0 and not cost.failure for cost in found.networks.values())
    assert "Timing 2 networks" in capsys.readouterr().out
    before = (tmp_path / FILE).read_text()
    keep_network_costs(cells, tmp_path, Console())
    assert (tmp_path / FILE).read_text() == before
    assert not capsys.readouterr().out
    content = json.loads(before)
    (tmp_path / FILE).write_text(json.dumps(content | {"hardware": "another machine"}))
    keep_network_costs(cells[:1], tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert list(found.networks) == ["unet_tiny"]
    assert found.hardware == content["hardware"]


def test_a_network_that_fails_is_said_and_the_others_are_timed(tmp_path: Path) -> None:
    cells = [cell("unet_tiny"), cell("ddn_small", _target_="slackoff.networks.NoSuch")]
    keep_network_costs(cells, tmp_path, Console())
    found = network_costs(tmp_path)
    assert found is not None
    assert found.networks["unet_tiny"].timing.rounds == 3
    assert "NoSuch" in found.networks["ddn_small"].failure


def test_a_study_that_does_not_ask_has_none(tmp_path: Path) -> None:
    keep_network_costs([cell("unet_tiny", cost=None)], tmp_path, Console())
    assert network_costs(tmp_path) is None


@pytest.mark.parametrize(
    ("cost", "sentence"),
    [
        ({"size": 32}, r"study\.options\.cost\.size is not known: give size_px, rounds, budget_s"),
        ({"size_px": 8}, r"study\.options\.cost\.size_px=8 cannot be: give a whole number from 16 up"),
        ({"budget_s": 0}, r"study\.options\.cost\.budget_s=0 cannot be"),
        (True, r"study\.options\.cost=True is not known"),
    ],
)
def test_mistakes_are_found_before_training(cost: Any, sentence: str) -> None:
    with pytest.raises(SlackoffError, match=sentence):
        check_network_costs([cell("unet_tiny", cost=cost)])


def test_one_name_is_one_network() -> None:
    with pytest.raises(SlackoffError, match="Two networks of this study have the name unet_tiny"):
        check_network_costs([cell("unet_tiny"), cell("unet_tiny", width=5)])
