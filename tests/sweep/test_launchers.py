"""What each ``hydra/launcher`` makes of its settings, and what it says of those that cannot be. No cluster here."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from slackoff.errors import SlackoffError
from slackoff.sweep.backend import Slot
from slackoff.sweep.local import make_slots
from slackoff.sweep.plan import plan

MODULE = "hydra_plugins.slackoff_launcher"
FOREIGN = """
from dataclasses import dataclass, field
from hydra.core.config_store import ConfigStore

@dataclass
class RayLauncherConf:
    _target_: str = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    ray: dict = field(default_factory=dict)

ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="ray_launcher")
"""
Launcher = Callable[..., Any]


@pytest.fixture
def launcher(conf: Path) -> Launcher:
    """The launcher of that name with settings from the command line."""

    def make(name: str, *settings: str) -> Any:
        given = [f"hydra/launcher={name}"]
        given += [f"{'+' * setting.startswith('+')}hydra.launcher.{setting.lstrip('+')}" for setting in settings]
        with initialize_config_dir(str(conf), version_base="1.3"):
            node = compose("config", given, return_hydra_config=True).hydra.launcher
        return importlib.import_module(MODULE).make_launcher(node)  # Hydra has executed the module anew

    make("local")
    return make


@pytest.fixture
def cluster(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what would be made of submitit or Ray, which this machine has or not, be no more than what it is given."""
    monkeypatch.setattr(sys.modules[MODULE], "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "slackoff.sweep.ray", SimpleNamespace(RayCells=lambda *given: given))
    if importlib.util.find_spec("submitit"):
        monkeypatch.setattr("slackoff.sweep.slurm.SlurmJobs", lambda settings: settings)


@pytest.fixture
def slurm(launcher: Launcher, cluster: None) -> Callable[..., dict[str, Any]]:
    """What submitit would be told by ``hydra/launcher=slurm``."""
    pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")

    def settings(*given: str) -> dict[str, Any]:
        return launcher("slurm", *given).resources().backend

    return settings


def test_a_job_of_eight_gpus_is_one_task_with_the_cores_of_eight_ranks(slurm):
    settings = slurm("gpus_per_cell=8", "cpus_per_rank=6", "mem_gb=0.5")
    assert (settings["gpus_per_node"], settings["cpus_per_task"], settings["mem"]) == (8, 48, "512MB")
    assert settings["srun_args"] == ["--cpus-per-task=48"]
    assert settings["setup"] == ["export OMP_NUM_THREADS=6 MKL_NUM_THREADS=6"]
    assert settings["additional_parameters"] == {"requeue": True}
    assert "partition" not in settings


def test_a_job_without_a_gpu_sees_none_and_parameters_win(slurm):
    more = "{gpus_per_node: null, qos: long, additional_parameters: {requeue: null, reservation: me}}"
    settings = slurm("gpus_per_cell=0", "setup=[module load x]", f"parameters={more}")
    assert settings["setup"][0] == "module load x"
    assert settings["setup"][-1] == "export CUDA_VISIBLE_DEVICES="
    assert settings["additional_parameters"] == {"reservation": "me"}
    assert settings["qos"] == "long"
    assert "gpus_per_node" not in settings


@pytest.mark.parametrize("name", ["slurm", "ray"])
@pytest.mark.parametrize(
    ("given", "ranks"),
    [
        ([], 1),
        (["gpus_per_cell=4"], 4),
        (["gpus_per_cell=0"], 1),
        (["gpus_per_cell=0", "ranks_per_cell=2"], 2),
    ],
)
def test_ranks_are_the_gpus_unless_they_are_given(launcher: Launcher, cluster, name: str, given: list[str], ranks: int):
    if name == "slurm":
        pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")
    assert launcher(name, *given).resources().slots[0].ranks == ranks


def test_a_task_of_ray_has_cpus_and_gpus(launcher: Launcher, cluster):
    settings = ["slots=3", "gpus_per_cell=2", "cpus_per_rank=4", "max_attempts=5", "ray.init.address=auto"]
    resources = launcher("ray", *settings).resources()
    assert resources.backend == ({"address": "auto", "log_to_driver": False}, {"num_cpus": 8, "num_gpus": 2})
    assert [slot.name for slot in resources.slots] == ["task 0", "task 1", "task 2"]
    assert resources.slots[0].environment == {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}
    assert resources.policy.max_attempts == 5
    assert not resources.local


def test_what_ray_remote_is_given_wins(launcher: Launcher, cluster):
    resources = launcher("ray", "ray.remote.num_gpus=0.5", "+ray.remote.accelerator_type=H100").resources()
    assert resources.backend[1] == {"num_cpus": 2, "num_gpus": 0.5, "accelerator_type": "H100"}


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


def test_a_launcher_that_cannot_run_cells_is_refused(mistake):
    for arguments in ([], ["-m"]):
        assert "must be local, slurm or ray" in mistake("hydra/launcher=basic", *arguments)


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "Ray")])
def test_without_its_package_the_cure_is_named(launcher: Launcher, monkeypatch, name: str, package: str):
    monkeypatch.setattr(sys.modules[MODULE], "find_spec", lambda name: None)
    with pytest.raises(SlackoffError, match=rf"needs {package}: in the checkout, \.venv/bin/pip .* '\.\[{name}\]'"):
        launcher(name).resources()
    assert launcher("ray", "dry_run=true").resources().slots  # it trains nothing


def test_without_slurm_one_sentence_says_where_to_run_it(launcher: Launcher, monkeypatch, tmp_path: Path):
    pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    resources = launcher("slurm").resources()
    with pytest.raises(SlackoffError, match="sbatch, srun, squeue, scancel cannot be found: run it on a login node"):
        _ = resources.backend


