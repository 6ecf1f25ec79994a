"""What cells share, what differs, where they ran, what they cost."""

import json
from pathlib import Path

import pytest
from analysis_record import ENVIRONMENT, Cell, MakeFrames, write_study

from slackoff.analysis import load
from slackoff.analysis.cost import cost
from slackoff.analysis.page import different, environments, read_configs, shared

CELLS = [Cell({"patch_count": count}) for count in (1024, 8, 64)]


def test_configs_are_told_apart_by_dotted_keys(runs: Path) -> None:
    study = write_study(runs, CELLS)
    with (runs / "cells" / CELLS[0].id / "config.yaml").open("a") as file:
        file.write("extra: {depth: 3}\n")
    configs = read_configs(load(study))
    assert different(configs) == {
        "background.patch_count": ["8", "64", "1024"],
        "extra.depth": ["3", "(not set)"],
    }
    same = shared(configs)
    assert same["rain.width"] == "[5, 7, 9]"
    assert same["evaluation.protocol.quantise"] == "true"
    assert same["network._target_"] == "slackoff.networks.UNet"
    assert "background.patch_count" not in same


def test_a_config_that_cannot_be_read_is_left_out(runs: Path) -> None:
    study = write_study(runs, CELLS)
    (runs / "cells" / CELLS[0].id / "config.yaml").write_text("a: [1, ")
    (runs / "cells" / CELLS[1].id / "config.yaml").unlink()
    assert list(read_configs(load(study))) == [CELLS[2].id]


def test_environments_are_counted(runs: Path) -> None:
    study = write_study(runs, CELLS)
    other = ENVIRONMENT | {"gpu": "H100", "packages": {"torch": "2.16.0"}}
    (runs / "cells" / CELLS[0].id / "environment.json").write_text(json.dumps(other))
    found = environments(load(study))
    assert [(machine["gpu"], machine["packages.torch"], count) for machine, count in found] == [
        ("null", "2.15.0", 2),
        ("H100", "2.16.0", 1),
    ]


def test_cost_adds_up_over_cells(frames_of: MakeFrames) -> None:
    cells = [*CELLS, Cell({"patch_count": 16}, state="failed"), Cell({"patch_count": 32}, state="missing")]
    spent = cost(frames_of(cells))
    assert spent.device_hours == pytest.approx((3 * 108 + 100) / 3600)
    assert spent.wall_hours == pytest.approx(120 / 3600)
    assert spent.per_cell["steps_per_second"].tolist()[:3] == [4.0, 4.0, 4.0]
    assert len(spent.per_cell) == 5


def test_cost_of_a_study_that_has_not_begun_is_nothing(frames_of: MakeFrames) -> None:
    spent = cost(frames_of([Cell({"patch_count": 8}, state="missing")]))
    assert spent.device_hours == 0
    assert spent.wall_hours != spent.wall_hours


def test_a_clock_that_was_set_back_gives_no_negative_hours(runs: Path) -> None:
    study = write_study(runs, CELLS)
    for cell in CELLS:
        path = runs / "cells" / cell.id / "status.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished_at": "2026-01-01T03:04:05+00:00"}))
    spent = cost(load(study))
    assert spent.wall_hours != spent.wall_hours
    assert spent.device_hours > 0
