"""``hydra/launcher=ray`` as far as it needs no cluster: its config, its settings, a machine without Ray, a cell."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from slackoff.cli.hydra_app import _launcher
from slackoff.errors import SlackoffError
from slackoff.sweep.backend import Slot
from slackoff.sweep.plan import plan

MODULE = "hydra_plugins.slackoff_ray_launcher"
FOREIGN = """
from dataclasses import dataclass, field
from hydra.core.config_store import ConfigStore

@dataclass
class RayLauncherConf:
    _target_: str = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    ray: dict = field(default_factory=dict)

ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="ray_launcher")
"""


@pytest.fixture
def launcher_node(conf: Path):
    """Compose ``hydra/launcher=ray``; Hydra loads its plugins anew the first time, so that ours is patched after."""

    def compose_node(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", ["hydra/launcher=ray", *overrides], return_hydra_config=True).hydra.launcher

    compose_node()
    return compose_node


@pytest.fixture
def handed(launcher_node, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict, dict]]:
    """What Ray would be given, on a machine that has it or not."""
    found: list[tuple[dict, dict]] = []
    monkeypatch.setattr(sys.modules[MODULE], "find_spec", lambda name: importlib.util.find_spec("json"))
    monkeypatch.setattr("slackoff.sweep.backend.LazyBackend", lambda make: found.append(make()))
    monkeypatch.setattr(sys.modules[MODULE], "_ray_cells", lambda *given: given)
    return found


def test_the_config_gives_tasks_with_cpus_and_gpus(launcher_node, handed):
    settings = ["slots=3", "gpus_per_cell=2", "cpus_per_rank=4", "max_attempts=5", "ray.init.address=auto"]
    node = launcher_node(*(f"hydra.launcher.{setting}" for setting in settings))
    resources = instantiate(node).resources(Path("runs"))
    assert handed == [({"address": "auto", "log_to_driver": False}, {"num_cpus": 8, "num_gpus": 2})]
    assert [(slot.name, slot.ranks) for slot in resources.slots] == [("task 0", 2), ("task 1", 2), ("task 2", 2)]
    assert resources.slots[0].environment == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}
    assert resources.policy.max_attempts == 5


def test_what_ray_remote_is_given_wins(launcher_node, handed):
    settings = ["hydra.launcher.ray.remote.num_gpus=0.5", "+hydra.launcher.ray.remote.accelerator_type=H100"]
    instantiate(launcher_node(*settings)).resources(Path("runs"))
    assert handed[0][1] == {"num_cpus": 2, "num_gpus": 0.5, "accelerator_type": "H100"}


def test_hydra_ray_launcher_may_be_installed_beside_it(tmp_path: Path):
    plugin = tmp_path / "hydra_plugins/hydra_ray_launcher"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(FOREIGN)
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(tmp_path))))
    command = [sys.executable, "-m", "slackoff", "hydra/launcher=ray", "--cfg", "hydra", "--package", "hydra.launcher"]
    shown = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert f"_target_: {MODULE}.RayLauncher" in shown.stdout, shown.stderr
    assert "slots: 64" in shown.stdout
    assert shown.stderr == ""


def test_a_command_without_multirun_takes_it_too(launcher_node, handed):
    _launcher(launcher_node("hydra.launcher.gpus_per_cell=3")).resources(Path("runs"))
    assert handed[0][1]["num_gpus"] == 3


def test_a_launcher_that_cannot_run_cells_is_refused(launcher_node):
    with pytest.raises(SlackoffError, match="must be local, slurm or ray"):
        _launcher(launcher_node("hydra/launcher=basic"))


def test_without_ray_the_cure_is_named_unless_nothing_is_to_be_trained(launcher_node, monkeypatch):
    monkeypatch.setattr(sys.modules[MODULE], "find_spec", lambda name: None)
    with pytest.raises(SlackoffError, match=r"needs Ray: in the checkout, \.venv/bin/pip install -e '\.\[ray\]'"):
        instantiate(launcher_node()).resources(Path("runs"))
    assert instantiate(launcher_node("hydra.launcher.dry_run=true")).resources(Path("runs")).slots


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("slots=0", "slots=0 must be a whole number, 1 or more"),
        ("slots=auto", "slots=auto must be a whole number, 1 or more"),
        ("gpus_per_cell=-1", "gpus_per_cell=-1 must be a whole number, 0 or more"),
        ("gpus_per_cell=0.5", "gpus_per_cell=0.5 must be a whole number, 0 or more"),
        ("cpus_per_rank=true", "cpus_per_rank=True must be a whole number, 1 or more"),
        ("ranks_per_cell=two", "ranks_per_cell=two must be a whole number, 1 or more"),
        ("ray.init=auto", "ray.init=auto must be a mapping"),
        ("ray=auto", "ray.init=auto must be a mapping"),
        ("on_failure=stop", "on_failure=stop is not known"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(launcher_node, handed, setting: str, words: str):
    with pytest.raises(SlackoffError, match=words):
        instantiate(launcher_node(f"hydra.launcher.{setting}")).resources(Path("runs"))


class FakeActor:
    """Its methods note that they were called; ``place`` is answered when the test says so."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.answers: dict[str, Future[object]] = {}

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote() -> SimpleNamespace:
            self.called.append(name)
            return SimpleNamespace(future=lambda: self.answers.setdefault(name, Future()))

        return SimpleNamespace(remote=remote)


def test_a_cell_in_the_queue_has_run_for_no_time_and_is_taken_out_rather_than_asked(composed, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: .venv/bin/pip install -e '.[ray]'")
    from slackoff.sweep import ray

    killed = []
    monkeypatch.setattr(ray.ray, "kill", killed.append)
    (cell,) = plan([composed()], [[]])
    actor, order = FakeActor(), ray.Order("token", cell.folder, cell.folder, {}, 1, 0)
    running = ray.RayCell(cell, Slot({}), order, actor, None)
    assert (running.seconds(), running.ended()) == (0.0, False)
    running.stop()
    assert killed == [actor]
    actor.answers["place"].set_result(ray.Place("node", "host", "", None))
    assert running.seconds() > 0.0
    running.stop()
    running.kill()
    assert (len(killed), actor.called) == (1, ["place", "run", "stop", "kill"])
