"""The folder of an exported network: equal output again, a card that says what the record says, refusals."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cell_record import IDENTITY, result_rows
from omegaconf import OmegaConf
from safetensors import safe_open
from torch import nn

from slackoff.analysis.statistics import mean_interval
from slackoff.analysis.text import MINUS, NO_NUMBER
from slackoff.deraining import export as exporting
from slackoff.deraining.model import CELL, from_cell, from_file, from_preset
from slackoff.deraining.onnx import OnnxError
from slackoff.errors import EXIT_WITHOUT_ONNX, SlackoffError
from verbs import call, mistake


@pytest.fixture
def command(runs: Path, tmp_path: Path) -> tuple[object, ...]:
    """The verb that exports the cell without ONNX to out/."""
    return "export", "--cell", IDENTITY[:6], "-o", tmp_path / "out", "--no-onnx", "--runs", runs


@pytest.fixture
def exported(command, tmp_path: Path) -> Path:
    found = call(*command)
    assert (found.exit_code, found.stderr) == (0, "")
    return tmp_path / "out"


def front_and_text(folder: Path) -> tuple[dict, str]:
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_files_alone_give_the_same_network_and_config_again(exported: Path, runs: Path, trained: nn.Module):
    recorded = OmegaConf.load(runs / "cells" / IDENTITY / "config.yaml")
    assert OmegaConf.load(exported / "config.yaml") == recorded
    images = torch.rand(2, 3, 17, 23)
    assert torch.equal(from_file(exported / "model.safetensors").network(images), trained(images))
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        assert file.metadata()[CELL] == IDENTITY
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float32}  # noqa: SIM118


def test_what_a_machine_reads_of_the_card_are_the_means_of_the_record(exported: Path):
    front, _ = front_and_text(exported)
    assert front["pipeline_tag"] == "image-to-image"
    assert (front["license"], front["library_name"]) == ("other", "slackoff")
    assert "onnx" not in front["tags"]
    results = front["model-index"][0]["results"]
    assert [result["dataset"]["name"] for result in results] == ["r100like, easy", "r100like, hard"]
    for result, (_, rows) in zip(results, result_rows().groupby("test_set"), strict=True):
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert list(values) == ["e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb"]
        assert values == pytest.approx({name: rows[name].mean() for name in values}, abs=1e-6)


def test_the_table_has_means_oracles_and_intervals(exported: Path):
    _, text = front_and_text(exported)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    found = mean_interval(result_rows().query("test_set == 'hard'")["psnr_rgb"])
    assert f"23.00 [{found.low:.2f}, {found.high:.2f}]" in rows["hard"]
    assert "| 20.0 (40.0) [" in rows["easy"]
    assert "| 26.00 [" in rows["easy"]
    assert f"untouched input | {NO_NUMBER} | {NO_NUMBER} | {NO_NUMBER} | 24.00 | 0.700 |" in text


def test_the_card_says_what_it_was_trained_on_and_where_it_does_harm(exported: Path):
    _, text = front_and_text(exported)
    assert "N = 4 patches of 64x64 px from the backgrounds `builtin`; rain range `small` (quantity [200, 300]" in text
    assert "Task `supervised`, loss L1: 20 steps of batches of" in text
    assert "a pair is left out." in text
    assert "`easy`: the output's PSNR is above that of the untouched input by 2.00 dB" in text
    harm = f"`hard`: it does harm. The output's PSNR differs from that of the untouched input by {MINUS}1.00 dB"
    assert harm in text
    assert "pixels without rain end up 5.0 grey levels (95 % interval" in text
    assert "12.5 device-seconds of training (20 steps) and 3.2 of measuring, on Some CPU @ 2.5GHz, 1 thread." in text
    assert "Trained with Python 3.12.1, slackoff 0.1.0, torch 2.15.0." in text
    assert "Ronneberger et al., U-Net" in text
    assert "Protocol slackoff-v1: rain R > 0, 10, 20, 50 of 255" in text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"start_from": "/weights/rain.safetensors"}, "- Started from the weights `rain.safetensors`.\n"),
        ({"schedule": {"steps": 0}}, "- Not trained: measured as it was.\n"),
        ({"unlabelled": {"name": "photos"}}, "- Unlabelled images without truth: `photos`.\n"),
    ],
)
def test_the_card_says_what_else_it_was_made_from(exported: Path, runs: Path, command, tmp_path: Path, change, line):
    assert line not in front_and_text(exported)[1]
    path = runs / "cells" / IDENTITY / "config.yaml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(path), change), path)
    assert call(*command, "--overwrite").exit_code == 0
    assert line in front_and_text(exported)[1]


def test_the_lines_of_plain_pytorch_give_the_trained_network(exported: Path, trained: nn.Module, monkeypatch):
    _, text = front_and_text(exported)
    monkeypatch.chdir(exported)
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert names["derained"].shape == (1, 3, 64, 96)
    images = torch.rand(1, 3, 24, 32)
    with torch.inference_mode():
        assert torch.equal(names["network"](images), trained(images))


def test_a_teacher_has_its_own_weights_and_results(trained: nn.Module, runs: Path, tmp_path: Path):
    folder = tmp_path / "taught"
    exporting.export(from_cell(IDENTITY, runs, "teacher"), folder, with_onnx=False, license_id="mit")
    front, text = front_and_text(folder)
    assert (front["license"], "No licence" in text) == ("mit", False)
    assert front["model-index"][0]["results"][0]["metrics"][3]["value"] == pytest.approx(29)
    images = torch.rand(1, 3, 8, 8)
    assert not torch.equal(from_file(folder / "model.safetensors").network(images), trained(images))


def test_a_file_without_a_record_says_that_nothing_is_known(exported: Path, tmp_path: Path):
    found = call("export", "--model", exported / "model.safetensors", "-o", tmp_path / "again", "--no-onnx")
    assert (found.exit_code, found.stderr) == (0, "")
    front, text = front_and_text(tmp_path / "again")
    assert "model-index" not in front
    assert "Nothing is recorded of how it was trained" in text
    assert "Nothing was measured" in text


def test_a_method_without_weights_is_refused(tmp_path: Path):
    with pytest.raises(SlackoffError, match="no weights to export: derain photos with it"):
        exporting.export(from_preset("dsc"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_is_kept_unless_asked(exported: Path, command, tmp_path: Path):
    (exported / "README.md").write_text("edited")
    assert "holds an export already" in mistake(*command)
    assert (exported / "README.md").read_text() == "edited"
    assert call(*command, "--overwrite").exit_code == 0
    assert (exported / "README.md").read_text() != "edited"
    (exported / "mine.txt").write_text("mine")
    assert "holds mine.txt, which no export wrote" in mistake(*command, "--overwrite")
    assert (exported / "mine.txt").exists()
    assert not list(tmp_path.glob(".out.*"))


def test_an_export_that_cannot_take_its_place_leaves_the_old_one(exported: Path, command, monkeypatch):
    (exported / "README.md").write_text("edited")
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self.suffix == ".partial" and Path(target) == exported:
            raise OSError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    call(*command, "--overwrite")
    assert (exported / "README.md").read_text() == "edited"
    assert [path.name for path in exported.parent.iterdir() if path.name.startswith(".")] == []


def test_without_onnx_the_rest_is_there_and_the_exit_code_tells(command, tmp_path: Path, monkeypatch):
    def refuse(network: nn.Module, *_: object) -> None:
        raise OnnxError(network, "differs from PyTorch")

    monkeypatch.setattr(exporting, "require_onnx", lambda: None)
    monkeypatch.setattr(exporting, "write_onnx", refuse)
    found = call(*command, "--onnx")
    assert found.exit_code == EXIT_WITHOUT_ONNX
    sentence = "No ONNX file was left: that of UNet differs from PyTorch; --size HEIGHT WIDTH tries one size only"
    assert found.stdout.splitlines()[-1] == sentence
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["README.md", "config.yaml", "model.safetensors"]
    assert "onnxruntime" not in (tmp_path / "out" / "README.md").read_text()


def test_a_full_disk_leaves_the_old_export(exported: Path, command, tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "README.md")

    monkeypatch.setattr(exporting, "write_text", full)
    before = (exported / "model.safetensors").read_bytes()
    assert "No space left on device" in mistake(*command, "--overwrite")
    assert (exported / "model.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "Name the network by --cell HASH or by --model FILE"),  # the rest of such choices: test_derain_verb.py
        (["--cell", "beef"], "There is no cell 'beef'"),
        (["--model", "b.pth", "--network", "unte"], "did you mean 'unet"),
        (["--model", "nowhere.pth", "--network", "unet"], "nowhere.pth is not there"),
        (["--cell", IDENTITY, "--size", "0", "5"], "--size 0 5 must be at least 1 pixel"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(arguments, part, runs, tmp_path):
    assert part in mistake("export", *arguments, "-o", tmp_path / "out", "--no-onnx", "--runs", runs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["images.parquet", "config.yaml", "environment.json"])
def test_a_damaged_record_is_one_sentence(name, command, runs, tmp_path):
    path = runs / "cells" / IDENTITY / name
    path.write_bytes(path.read_bytes()[:20] + b"{[")
    assert name in mistake(*command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[1]", '{"packages": [1]}', '{"threads": "two"}', "[" * 100_000])
def test_an_environment_of_other_types_is_one_sentence(content, command, runs, tmp_path):
    path = runs / "cells" / IDENTITY / "environment.json"
    path.write_text(content)
    assert f"{path} cannot be read ({path} is damaged (" in mistake(*command)
    assert not (tmp_path / "out").exists()
