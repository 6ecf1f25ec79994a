"""Packages that a person names: what they open, for whom, and what stays closed."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import nn

from slackoff.cell.launch import CellExit
from slackoff.config import build, packages
from slackoff.config.checks import Checks
from slackoff.config.mistakes import explain
from slackoff.config.packages import VARIABLE
from slackoff.config.presets import check_presets, compose_preset, preset_names
from slackoff.deraining.model import NETWORK, from_cell, from_file
from slackoff.errors import SlackoffError
from slackoff.record.config import read_config
from slackoff.sweep.identity import identity_of
from train_here import train_here, written

LAB = {
    "nets.py": """
        import torch
        from torch import nn
        class MyNet(nn.Module):
            def __init__(self, width: int = 4):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1))
            def forward(self, rainy):
                return rainy + self.body(rainy)
        def make_net(width: int = 4) -> nn.Module:
            return MyNet(width)
        def net_of_no_kind(width=4):
            return MyNet(width)
        def load(path) -> dict:
            return torch.load(path, weights_only=False)
        class Reader(nn.Module):
            def __init__(self, path: str):
                super().__init__()
                self.found = torch.load(path, weights_only=False)
        class NeedsMore(MyNet):
            def __init__(self, depth: int, label: str = None, **further):
                super().__init__(**further)
        """,
    "kinds.py": """
        import numpy as np
        import torch
        from torch import nn
        from torch.utils.data import Dataset
        from slackoff.evaluation import EvaluationImage
        from slackoff.images.sources import FileSource, Split
        from slackoff.metrics.protocol import Protocol
        from slackoff.tasks import SupervisedTask
        class Photos(FileSource):
            def __init__(self, names: list[str]):
                super().__init__(names, names)
                self.fixed_split = Split([0], [0])
            digests = ("a",)
            def size(self, index):
                return 64, 64
            def read(self, index):
                return np.full((64, 64, 3), 100, np.uint8)
        class Drops:
            def draw(self, count, height, width, generator):
                return torch.rand(count, 1, height, width, generator=generator).gt(0.9).float()
        class Loss(nn.Module):
            def forward(self, network, rainy, background):
                return (network(rainy) - background).abs().mean()
        class MyTask(SupervisedTask):
            pass
        class Pairs(Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, index):
                clean = torch.rand(3, 70, 64, generator=torch.Generator().manual_seed(index))
                return clean * 0.5 + 0.5, clean
        class Tests:
            def fingerprint(self):
                return "mine"
            def load(self, source, held_out):
                clean = torch.full((3, 20, 30), 0.5)
                return [EvaluationImage("one", clean, torch.zeros(1, 20, 30), clean, {"digest": "x"})]
        class MyProtocol(Protocol):
            pass
        """,
    "broken.py": "import no_such_thing_at_all",
    "wrong.py": "class Net(",
    "conf/network/mynet.yaml": "{name: mynet, _target_: mylab_q.nets.MyNet, width: 3}",
    "conf/network/unet_tiny.yaml": "{name: theirs, _target_: mylab_q.nets.MyNet}",
    "conf/experiment/mine.yaml": "# @package _global_\nstudy: {name: mine}\n",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the package ``mylab_q``, in which the test is; nobody has named it."""
    folder = tmp_path / "lab"
    for name, text in {"__init__.py": "", **LAB}.items():
        path = folder / "mylab_q" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    monkeypatch.chdir(folder)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    before = list(sys.path)
    forget()
    yield folder
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab_q"]:
        del sys.modules[name]
    forget()
    os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)


def forget() -> None:
    for cached in (packages._from_environment, packages._from_entry_points, packages._spec):
        cached.cache_clear()


@pytest.fixture
def named(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, "mylab_q")
    return lab


def made(target: str, **arguments: object) -> object:
    return build.build(OmegaConf.create({"_target_": f"mylab_q.{target}", **arguments}), "network")


