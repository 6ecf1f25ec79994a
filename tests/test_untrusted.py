"""What comes from somebody else (see docs/security.md): each attack of its table that no other file tries."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from slackoff.analysis import load
from slackoff.analysis.page import environment
from slackoff.cell.launch import CellExit
from slackoff.deraining.model import NETWORK, from_file
from slackoff.errors import SlackoffError
from slackoff.networks.weights import read_tensors
from slackoff.record.config import read_config
from slackoff.record.files import refuse_links_out
from slackoff.record.results import KINDS, kept_pictures
from slackoff.record.status import Status
from slackoff.sweep.display import say, status_table
from slackoff.sweep.manifest import read_manifest
from train_here import train_here

ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
"""Each part is ten times the one before: with `a0: &a0 [x]` before it a hundred billion values in 500 bytes."""


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def refused(call: Callable[..., object], *given: object) -> str:
    with pytest.raises(SlackoffError) as error:
        call(*given)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# Configs in records.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("network: !!python/object/apply:os.system ['touch made']", "could not determine a constructor"),
        (f"a0: &a0 [x]\n{ALIASES}", "a part of it stands for another one"),
        ("a: &a [*a]", "stands for another one"),
        ("a: {b: ['${oc.env:HOME}']}", "a cell's config is resolved"),
        ("${oc.env:HOME}: 1", "a cell's config is resolved"),
        ("[1, 2]", "it is no mapping"),
        ("a: [b", "cannot be read"),
        ("[" * 5000, "cannot be read"),
    ],
)
def test_a_config_of_a_record_is_plain_values_or_refused(text: str, words: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    sentence = refused(read_config, tmp_path)
    assert words in sentence
    assert os.environ["HOME"] not in sentence.partition("config.yaml")[2]
    assert not (tmp_path / "made").exists()


def test_a_config_of_a_record_is_read_as_the_config_tree_is(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml({"rate": 1e-5, "day": "2026-01-01", "no": ["no", None, 2]}))
    assert read_config(tmp_path) == {"rate": 1e-5, "day": "2026-01-01", "no": ["no", None, 2]}


def test_the_environment_of_this_machine_is_not_told_to_a_weight_file(tmp_path: Path, monkeypatch):
    """It would be written into the next export."""
    monkeypatch.setenv("SECRET", "hunter2")
    node = {"_target_": "slackoff.networks.UNet", "width": 4, "levels": 2, "name": "${oc.env:SECRET}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors", {NETWORK: json.dumps(node)})
    assert "in its metadata is damaged" in refused(from_file, tmp_path / "net.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "net.safetensors", {NETWORK: "[" * 100_000})
    assert "in its metadata is damaged" in refused(from_file, tmp_path / "net.safetensors")


# Manifests.


@pytest.mark.parametrize("key", ["runs", "hydra.launcher.setup", "+hydra.sweep.dir", "hydra/launcher", "hydra.run.dir"])
def test_a_manifest_says_neither_where_to_write_nor_what_to_run(key: str, tmp_path: Path):
    for place in ("row", "common"):
        row, common = ({key: "/x"}, {}) if place == "row" else ({"seed": 1}, {key: "/x"})
        (tmp_path / "m.yaml").write_text(json.dumps({"common": common or {"seed": 2}, "rows": [row]}))
        assert f"sets {key}, which only the command line can" in refused(read_manifest, str(tmp_path / "m.yaml"))


@pytest.mark.parametrize("value", ["${oc.env:SECRET}", "${${study.name}:SECRET}", ["a", {"b": "${ oc.env : SECRET}"}]])
def test_a_manifest_learns_nothing_of_this_machine(value: Any, tmp_path: Path):
    """The record, the report and W&B would show it."""
    (tmp_path / "m.yaml").write_text(json.dumps({"rows": [{"seed": 1, "study.title": value}]}))
    assert "study.title asks this machine for its value" in refused(read_manifest, str(tmp_path / "m.yaml"))
    (tmp_path / "m.yaml").write_text(json.dumps({"rows": [{"+start_from": "${roots.weights}/a.npz", "seed": 1}]}))
    assert len(read_manifest(str(tmp_path / "m.yaml"))) == 1


def test_a_manifest_is_not_larger_than_it_looks(tmp_path: Path):
    parts = "".join(f"  {line}\n" for line in f"a0: &a0 [x]\n{ALIASES}".splitlines())
    (tmp_path / "m.yaml").write_text(f"common:\n{parts}rows: [{{seed: 1}}]\n")
    assert "its aliases stand for more than 1,000,000 values" in refused(read_manifest, str(tmp_path / "m.yaml"))
    (tmp_path / "m.yaml").write_text("common: &a {b: *a}\nrows: [{seed: 1}]\n")
    assert "its aliases stand for" in refused(read_manifest, str(tmp_path / "m.yaml"))
    (tmp_path / "m.yaml").write_text("common: {x: &x [1, 2]}\nrows: [{y: *x}, {y: *x}]\n")
    assert [row.assignments["y"] for row in read_manifest(str(tmp_path / "m.yaml"))] == ["y=[1,2]"] * 2


# Weight files.


def test_a_weight_file_is_not_larger_than_it_looks(tmp_path: Path):
    path = tmp_path / "net.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (300 << 20,)})
        for _ in range(300):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 4_000_000
    assert "would take 0.3 GB unpacked" in refused(read_tensors, path)
    path.rename(tmp_path / "net.pth")
    assert "would take 0.3 GB unpacked" in refused(read_tensors, tmp_path / "net.pth")
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "net.pth")
    assert "a is larger than what the file holds of it" in refused(read_tensors, tmp_path / "net.pth")
    np.savez_compressed(tmp_path / "small.npz", a=np.zeros(1000, np.float32))  # a bias of zeros
    assert read_tensors(tmp_path / "small.npz")["a"].shape == (1000,)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, device="meta"),
        torch.eye(2).to_sparse(),
        torch.zeros(2).to(torch.float8_e4m3fn),
        torch._empty_affine_quantized([2], scale=1.0, zero_point=0, dtype=torch.qint8),
    ],
    ids=["meta", "sparse", "float8", "quantized"],
)
def test_a_tensor_of_another_kind_is_refused(tensor: torch.Tensor, tmp_path: Path):
    torch.save({"a": tensor}, tmp_path / "net.pth")
    assert "a is no plain tensor of numbers" in refused(read_tensors, tmp_path / "net.pth")


# Folders of records.


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a key")
    return path


def test_a_link_to_a_file_elsewhere_is_no_picture_of_a_cell(secret: Path, tmp_path: Path):
    """A small picture is put into reports as it is."""
    cell = tmp_path / "cells" / "abc"
    names = ("own", "linked")
    cell.mkdir(parents=True)
    pd.DataFrame({"test_set": "set", "image": names}).to_parquet(cell / "images.parquet")
    for image in names:
        folder = cell / "pictures" / "set" / image
        folder.mkdir(parents=True)
        for kind in KINDS:
            Image.new("RGB", (4, 4)).save(folder / f"{kind}.png")
    (cell / "pictures/set/linked/output.png").unlink()
    (cell / "pictures/set/linked/output.png").symlink_to(secret)
    (cell / "pictures/set/elsewhere").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "reached").symlink_to(cell, target_is_directory=True)  # a cell itself may lie on another disk
    assert list(kept_pictures(cell)) == list(kept_pictures(tmp_path / "reached")) == [("set", "own")]


def test_a_cell_writes_through_no_link(secret: Path, tmp_path: Path):
    folder = tmp_path / "cells" / "abc"
    folder.mkdir(parents=True)
    Status("abc", {}, 1).write(folder)
    (folder / "config.yaml").write_text("a: 1")
    (folder / "steps.jsonl").symlink_to(secret)
    assert train_here(folder) == CellExit.FAILED
    assert (
        f"{folder / 'steps.jsonl'} is a link that leads out of {folder}"
        in Status(**json.loads((folder / "status.json").read_text())).last_error
    )  # type: ignore[operator]
    assert secret.read_text() == "a key"
    (folder / "steps.jsonl").unlink()
    (folder / "checkpoints").symlink_to(tmp_path, target_is_directory=True)
    assert "checkpoints is a link that leads out" in refused(refuse_links_out, folder)
    (folder / "checkpoints").unlink()
    (folder / "latest").symlink_to("config.yaml")
    refuse_links_out(folder)


@pytest.mark.parametrize("identity", ["../../elsewhere", "/etc", "..", ""])
def test_a_study_reaches_no_folder_but_its_cells(identity: str, tmp_path: Path):
    folder = tmp_path / "runs" / "studies" / "s"
    folder.mkdir(parents=True)
    study = {"name": "s", "axis": "seed", "cells": [{"id": identity, "axes": {"seed": 0}}], "claims": []}
    (folder / "study.json").write_text(json.dumps(study | {"test_sets": [], "options": {}}))
    assert "cells.0.id: " in refused(load, folder)


def test_what_a_slurm_job_left_is_read_and_never_run(tmp_path: Path):
    slurm = pytest.importorskip("slackoff.sweep.slurm", reason="needs the extra slurm")
    paths = SimpleNamespace(folder=tmp_path, result_pickle=tmp_path / "result.pkl")
    paths.result_pickle.write_bytes(pickle.dumps(("success", Touch(tmp_path / "made"))))
    assert "names pathlib" in slurm._result(paths, look_anew=False)
    assert not (tmp_path / "made").exists()
    paths.result_pickle.write_bytes(pickle.dumps(("success", 4)))
    assert slurm._result(paths, look_anew=False) == 4
    paths.result_pickle.write_bytes(pickle.dumps(5))
    assert "cannot be read" in slurm._result(paths, look_anew=False)


# What is shown.

EVIL = "a\x1b]0;title\x07\x1b[2Jb\r\n[/red][link=http://x]c"


def test_words_of_a_record_do_not_steer_a_terminal():
    status = Status(f"id{EVIL}", {"network": EVIL, "patch_count": EVIL}, 4, state="failed", last_error=EVIL)
    out = io.StringIO()
    console = Console(file=out, width=400, force_terminal=True)
    say(console, EVIL)
    for row in status_table([status, Status("other", {"network": "b", "patch_count": 4}, 4)]):
        console.print(row)
    shown = out.getvalue()
    assert shown.count("[/red][link=http://x]c") == 5
    assert not {"\x1b]", "\x1b[2J", "\x07", "\r"} & {
        part for part in ("\x1b]", "\x1b[2J", "\x07", "\r") if part in shown
    }


@pytest.mark.parametrize("template", ["report.html.j2", "measurement.html.j2", "user_study.html.j2"])
def test_every_page_escapes_and_loads_nothing(template: str):
    made = environment()
    assert made.autoescape is True
    source = made.loader.get_source(made, template)[0]  # type: ignore[union-attr]
    assert "default-src 'none'" in source
    assert "|safe" not in source.replace(" ", "")
    assert "autoescape" not in source
