"""What a config of somebody else can make: classes of ours and of torch.nn. Before a refusal nothing runs."""

import json
import pickle
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import nn

from slackoff.cell.launch import CellExit
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.data import UnlabelledFolder
from slackoff.deraining.model import NETWORK, from_cell, from_file
from slackoff.errors import SlackoffError
from slackoff.record.status import Status
from train_here import train_here

Attack = Callable[[Path], dict[str, Any]]


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def command(file: Path) -> dict[str, Any]:
    return {"_target_": "slackoff.sweep.slurm.run", "_args_": ["touch", str(file)]}


def command_without_arguments_by_place(file: Path) -> dict[str, Any]:
    return {"_target_": "subprocess.Popen", "args": ["touch", str(file)]}


def pickled(file: Path) -> dict[str, Any]:
    path = file.with_name("weights.pth")
    path.write_bytes(pickle.dumps(Touch(file)))
    return {"_target_": "timm.models.load_state_dict", "checkpoint_path": str(path), "weights_only": False}


ATTACKS = (command, command_without_arguments_by_place, pickled)


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """The file that an attack makes."""
    return tmp_path / "touched"


@pytest.fixture
def refused(touched: Path) -> Callable[..., str]:
    """The sentence with which a call is refused, before anything has run."""

    def sentence(call: Callable[..., Any], *given: Any) -> str:
        with pytest.raises(SlackoffError, match="is refused: ") as raised:
            call(*given)
        assert not touched.exists()
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return sentence


@pytest.mark.parametrize("key", ["network", "rain", "task", "task.loss", "background.source", "evaluation.protocol"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_checking_a_config_runs_nothing_of_it(composed, refused, attack: Attack, key: str, touched: Path):
    config = composed()
    OmegaConf.update(config, key, {"name": "mine", **attack(touched)}, merge=False)
    assert re.match(rf"{key}\._(target|args)_", refused(Checks().check, config))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_config_folder_runs_nothing(attack: Attack, touched: Path, tmp_path: Path, mistake):
    folder = tmp_path / "theirs" / "network"
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.create({"name": "mine", **attack(touched)}), folder / "mine.yaml")
    sentence = mistake("--config-dir", str(folder.parent), "network=mine", "size=smoke")
    assert re.match(r"error: network\._(target|args)_.* is refused: ", sentence)
    assert not touched.exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_cell_a_record_and_a_weight_file_run_nothing(
    composed, refused, attack: Attack, touched: Path, tmp_path: Path
):
    config = composed()
    config.network = {"name": "mine", **attack(touched)}
    folder = tmp_path / "runs" / "cells" / "abc"
    folder.mkdir(parents=True)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    status = Status("abc", {}, 1)
    status.write(folder)
    assert train_here(folder) == CellExit.FAILED
    assert "is refused" in json.loads((folder / "status.json").read_text())["last_error"]
    status.state = "done"
    status.write(folder)
    tensors = {"weight": torch.zeros(1)}
    save_file(tensors, folder / "network.safetensors")
    assert f"{folder / 'config.yaml'}: network._" in refused(from_cell, "abc", tmp_path / "runs")
    file = tmp_path / "derainer.safetensors"
    save_file(tensors, file, {NETWORK: json.dumps(attack(touched))})
    assert f"{file}: network._" in refused(from_file, file)


def rain(**values: Any) -> DictConfig:
    return OmegaConf.create({"_target_": "slackoff.rain.RainRange", **values})


EVIL = {"_target_": "os.system", "command": "true"}


@pytest.mark.parametrize(
    ("node", "key"),
    [
        (rain(width=EVIL), r"rain\.width"),
        (rain(width=[EVIL]), r"rain\.width\[0\]"),
        (rain(width=[[1, EVIL]]), r"rain\.width\[0\]\[1\]"),
        (rain(width=[{"a": EVIL}]), r"rain\.width\[0\]\.a"),
        (rain(name=EVIL), r"rain\.name"),
        (rain(x={"_target_": "${y}"}, y="os.system"), r"rain\.x"),
        (rain(width="${oc.create:${text}}", text="{_target_: os.system, command: 'true'}"), r"rain\.width"),
        (rain(width=["${y}"], y=EVIL), r"rain\.width\[0\]"),
        (rain(width={"_target_": ["os.system"]}), r"rain\.width"),
        (rain(width={"_target_": None}), r"rain\.width"),
    ],
)
def test_a_foreign_target_is_found_wherever_it_stands(refused, node, key: str, monkeypatch):
    calls: list[Any] = []
    monkeypatch.setattr("os.system", calls.append)
    assert re.match(
        rf"{key}\._target_=.* is refused: a target is a class of slackoff\.", refused(build.build, node, "rain")
    )
    assert calls == []


def test_what_was_checked_is_what_is_made(monkeypatch):
    """In a copy of a node an interpolation, or one behind a backslash, could lead to another place than before."""
    calls: list[Any] = []
    monkeypatch.setattr("os.system", calls.append)
    modules = [{"_target_": "${place}"}]
    node = {"_target_": "torch.nn.ModuleList", "modules": modules, "place": "os.system"}
    with pytest.raises(SlackoffError, match=r"^network\.place=os\.system is not known: network has modules$"):
        build.build(OmegaConf.create({"place": "torch.nn.Identity", "network": node}).network, "network")
    photos = OmegaConf.create(
        {"_target_": "slackoff.data.UnlabelledFolder", "root": r"\${batch_size}", "batch_size": 2}
    )
    assert build.build(photos, "unlabelled") == UnlabelledFolder("${batch_size}", 2)
    assert calls == []


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("???", "Missing mandatory value: width"),
        ("${nowhere}", "Interpolation key 'nowhere' not found"),
        ("${no_such:1}", "Unsupported interpolation type no_such"),
        ("${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE' not found"),
    ],
)
def test_a_value_that_is_not_there_is_one_sentence(value: str, sentence: str):
    with pytest.raises(SlackoffError, match=f"^rain cannot be built: .*{sentence}") as raised:
        build.build(rain(width=value), "rain")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "slackoffish.Thing",
        "slackoff.cell.process.os.system",  # out through an imported name
        "slackoff.cell.process.Path",
        "slackoff.networks.unet.torch.load",
        "slackoff.cell.training.torch.load",
        "slackoff.sweep.local_cells.LocalCells",  # classes of ours that are in no config
        "slackoff.measurements.complexity.Path",
        "slackoff.measurements.runtime.compose_preset",
        "slackoff.sweep.slurm.Queue",
        "slackoff.losses.vgg.torch.hub.load",
        "slackoff.rain.render_layer",  # functions, modules and data in modules that configs use
        "slackoff.networks.unet",
        "slackoff.networks.__all__",
        "slackoff.networks.__class__",
        "slackoff.networks.UNet.load_state_dict",  # functions of classes
        "slackoff.tasks.SupervisedTask.load_from_checkpoint",
        "torch.nn.Module.__subclasses__",
        "torch.nn.Embedding.from_pretrained",
        "torch.nn.functional.relu",
        "torch.nn.DataParallel",  # it starts threads, the next one processes
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.utils.rnn.torch.load",
        "torch.nn.modules.module.torch.load",
        "torchmetrics.MeanSquaredError",  # other packages, which no config uses
        "timm.create_model",
        "kornia.io.load_image",
        "builtins.eval",
        "eval",
        "",
    ],
)
def test_a_target_is_a_class_of_a_module_for_configs(refused, target: str):
    node = OmegaConf.create({"_target_": target})
    assert refused(build.build, node, "network").startswith(
        f"network._target_={target} is refused: a target is a class"
    )