def refusal(call: Callable[..., object], *given: object, **named: object) -> str:
    with pytest.raises(SlackoffError) as error:
        call(*given, **named)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_class_of_a_package_is_made_only_where_a_person_named_it(lab: Path, monkeypatch):
    sentence = refusal(made, "nets.MyNet")
    assert sentence.startswith("network._target_=mylab_q.nets.MyNet is refused: ")
    assert f"set {VARIABLE}=mylab_q in front of the command, or give it an entry point" in sentence
    assert "mylab_q" not in sys.modules
    monkeypatch.setenv(VARIABLE, " mylab_q , ")
    network = made("nets.MyNet", width=5, name="mine")
    assert isinstance(network, nn.Module)
    assert network.body[0].out_channels == 5
    assert sys.path[-1] == str(lab)
    assert VARIABLE not in refusal(build.build, OmegaConf.create({"_target_": "os.system"}), "network")
    assert VARIABLE in refusal(build.build, OmegaConf.create({"_target_": "timm.models.VGG"}), "network")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mylab_qq", "names mylab_qq, which is neither installed nor a folder in "),
        ("os", "names os, which is no package of classes for configs"),
        ("torch", "names torch, which is no package of classes"),
        ("slackoff", "names slackoff, which is no package"),
        ("mylab_q.nets", "has 'mylab_q.nets': give names of packages as Python imports them"),
        ("mylab_q;timm", "has 'mylab_q;timm'"),
    ],
)
def test_a_name_of_no_package_is_one_sentence(lab: Path, monkeypatch, text: str, words: str):
    monkeypatch.setenv(VARIABLE, text)
    assert f"{VARIABLE} {words}" in refusal(packages.named_packages)


@pytest.mark.parametrize(
    ("target", "arguments", "words"),
    [
        ("nets.MyNett", {}, "there is no class mylab_q.nets.MyNett; did you mean 'MyNet'?"),
        ("nots.MyNet", {}, "network._target_=mylab_q.nots.MyNet cannot be: there is no module mylab_q.nots"),
        ("broken.Net", {}, "cannot be imported: mylab_q.broken needs no_such_thing_at_all, which is not installed"),
        ("wrong.Net", {}, "cannot be imported: SyntaxError: "),
        ("nets.torch.load", {}, "there is no module mylab_q.nets.torch"),
        ("nets.nn", {}, "is refused"),
        ("nets.net_of_no_kind", {}, "is a function that does not say that it makes a network: write what it returns"),
        ("nets.load", {"path": "x"}, "is a function that does not say that it makes a network"),
        ("nets.MyNet", {"widht": 3}, "network.widht=3 is not known: did you mean 'network.width'?"),
        ("nets.MyNet", {"width": "3"}, "cannot be: give a whole number"),
        ("nets.make_net", {"wide": 1}, "network.wide=1 is not known: "),
        ("nets.NeedsMore", {"width": 3}, "network.depth is not given: NeedsMore needs it"),
    ],
)
def test_a_mistake_in_own_code_is_one_sentence(named: Path, target: str, arguments: dict, words: str):
    assert words in refusal(made, target, **arguments)


def test_what_says_that_it_is_none_by_default_may_be_none(named: Path):
    network = made("nets.NeedsMore", depth=1, label=None, width=2)
    assert network.body[0].out_channels == 2
    assert "network.label=3 cannot be: give text or null" in refusal(made, "nets.NeedsMore", depth=1, label=3)


OWN = {
    "background.source": {"_target_": "Photos", "names": ["a"]},
    "background.held_out": None,
    "rain": {"_target_": "Drops"},
    "task.loss": {"_target_": "Loss"},
    "evaluation.test_set": {"_target_": "Tests"},
}


def with_own(config: DictConfig, parts: dict[str, Any]) -> DictConfig:
    for key, node in parts.items():
        if isinstance(node, dict):
            node = {**node, "_target_": f"mylab_q.kinds.{node['_target_']}", "name": "mine"}
        OmegaConf.update(config, key, node, merge=False, force_add=True)
    return config


