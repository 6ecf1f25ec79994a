"""W&B's own sweeps: files that compose, and runs under the id that an agent gives."""

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from hydra import compose, initialize_config_dir
from wandb_stub import ENTITY, KEY, Stub, serving

from slackoff.cell.training import train
from slackoff.errors import SlackoffError
from slackoff.sweep.plan import plan
from slackoff.wandb_view import refuse_many_cells
from slackoff.wandb_view.publish import show_done_cell

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.glob("wandb_*.yaml"))


def arguments(file: Path) -> Iterator[list[str]]:
    """What an agent passes: the fixed words after ``slackoff``, then key=value; of ranges the two ends."""
    content = yaml.safe_load(file.read_text())
    assert content["command"][:4] == ["${env}", "python", "-m", "slackoff"]
    assert content["command"][-1] == "${args_no_hyphens}"
    keys, values = zip(*((key, _values(given)) for key, given in content["parameters"].items()), strict=True)
    for chosen in product(*values):
        yield [*content["command"][4:-1], *(f"{key}={value}" for key, value in zip(keys, chosen, strict=True))]


def _values(given: dict[str, Any]) -> list[Any]:
    return given.get("values") or ([given["value"]] if "value" in given else [given["min"], given["max"]])


def at(conf: Path, overrides: list[str]) -> Any:
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", overrides)


def test_there_are_files_for_two_studies_and_a_search():
    assert [file.stem for file in FILES] == ["wandb_patchcount", "wandb_rainrange", "wandb_recipe"]
    methods = [yaml.safe_load(file.read_text())["method"] for file in FILES]
    assert methods == ["grid", "grid", "bayes"]


@pytest.mark.parametrize(("name", "cells"), [("patchcount", 4), ("rainrange", 21)])
def test_the_cells_of_a_grid_are_those_of_the_study(conf: Path, name: str, cells: int):
    file = SWEEPS / f"wandb_{name}.yaml"
    laptop = at(conf, [f"+experiment={name}", "size=laptop"]).study.cells.laptop
    study = {_key(key): str(value).split(",") for key, value in laptop.items()}
    given = yaml.safe_load(file.read_text())["parameters"]
    assert {key: [str(value) for value in _values(each)] for key, each in given.items()} == study
    found = list(arguments(file))
    assert len(found) == cells
    keys = list(study)
    for overrides, values in ((found[0], [v[0] for v in study.values()]), (found[-1], [v[-1] for v in study.values()])):
        job = ["size=laptop", f"+experiment={name}", *(f"{key}={v}" for key, v in zip(keys, values, strict=True))]
        (alone,), (together,) = (plan([at(conf, each)], [each]) for each in (overrides, job))
        assert alone.id == together.id


def _key(key: str) -> str:
    return f"background.{key}" if key == "patch_count" else key


def test_the_ends_of_a_search_compose_to_what_they_say(conf: Path):
    first, last = (at(conf, given) for given in list(arguments(FILES[2]))[::47])
    assert (first.rain.name, first.background.patch_count, first.task.learning_rate) == ("small", 8, 1e-4)
    assert (last.rain.name, last.background.patch_count, last.task.learning_rate) == ("large", 1024, 1e-2)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A server, and the variables that an agent sets for its command."""
    with serving() as stub:
        given = {"WANDB_BASE_URL": stub.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online", "WANDB_ENTITY": ENTITY}
        given |= {"WANDB_SWEEP_ID": "sweep1", "WANDB_RUN_ID": "agents1", "WANDB_PROJECT": "theirs"}
        for key, value in given.items():
            monkeypatch.setenv(key, value)
        wandb.teardown()
        yield stub
    wandb.teardown()


def test_an_agent_gets_the_cell_in_its_own_run_trained_or_done_before(agent: Stub, composed: Any, monkeypatch: Any):
    (cell,) = plan(
        [composed("logger.wandb=true", "schedule.steps=4", "schedule.evaluate_every=4", "evaluation.count=2")], [[]]
    )
    status = cell.first_status()
    cell.folder.mkdir(parents=True)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.content))
    train(cell.folder, status, time.monotonic())
    status.state = "done"
    status.write(cell.folder)
    monkeypatch.setenv("WANDB_RUN_ID", "agents2")
    wandb.teardown()
    show_done_cell(cell.folder, "slackoff")
    assert list(agent.runs) == ["agents1", "agents2"]
    for name, run in agent.runs.items():
        assert (run["project"], run["sweep"], run["state"]) == ("theirs", "sweep1", "finished")
        assert len([row["final/e_r"] for row in agent.history(name) if "final/e_r" in row]) == 1
        assert agent.config(name)["slackoff"]["id"] == cell.id


def test_an_agents_command_with_several_cells_is_refused(monkeypatch: pytest.MonkeyPatch):
    refuse_many_cells(2)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "agents1")
    refuse_many_cells(1)
    with pytest.raises(SlackoffError, match=r"gives one run, and this command has 2 cells: take -m out"):
        refuse_many_cells(2)
