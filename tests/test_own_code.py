"""The example of own code, as it stands in examples/ and as `slackoff new` writes it; what `slackoff check` says."""

import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slackoff.cli import hydra_app, network_check
from slackoff.cli.network_check import Finding, check_network
from slackoff.config import packages
from slackoff.config.packages import VARIABLE
from verbs import call, mistake

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "own_project"
FAST = ("trainer.precision=32-true", "logger.wandb=false", "hydra.launcher.slots=1")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def here(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Type a command in a folder; it runs in this process, and its cells in processes of their own."""

    def type_in(folder: Path, *command: str) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["slackoff", *command])
        hydra_app.run()

    before = list(sys.path)
    yield type_in
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_study"]:
        del sys.modules[name]
    for cached in (packages._from_environment, packages._spec):
        cached.cache_clear()


def run(folder: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_example_is_as_small_as_it_says():
    readme = (EXAMPLE / "README.md").read_text().splitlines()
    assert len(readme) <= 30
    network = (EXAMPLE / "own_project" / "networks.py").read_text().partition("class ")[2].splitlines()
    assert len(network) <= 17


def test_its_own_tests_pass(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    tests = runpy.run_path(str(EXAMPLE / "tests" / "test_own_project.py"))
    found = [test for name, test in tests.items() if name.startswith("test_")]
    assert len(found) == 3
    for test in found:
        test()


def test_a_new_project_works_at_once(empty: Path, here, monkeypatch: pytest.MonkeyPatch, capsys):
    found = call("new", "my_study")
    assert found.exit_code == 0, found.stderr
    commands = re.findall(r"^    (.*)$", found.stdout, re.MULTILINE)
    assert commands == [
        "cd my_study",
        "export SLACKOFF_PACKAGES=my_study",
        "python -m slackoff +experiment=my_study -m size=smoke",
    ]
    folder = empty / "my_study"
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"README.md", "pyproject.toml", "my_study/networks.py", "my_study/conf/network/my_study.yaml"} <= made
    assert all("own_project" not in f"{name}{(folder / name).read_text()}" for name in made)
    arguments = shlex.split(commands[-1])[3:]
    short = ("seed=0", "network=my_study", "schedule.steps=2", "schedule.evaluate_every=2", "evaluation.count=2")
    for name, value in {VARIABLE: "my_study", "COLUMNS": "140"}.items():
        monkeypatch.setenv(name, value)
    here(folder, *arguments, *short, *FAST)
    shown = capsys.readouterr().out
    cells = sorted((folder / "runs" / "cells").iterdir())
    assert len(cells) == 1
    for cell in cells:
        assert (pd.read_parquet(cell / "images.parquet")["edge_error"] > 0).all()
        assert '"named_packages"' in (cell / "environment.json").read_text()
    assert re.search(r"network .*Edge error", shown)
    (page,) = (folder / "runs" / "studies").glob("*/index.html")
    assert "Edge error" in page.read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("there", "exists already: choose another name, or remove it"),
        ("my-study", "my-study is no name for a package: take small letters"),
        ("My_study", "My_study is no name for a package"),
        ("class", "class is no name for a package"),
        ("torch", "torch is the name of a package that there is already"),
        ("own_project", "own_project is the name of a package"),
        ("../up", "../up is no name for a package"),
    ],
)
def test_a_name_that_cannot_be_is_one_sentence(empty: Path, name: str, words: str):
    (empty / "there").mkdir()
    assert words in mistake("new", name)
    assert [path.name for path in empty.iterdir()] == ["there"]


NETWORKS = """
    import random
    import torch
    from torch import nn
    class Good(nn.Module):
        def __init__(self, width: int = 4):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))
        def forward(self, x):
            return x + self.body(x)
    class Halves(Good):
        def forward(self, x):
            return x + torch.nn.functional.interpolate(self.body(x[..., ::2, ::2])[..., :-1, :-1], scale_factor=2)
    class Even(Good):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)
        def forward(self, x):
            return x + self.up(self.body(x[..., ::2, ::2]))
    class Narrow(Good):
        def __init__(self):
            super().__init__()
            self.body[2] = nn.Conv2d(5, 3, 3, padding=1)
    class Unused(Good):
        def __init__(self):
            super().__init__()
            self.spare = nn.Conv2d(3, 3, 1)
    class Forgets(Good):
        def __init__(self):
            super().__init__()
            self.seen = 0
        def forward(self, x):
            self.seen += self.training
            return x + self.body(x) / (1 + self.seen)
    class Log(nn.Module):
        def forward(self, x):
            return (x - 1).log()
    class Wild(Good):
        def __init__(self):
            super().__init__()
            self.body.append(Log())
    class Grey(Good):
        def forward(self, x):
            return 255 * x + self.body(x)
    class Random(Good):
        def forward(self, x):
            return x + self.body(x + random.random())
    class InPlace(Good):
        def forward(self, x):
            return self.body(x.mul_(0.5))
    class Looks(Good):
        def forward(self, x):
            return x + self.body(x) if x.mean().item() > 0 else x
    class Several(Good):
        def forward(self, x):
            return {"image": self.body(x)}