def test_each_part_of_a_cell_can_be_of_a_package(named: Path, composed, tmp_path: Path):
    config = with_own(composed("background.patch_count=1", "schedule.steps=3"), OWN)
    config.evaluation.protocol._target_ = "mylab_q.kinds.MyProtocol"
    config.task._target_ = "mylab_q.kinds.MyTask"
    assert Checks().check(config) > 0
    backgrounds = build.build_backgrounds(config)
    batch = build.build_training_data(config, backgrounds).open_stream(torch.device("cpu")).batch(0)
    assert 0.05 < batch.rain.mean() < 0.15
    assert torch.equal(batch.rainy, (batch.background + batch.rain).clamp(0, 1))
    assert batch.background.unique().tolist() == [pytest.approx(100 / 255)]
    network = build.build_network(config)
    assert build.build_task(config, network).losses(batch, 0)["loss"].item() > 0
    evaluator = build.build_evaluator(config, backgrounds)
    assert [image.name for image in evaluator.images] == ["one"]
    assert type(evaluator.protocol).__name__ == "MyProtocol"


def test_a_data_set_of_a_package_trains_a_cell(named: Path, prepared, composed):
    config = ["+labelled._target_=mylab_q.kinds.Pairs", "evaluation.count=1", "schedule.evaluate_every=4"]
    cell = prepared(*config, "schedule.steps=4")
    assert train_here(cell.folder) == CellExit.DONE
    assert "mylab_q.kinds.Pairs" in identity_of(cell.content, {})["code"]
    with pytest.raises(SlackoffError, match=r"unlabelled=rest takes the pairs that labelled.share leaves out"):
        Checks().check(composed(*config, "task=semi_supervised", "unlabelled=rest", "schedule.steps=4"))


def test_a_function_that_makes_a_network_stands_for_a_class_in_named_packages_only(named: Path):
    assert isinstance(made("nets.make_net", width=2), nn.Module)
    inner = {"_target_": "mylab_q.nets.make_net", "width": 2}
    wrapped = OmegaConf.create({"_target_": "slackoff.networks.ForeignNetwork", "network": inner})
    assert build.build(wrapped, "network")(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5, 7)
    assert "is refused" in refusal(
        build.build, OmegaConf.create({"_target_": "slackoff.networks.weights.start_from"}), "network"
    )


def test_no_package_reads_a_pickle_that_a_config_names(named: Path, tmp_path: Path):
    """A record can name any argument of a class that is allowed."""
    torch.save({"evil": Evil(tmp_path / "touched")}, tmp_path / "weights.pth")
    assert "cannot be built: Weights only load failed" in refusal(
        made, "nets.Reader", path=str(tmp_path / "weights.pth")
    )
    assert not (tmp_path / "touched").exists()


class Evil:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.file,)


def test_presets_of_a_package_join_ours_and_never_replace_one(named: Path, conf: Path):
    assert {"mynet", "unet_tiny"} <= set(preset_names())
    assert preset_names().count("unet_tiny") == 1
    assert compose_preset("mynet") == {"name": "mynet", "_target_": "mylab_q.nets.MyNet", "width": 3}
    assert compose_preset("unet_tiny").name == "unet_tiny"
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("config", ["network=mynet", "+experiment=mine"])
    assert (config.network.width, config.study.name) == (3, "mine")
    with pytest.raises(SlackoffError, match="did you mean 'mynet'"):
        check_presets(["mynett"], "--network")
    error = Exception("Could not find 'network/mynett'")
    assert explain(error, ["network=mynett"]) == "There is no network 'mynett': did you mean 'mynet'?"


def test_without_a_name_a_preset_of_the_folder_is_unknown(lab: Path):
    assert "mynet" not in preset_names()