WHOLE, POSITIVE = "give a whole number from 1 up", "give a number above 0"


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        *((name, "on_failure=stop", "give continue or text such as") for name in ("local", "slurm", "ray")),
        ("local", "on_failure='stop_after=0'", "such as 'stop_after=3'"),
        ("local", "max_attempts=0", WHOLE),
        ("local", "time_limit_h=long", f"{POSITIVE} or null"),
        ("local", "grace_s=0", POSITIVE),
        ("ray", "stale_after_s=-1", POSITIVE),
        ("local", "slots=0", f"{WHOLE} or auto"),
        ("local", "threads=many", f"{WHOLE} or auto"),
        ("local", "gpus=0", "give a list, each item a whole number or auto"),
        ("local", "slots_per_gpu=0", WHOLE),
        ("local", "gpus_per_cell=0", WHOLE),
        ("slurm", "slots=auto", WHOLE),
        ("slurm", "gpus_per_cell=-1", "give a whole number from 0 up"),
        ("slurm", "ranks_per_cell=0", WHOLE),
        ("slurm", "cpus_per_rank=1.5", WHOLE),
        ("slurm", "mem_gb=0", f"{POSITIVE} or null"),
        ("slurm", "timeout_min='4:00:00'", WHOLE),
        ("ray", "slots=0", WHOLE),
        ("ray", "gpus_per_cell=0.5", "give a whole number from 0 up"),
        ("ray", "cpus_per_rank=true", WHOLE),
        ("ray", "ranks_per_cell=two", f"{WHOLE} or null"),
        ("ray", "ray.init=auto", "give names, each with names, each with any value or null"),
        ("ray", "ray=auto", "give names"),
    ],
)
def test_a_setting_that_is_not_of_its_type_is_refused(launcher: Launcher, name: str, setting: str, words: str):
    key = setting.partition("=")[0].partition(".")[0]
    with pytest.raises(SlackoffError, match=rf"^hydra\.launcher\.{key}=.* cannot be: .*{words}"):
        launcher(name, setting)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["timeout_min=2"], "timeout_min=2 is too short: Slurm may warn a job 150 s before its end"),
        (["timeout_min=4", "parameters={signal_delay_s: 200}"], "timeout_min=4 is too short"),
        (["parameters={nodes: 2}"], "parameters.nodes cannot be set: a cell runs on one node"),
        (["parameters={time: 60}"], "parameters.time cannot be set: say hydra.launcher.timeout_min"),
        (["parameters={setup: [ls]}"], "parameters.setup cannot be set: say hydra.launcher.setup"),
    ],
)
def test_a_setting_of_slurm_that_cannot_be_is_refused(slurm, given: list[str], words: str):
    with pytest.raises(SlackoffError, match=words):
        slurm(*given)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("constrain", "parameters.constrain is not known to submitit: did you mean 'constraint'"),
        ("reservation", "Any option of sbatch can be given as .*additional_parameters.reservation"),
    ],
)
def test_a_parameter_that_submitit_does_not_know_is_named(name: str, words: str):
    slurm_jobs = pytest.importorskip("slackoff.sweep.slurm_jobs")
    known = ["constraint", "cpus_per_task", "job_name", "mem", "qos", "signal_delay_s", "time"]
    slurm_jobs.check_names({"qos": "long", "mem": "1GB"}, known)
    with pytest.raises(SlackoffError, match=words):
        slurm_jobs.check_names({name: "x"}, known)


@pytest.mark.parametrize("multirun", [["-m"], []], ids=["sweep", "one cell"])
def test_the_command_says_it_in_one_line(mistake, multirun: list[str]):
    sentence = mistake("network=unet_tiny", *multirun, "size=smoke", "hydra/launcher=slurm", "hydra.launcher.slots=0")
    assert sentence == f"error: hydra.launcher.slots=0 cannot be: {WHOLE}"


LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.mark.parametrize(
    ("listing", "visible", "expected"),
    [
        (LISTING, None, ["MIG-1111", "MIG-2222", "1"]),
        (LISTING.splitlines()[0], None, ["0"]),
        ("No devices found.", None, []),
        (LISTING, "", []),
        (LISTING, "-1", []),
        (LISTING, "1,-1,0", ["1"]),
        (LISTING, "GPU-bbbb, MIG-1111", ["GPU-bbbb", "MIG-1111"]),
    ],
)
def test_gpus_are_those_that_cuda_would_show(tmp_path: Path, monkeypatch, listing, visible, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = make_slots()
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots if slot.name.startswith("gpu")] == expected
    assert bool(expected) != slots[0].name.startswith("cpu")


def test_threads_depend_on_the_machine_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    slots = make_slots()
    assert len(slots) == 8
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"1"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], ["gpu 5", "gpu 6", "gpu 7"]),
        (["gpus=[2,0]"], ["gpu 7", "gpu 5"]),
        (["slots=2"], ["gpu 5", "gpu 6"]),
        (["slots_per_gpu=2", "gpus=[0,1]"], ["gpu 5", "gpu 6", "gpu 5 #2", "gpu 6 #2"]),
        (["gpus_per_cell=2"], ["gpu 5,6"]),
        (["gpus=[]", "slots=2"], ["cpu 0", "cpu 1"]),
    ],
)
def test_gpus_are_shared_out(launcher: Launcher, monkeypatch, settings: list[str], names: list[str]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    resources = launcher("local", *settings).resources()
    assert [slot.name for slot in resources.slots] == names
    assert resources.local
    for wrong, words in (("gpus=[3]", "does not fit the 3 GPUs"), ("gpus_per_cell=4", "is more than the 3 GPUs")):
        with pytest.raises(SlackoffError, match=words):
            launcher("local", wrong).resources()


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