"""


@pytest.fixture
def lab(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (empty / "lab_of_nets.py").write_text(textwrap.dedent(NETWORKS))
    monkeypatch.syspath_prepend(str(empty))
    monkeypatch.setenv(VARIABLE, "lab_of_nets")
    for slow in ("several processes", "ONNX"):
        monkeypatch.delitem(network_check._CHECKS, slow)
    yield empty
    sys.modules.pop("lab_of_nets", None)


def findings(name: str) -> dict[str, Finding]:
    return {found.name: found for found in check_network({"_target_": f"lab_of_nets.{name}"})}


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        (
            "Even",
            "any image size",
            "an image of 37x53 px: RuntimeError in the network itself (Even): The size of tensor",
        ),
        ("Halves", "any image size", "an image of 64x64 px: RuntimeError"),
        ("Narrow", "any image size", "RuntimeError in body.2 (Conv2d): Given groups=1"),
        ("Several", "any image size", "it gives a dict, not a tensor; ForeignNetwork(output=...) chooses one"),
        ("Random", "determinism", "in evaluation, two passes differ first in body.0 (Conv2d)"),
        ("InPlace", "determinism", "differ first in body.0 (Conv2d)"),
        ("Unused", "values and gradients", "no gradient reaches spare.weight, spare.bias: use them in every pass"),
        ("Wild", "values and gradients", "values that are not finite come first from body.3 (Log)"),
        ("Grey", "value range", "networks take and give [0, 1]; one of other values goes into ForeignNetwork"),
        ("Forgets", "resume", "two steps after a checkpoint differ in body.0.weight, body.0.bias"),
    ],
)
def test_check_says_what_fails_and_where(lab: Path, name: str, check: str, words: str):
    found = findings(name)[check]
    assert found.state == "failed"
    assert words in found.detail


def test_check_passes_what_is_right(lab: Path):
    for name in ("Good", "Looks"):  # one that looks at values cannot be counted without them
        found = findings(name)
        assert [one.state for one in found.values()] == ["passed"] * 7
    assert "223 parameters" in found["counted"].detail


def test_the_verb_names_the_package_by_itself(lab: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(VARIABLE)
    done = call("check", "lab_of_nets.Good", "width=2")
    assert done.exit_code == 0, done.stdout
    assert "passed  counted               113 parameters" in done.stdout
    assert call("check", "lab_of_nets.Grey").exit_code == 1
    assert call("check", "unet_tiny", "width=2").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lab_of_nets.Goood",), "there is no class lab_of_nets.Goood; did you mean 'Good'?"),
        (("lab_of_nets.Good", "widht=2"), "network.widht=2 is not known: did you mean 'network.width'?"),
        (("lab_of_nets.Good", "2"), "2 gives no value: write it as KEY=VALUE"),
        (("lab_of_nets.Log", "width=2"), "network.width=2 is not known"),
        (("unet_tinny",), "There is no network 'unet_tinny' (slackoff check): did you mean 'unet_tiny'?"),
        (("no_such_lab.Net",), "names no_such_lab, which is neither installed nor a folder"),
        (("os.system", "command=true"), "network._target_=os.system is refused"),
    ],
)
def test_a_mistake_of_the_verb_is_one_sentence(lab: Path, arguments: tuple[str, ...], words: str):
    assert words in mistake("check", *arguments)


@pytest.mark.slow
def test_check_with_several_processes_and_onnx(empty: Path):
    (empty / "lab_of_nets.py").write_text(textwrap.dedent(NETWORKS))
    good = run(empty, "slackoff", "check", "lab_of_nets.Good")
    assert good.returncode == 0, good.stdout
    assert "passed  several processes     two processes stay equal" in good.stdout
    assert re.search("(passed|skipped) +ONNX", good.stdout)
    bad = run(empty, "slackoff", "check", "lab_of_nets.Unused")
    assert bad.returncode == 1
    assert "failed  several processes     spare.weight, spare.bias take no part in a pass" in bad.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_in_a_clean_environment_runs_a_new_project(empty: Path):
    """The built wheel beside the dependencies of this environment, the checkout out of sight."""
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(empty), str(ROOT)],
        capture_output=True,
        text=True,
    )
    if "No matching distribution" in built.stderr:
        pytest.skip("no wheel can be built here: hatchling is not to be had")
    assert built.returncode == 0, built.stderr
    (wheel,) = empty.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=empty, check=True)
    python = empty / "venv" / "bin" / "python"
    (site,) = empty.glob("venv/lib/python*/site-packages")
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(f"{here}\n")  # behind the venv's own
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def clean(folder: Path, *command: str, **more: str) -> str:
        done: Any = subprocess.run(
            [empty / "venv" / "bin" / "slackoff", *command],
            cwd=folder,
            env=environment | more,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    clean(empty, "new", "my_study")
    folder = empty / "my_study"
    named = {"SLACKOFF_PACKAGES": "my_study", "COLUMNS": "140"}
    assert "Edge error" in clean(folder, "+experiment=my_study", "-m", "size=smoke", *FAST, **named)
    assert "my_study" in clean(folder, "networks", **named)
    cell = next((folder / "runs" / "cells").iterdir())
    assert str(ROOT) not in (cell / "config.yaml").read_text()
    network = folder / "my_study" / "networks.py"
    network.write_text(network.read_text() + "\n\nclass Wider(OwnNetwork):\n    pass\n")
    (folder / "my_study/conf/network/wider.yaml").write_text(
        "name: wider\n_target_: my_study.networks.Wider\nwidth: 32\n"
    )
    compared = clean(folder, "+experiment=my_study", "-m", "network=wider,unet_small", "size=smoke", *FAST, **named)
    assert re.search(r"^ wider ", compared, re.MULTILINE)
    assert re.search(r"^ unet_small ", compared, re.MULTILINE)
