"""What ``hydra/launcher=slurm`` makes of its settings, and what it says about those that cannot be."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.slackoff_launcher import SlurmLauncher
from slackoff.errors import SlackoffError
from slackoff.sweep.backend import Slot
from slackoff.sweep.slurm_jobs import check_names, job_settings

USUAL: dict[str, Any] = {
    "gpus_per_cell": 1,
    "ranks": 1,
    "cpus_per_rank": 2,
    "mem_gb": 16,
    "timeout_min": 240,
    "partition": None,
    "setup": [],
    "parameters": {},
}
KNOWN = ["constraint", "cpus_per_task", "job_name", "mem", "qos", "signal_delay_s", "time"]


def test_a_cell_of_eight_gpus_is_one_task_with_the_cores_of_eight_ranks():
    settings = job_settings(**{**USUAL, "gpus_per_cell": 8, "ranks": 8, "cpus_per_rank": 6, "mem_gb": 0.5})
    assert (settings["gpus_per_node"], settings["cpus_per_task"], settings["mem"]) == (8, 48, "512MB")
    assert settings["srun_args"] == ["--cpus-per-task=48"]
    assert settings["setup"] == ["export OMP_NUM_THREADS=6 MKL_NUM_THREADS=6"]
    assert settings["additional_parameters"] == {"requeue": True}
    assert "partition" not in settings


def test_a_cell_without_a_gpu_sees_none_and_parameters_win():
    given = {"gpus_per_node": None, "qos": "long", "additional_parameters": {"requeue": None, "reservation": "me"}}
    settings = job_settings(**{**USUAL, "gpus_per_cell": 0, "setup": ["module load x"], "parameters": given})
    assert settings["setup"][0] == "module load x"
    assert settings["setup"][-1] == "export CUDA_VISIBLE_DEVICES="
    assert settings["additional_parameters"] == {"reservation": "me"}
    assert settings["qos"] == "long"
    assert "gpus_per_node" not in settings


def test_ranks_are_the_gpus_unless_they_are_given():
    ranks = [
        SlurmLauncher(**given).resources(Path("runs")).slots[0].ranks
        for given in ({}, {"gpus_per_cell": 4}, {"gpus_per_cell": 0}, {"gpus_per_cell": 0, "ranks_per_cell": 2})
    ]
    assert ranks == [1, 4, 1, 2]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gpus_per_cell": -1}, "gpus_per_cell=-1 must be a whole number of at least 0"),
        ({"ranks": 0}, "ranks_per_cell=0 must be a whole number of at least 1"),
        ({"cpus_per_rank": 1.5}, "cpus_per_rank=1.5 must be a whole number"),
        ({"mem_gb": 0}, "mem_gb=0 must be a number above 0"),
        ({"timeout_min": "4:00:00"}, "timeout_min=4:00:00 must be a whole number"),
        ({"timeout_min": 2}, "timeout_min=2 is too short: Slurm may warn a job 150 s before its end"),
        ({"timeout_min": 4, "parameters": {"signal_delay_s": 200}}, "timeout_min=4 is too short"),
        ({"parameters": {"nodes": 2}}, "parameters.nodes cannot be set: a cell runs on one node"),
        ({"parameters": {"time": 60}}, "parameters.time cannot be set: say hydra.launcher.timeout_min"),
        ({"parameters": {"setup": ["ls"]}}, "parameters.setup cannot be set: say hydra.launcher.setup"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(given, words):
    with pytest.raises(SlackoffError, match=words):
        job_settings(**{**USUAL, **given})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("constrain", "parameters.constrain is not known to submitit: did you mean 'constraint'"),
        ("reservation", "Any option of sbatch can be given as .*additional_parameters.reservation"),
    ],
)
def test_a_parameter_that_submitit_does_not_know_is_named(name, words):
    check_names({"qos": "long", "mem": "1GB"}, KNOWN)
    with pytest.raises(SlackoffError, match=words):
        check_names({name: "x"}, KNOWN)


def test_without_submitit_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith(("submitit", "slackoff.sweep.slurm"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SlackoffError, match=r"submitit: in the checkout, \.venv/bin/pip install -e '\.\[slurm\]'"):
        SlurmLauncher().resources(Path("runs"))


def test_without_slurm_one_sentence_says_where_to_run_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("submitit", reason="submitit is not installed: .venv/bin/pip install -e '.[slurm]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    resources = SlurmLauncher().resources(Path("runs"))
    with pytest.raises(SlackoffError, match="sbatch, srun, squeue, scancel cannot be found: run it on a login node"):
        resources.backend.start(None, Slot({}))  # type: ignore[arg-type]


@pytest.mark.parametrize("multirun", [["-m"], []], ids=["sweep", "one cell"])
def test_the_command_says_it_in_one_line(tmp_path: Path, multirun: list[str]):
    command = ["+experiment=patchcount", *multirun, "size=smoke", "hydra/launcher=slurm", "hydra.launcher.slots=0"]
    result = subprocess.run(
        [sys.executable, "-m", "slackoff", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stdout
    assert result.stderr.splitlines()[-1] == "error: hydra.launcher.slots=0 must be a whole number of at least 1"
    assert "Traceback" not in result.stderr