def test_a_record_with_a_foreign_class_is_used_only_where_a_person_named_the_package(
    named: Path, prepared, tmp_path: Path, monkeypatch
):
    cell = prepared("network=mynet", "schedule.steps=2", "schedule.evaluate_every=2", "evaluation.count=1")
    assert train_here(cell.folder) == CellExit.DONE
    (said,) = json.loads((cell.folder / "environment.json").read_text())["named_packages"].items()
    assert said == ("mylab_q", {"version": None, "source": packages.source_digest("mylab_q")})
    file = tmp_path / "derainer.safetensors"
    save_file({"body.0.weight": torch.zeros(1)}, file, {NETWORK: json.dumps(read_config(cell.folder)["network"])})
    assert type(from_cell(cell.id, tmp_path / "runs").network).__name__ == "MyNet"
    monkeypatch.delenv(VARIABLE)
    for call, given in ((from_cell, (cell.id, tmp_path / "runs")), (from_file, (file,))):
        sentence = refusal(call, *given)
        assert "network._target_=mylab_q.nets.MyNet is refused" in sentence
        assert sentence.endswith("or give it an entry point in the group slackoff.packages")
    again = prepared("network=unet_tiny", "schedule.steps=2")
    config = OmegaConf.load(again.folder / "config.yaml")
    config.network = {"name": "mynet", "_target_": "mylab_q.nets.MyNet"}
    OmegaConf.save(config, again.folder / "config.yaml")
    assert train_here(again.folder) == CellExit.FAILED
    assert f"set {VARIABLE}=mylab_q" in str(written(again.folder).last_error)


def test_a_change_of_own_code_makes_another_cell_wherever_its_class_stands(named: Path, composed):
    config = OmegaConf.to_container(composed("network=mynet"), resolve=True)
    code = identity_of(config, {})["code"]
    assert {"mylab_q.nets.MyNet"} <= code.keys()
    config = OmegaConf.to_container(composed(), resolve=True)
    assert "mylab_q.nets.MyNet" not in identity_of(config, {})["code"]
    config["labelled"] = {"_target_": "mylab_q.nets.MyNet"}
    assert identity_of(config, {})["code"]["mylab_q.nets.MyNet"] == code["mylab_q.nets.MyNet"]


def test_processes_elsewhere_are_told_names_and_places(named: Path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/before")
    assert packages.environment() == {VARIABLE: "mylab_q", "PYTHONPATH": f"/before{os.pathsep}{named}"}
    monkeypatch.setenv(VARIABLE, "timm")
    monkeypatch.delenv("PYTHONPATH")
    assert packages.environment() == {VARIABLE: "timm"}
    monkeypatch.setenv(VARIABLE, "")
    assert packages.environment() == {}


def test_a_job_of_slurm_and_an_actor_of_ray_take_them_along(named: Path, tmp_path: Path, monkeypatch):
    jobs = pytest.importorskip("slackoff.sweep.slurm_jobs", reason="needs the extra slurm")
    job = jobs.CellJob(tmp_path, 1, 0)
    monkeypatch.delenv(VARIABLE)  # as in a job whose environment is the node's own
    assert job.environment[VARIABLE] == "mylab_q"
    assert job.checkpoint().function.environment == job.environment


def test_an_entry_point_names_a_package(lab: Path, monkeypatch):
    monkeypatch.syspath_prepend(str(lab))
    info = lab / "mylab_q-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mylab_q\nVersion: 1.2\n")
    (info / "top_level.txt").write_text("mylab_q\n")
    (info / "entry_points.txt").write_text("[slackoff.packages]\nmylab_q = mylab_q\nthe_os = os\ngone = no_such_q\n")
    forget()
    assert packages.named_packages() == ("mylab_q",)
    assert isinstance(made("nets.MyNet"), nn.Module)
    assert packages.describe({"_target_": "mylab_q.nets.MyNet"})["mylab_q"]["version"] == "1.2"
    assert "mynet" in preset_names()


def test_a_foreign_class_of_another_kind_is_refused(named: Path, mistake, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path, str(named)])
    task = mistake("task._target_=mylab_q.nets.MyNet", "size=smoke")
    assert task.startswith(
        "error: task._target_=mylab_q.nets.MyNet cannot be: give a class that is a slackoff.tasks.Task"
    )


@pytest.mark.slow
def test_a_sweep_in_processes_of_its_own_finds_a_package_of_the_folder(named: Path):
    """By the installed command, too, which does not look into the present folder."""
    command = [sys.executable, "-P", "-m", "slackoff", "network=mynet", "size=smoke", "trainer.precision=32-true"]
    done = subprocess.run([*command, "logger.wandb=false"], cwd=named, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (cell,) = (named / "runs" / "cells").iterdir()
    assert written(cell).state == "done"
