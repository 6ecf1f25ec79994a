"""An edit of code that can change a result is another cell; one of words about the code is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import slackoff
from slackoff.config import config_folder
from slackoff.sweep import code_digests as digests_module
from slackoff.sweep.code_digests import code_digests

CHEAP = ("background.patch_count=3", "schedule.steps=2", "schedule.evaluate_every=2", "evaluation.count=2")
NETWORK = '''
"""A network of somebody else."""
from torch import nn
from . import parts
from .parts import Block as _Block, SIZE
from .unused import nothing

if nn:
    KERNEL = {"a": 3}


class Net(_Block):
    """What it does."""

    def __init__(self, width: int = SIZE) -> None:
        """Words."""
        super().__init__()
        self.width = width  # a comment
        if width < KERNEL["a"]:
            raise ValueError("too small")

    def forward(self, x):
        from .late import shift
        return parts.helper(x) + shift(x)


def beside(x):
    return x
'''
PARTS = """
from torch import nn
SIZE = 3
class Block(nn.Module):
    pass
def helper(x):
    return x * _factor
_factor = 2
def unused(x):
    return x
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write files of a foreign package; the digests of its network's code."""
    monkeypatch.syspath_prepend(tmp_path)
    files = {"__init__": "from .net import *\n", "net": NETWORK, "parts": PARTS, "unused": "nothing = 1\n"}
    files["late"] = "def shift(x):\n    return x + 1\n"

    def digests(**changes: tuple[str, str]) -> dict[str, str]:
        (tmp_path / "theirs").mkdir(exist_ok=True)
        for name, text in files.items():
            before, after = changes.get(name, ("", ""))
            assert before in text
            (tmp_path / "theirs" / f"{name}.py").write_text(text.replace(before, after) if before else text)
        for cached in (digests_module._definitions_behind, digests_module._source, digests_module._file):
            cached.cache_clear()
        return code_digests(["theirs.Net"])

    return digests


def test_code_is_followed_within_its_package_and_nothing_of_it_is_run(package):
    found = package(net=('"""A network of somebody else."""', "raise RuntimeError"))
    assert found.keys() == {
        f"theirs.{name}"
        for name in (
            "net.Net",
            "net.KERNEL",
            "parts.Block",
            "parts.SIZE",
            "parts.helper",
            "parts._factor",
            "late.shift",
        )
    }
    assert "theirs" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({"net": ("# a comment", "# another")}, set()),
        ({"net": ('"""What it does."""', '"""What it does not."""')}, set()),
        ({"net": ('"""Words."""', "")}, set()),
        (
            {
                "net": (
                    "parts.helper(x) + shift(x)",
                    "(\n            parts.helper(x)\n            + shift(x)\n        )",
                )
            },
            set(),
        ),
        ({"net": ('"too small"', '"smaller than 3"')}, set()),
        ({"net": ("    return x\n", "    return 2 * x\n")}, set()),
        ({"parts": ("def unused(x):\n    return x", "def unused(x):\n    return -x")}, set()),
        ({"unused": ("1", "2")}, set()),
        ({"net": ("parts.helper(x) +", "parts.helper(x) -")}, {"net.Net"}),
        ({"net": ('{"a": 3}', '{"a": 4}')}, {"net.KERNEL"}),
        ({"parts": ("x * _factor", "x / _factor")}, {"parts.helper"}),
        ({"parts": ("_factor = 2", "_factor = 3")}, {"parts._factor"}),
        ({"parts": ("    pass", "    slope = 1")}, {"parts.Block"}),
        ({"parts": ("SIZE = 3", "SIZE = 5")}, {"parts.SIZE"}),
        ({"late": ("x + 1", "x + 2")}, {"late.shift"}),
    ],
)
def test_code_counts_and_words_about_it_do_not(package, changes, differing):
    before, after = package(), package(**changes)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        f"theirs.{n}" for n in differing
    }


def test_digests_of_code_are_the_same_in_every_version_of_python(package):
    """Numbers of Python 3.11."""
    found = package()
    assert (found["theirs.net.Net"], found["theirs.parts.helper"]) == ("4a87ae385268a44f", "d9f9161b056110a0")


@pytest.fixture
def own_copy(tmp_path):
    """A copy of the source that a test may edit, and a function that runs a command with it."""
    root = Path(slackoff.__file__).parents[1]
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root, tmp_path / "src", ignore=ignored)
    shutil.copytree(config_folder(), tmp_path / "conf")

    def run(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
        command = [sys.executable, "-m", "slackoff", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        return done.stdout + done.stderr

    return tmp_path / "src" / "slackoff" / "networks" / "unet.py", run


@pytest.mark.slow
def test_an_edited_network_is_a_new_cell_and_an_edited_comment_is_not(own_copy):
    file, run = own_copy
    command = ["size=smoke", "network=unet_tiny", *CHEAP, "trainer.precision=32-true", "logger.wandb=false"]
    assert "1 to train" in run(*command)
    (first,) = (file.parents[3] / "runs" / "cells").iterdir()
    text = file.read_text()
    file.write_text(f"# A comment.\n{text}")
    assert "1 done, 0 to train" in run(*command, "--dry-run")
    assert text.count("return rainy + output if") == 1
    file.write_text(text.replace("return rainy + output if", "return rainy - output if"))
    assert "1 to train" in run(*command)
    (second,) = (folder for folder in first.parent.iterdir() if folder != first)
    said = run("why", first.name[:6], second.name).splitlines()
    assert said
    assert all(line.startswith("code: slackoff.networks.unet.") for line in said)
    assert run("why", first.name, first.name) == f"{first.name} and {first.name} are the same cell\n"
    assert "There is no cell zzz under runs" in run("why", "zzz", first.name)
    (second / "identity.json").unlink()
    assert "identity.json cannot be read" in run("why", first.name, second.name)