def test_a_foreign_module_is_not_even_imported(refused, touched: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "their_module.py").write_text(
        f"import pathlib; pathlib.Path({str(touched)!r}).touch()\nclass Thing: ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    refused(build.build, OmegaConf.create({"_target_": "their_module.Thing"}), "network")
    with pytest.raises(SlackoffError, match="must be local, slurm or ray"):
        make_launcher(OmegaConf.create({"_target_": "their_module.Thing"}))
    assert not touched.exists()


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_recursive_", "_convert_"])
@pytest.mark.parametrize("place", ["rain", "rain.width", "rain.width[0]"])
def test_keys_of_hydras_instantiate_are_refused(refused, key: str, place: str):
    item = {key: True}
    node = {"rain": rain(**item), "rain.width": rain(width=item), "rain.width[0]": rain(width=[item])}[place]
    assert (
        refused(build.build, node, "rain") == f"{place}.{key} is refused: give arguments by their names beside _target_"
    )


def test_nothing_is_made_of_a_node_with_a_foreign_target(refused, monkeypatch):
    made: list[Any] = []
    monkeypatch.setattr(nn.Identity, "__init__", lambda self: made.append(self))
    modules = [{"_target_": "torch.nn.Identity"}, {"_target_": "slackoff.rain.render_layer"}]
    refused(build.build, OmegaConf.create({"_target_": "torch.nn.ModuleList", "modules": modules}), "network")
    assert made == []


def test_layers_and_losses_of_torch_can_be_named():
    modules = [{"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 5, "kernel_size": 1}]
    made = build.build(OmegaConf.create({"_target_": "torch.nn.ModuleList", "modules": modules}), "network")
    assert isinstance(made, nn.ModuleList)
    assert made[0].weight.shape == (5, 3, 1, 1)
    assert isinstance(build.build(OmegaConf.create({"_target_": "torch.nn.L1Loss"}), "task.loss"), nn.L1Loss)


def make_launcher(node: DictConfig) -> Any:
    Plugins.instance()  # executes the modules of plugins anew, when it is called first
    return import_module("hydra_plugins.slackoff_launcher").make_launcher(node)


def test_settings_of_a_launcher_make_no_objects(touched: Path):
    settings = {"_target_": "hydra_plugins.slackoff_launcher.LocalLauncher", "slots": command(touched)}
    with pytest.raises(SlackoffError, match=r"^hydra\.launcher\.slots={.*} cannot be: give a whole number"):
        make_launcher(OmegaConf.create(settings))
    assert not touched.exists()
