"""A key, a file or a line of code is part of a cell's identity if and only if it can change the cell's result."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from slackoff.cell import training
from slackoff.config import schema
from slackoff.errors import SlackoffError
from slackoff.record.status import Status
from slackoff.sweep import identity
from slackoff.sweep.expand import resolved
from slackoff.sweep.identity import Fingerprints, _counted_keys, cell_id, differences, identity_of
from slackoff.sweep.plan import with_ranks
from slackoff.tasks import Task

TINY = (
    "network.width=4",
    "network.levels=2",
    "background.patch_count=3",
    "background.patch_size_px=40",
    "schedule.steps=2",
    "schedule.batch_size=2",
    "schedule.evaluate_every=1",
    "evaluation.count=2",
    "evaluation.quick_count=1",
    "evaluation.picture_count=1",
    "evaluation.test_set.size_px=64",
)
OTHER = {
    "schedule.warmup_steps": 2,
    "trainer.gradient_clip_norm": 1e-3,
    "trainer.ema_decay": 0.5,
    "task.betas.1": 0.9,
    "evaluation.test_set.rain.angle_deg.1": 45.0,
    "rain.width.0": 7,
    "rain.length.0": 29,
    "background.patch_size_px": 48,
    "evaluation.test_set.size_px": 72,
    "evaluation.protocol.headline": 20,
    "evaluation.protocol.thresholds.0": 1,
    "task.loss._target_": "slackoff.losses.MSE",
    "trainer.precision": "bf16-mixed",
    "trainer.accelerator": "cpu",
}
"""Other values of keys for which not every one of the same type will do."""
NOT_ALONE = {
    "background.held_out": "the built-in photos have a fixed split",
    "evaluation.protocol.thresholds.1": "the headline must be one of them",
    **dict.fromkeys(
        (
            "background.source._target_",
            "rain._target_",
            "network._target_",
            "task._target_",
            "task.decay._target_",
            "evaluation.protocol._target_",
            "evaluation.test_set._target_",
            "evaluation.test_set.rain._target_",
        ),
        "another class takes other arguments",
    ),
}
"""Keys that cannot be changed alone."""
UNSEEN_HERE = {"trainer.tf32": True, "logger.wandb": False, "schedule.keep_best": True}
"""Whether keys count whose effect does not show here: one is for GPUs, one would start W&B, one needs pairs."""


def plain_config(composed) -> dict[str, Any]:
    """As composed, interpolations unresolved."""
    return OmegaConf.to_container(composed(*TINY))


def leaves(node: Any, key: str = "") -> Iterator[str]:
    if isinstance(node, dict | list) and node:
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key


def at(node: Any, path: list[str]) -> Any:
    for name in path:
        node = node[int(name) if isinstance(node, list) else name]
    return node


def changed(key: str, value: Any) -> Any:
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    first = key.endswith(".0")  # of a range: it must stay below the second
    if isinstance(value, int):
        return value - 1 if first else value + 1
    if isinstance(value, float):
        return value * (0.5 if first and value > 0 else 1.5)
    return {"": "x"}.get(value, f"{value}_x") if isinstance(value, str) else (["x"] if value == [] else {})


def result(config: dict[str, Any], folder: Path, monkeypatch) -> dict[str, Any]:
    """What a cell gives: first weights, batches, losses, last weights, and all that is measured and shown."""
    found: dict[str, Any] = {"steps": []}
    losses = Task.training_step

    def recorded(task: Task, batch: Any, number: int) -> dict[str, torch.Tensor]:
        found.setdefault("first weights", [value.clone() for value in task.network.state_dict().values()])
        given = losses(task, batch, number)
        found["steps"].append((batch.rainy.clone(), batch.background.clone(), given["loss"].detach().clone()))
        return given

    monkeypatch.setattr(Task, "training_step", recorded)
    folder.mkdir(parents=True)
    training.run_cell(OmegaConf.create(config), folder, Status("0" * 12, {}, 2), time.monotonic())
    monkeypatch.undo()
    found["last weights"] = load_file(folder / "network.safetensors")
    found["images"] = pd.read_parquet(folder / "images.parquet").to_dict("list")
    rows = (json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines())
    found["means"] = [
        (row["step"], name, value) for row in rows for name, value in row.items() if name[:5] in ("test/", "final")
    ]
    found["pictures"] = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)  # NaN: no rain, no error of it


def identity_at(config: dict[str, Any]) -> str:
    content = resolved(OmegaConf.create(config))
    return cell_id(content, Fingerprints().of(content))


@pytest.mark.parametrize("part", sorted(schema.Config.__required_keys__))
def test_each_key_counts_if_and_only_if_it_changes_the_result(part, composed, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    base = plain_config(composed)
    assert base.keys() == schema.Config.__required_keys__
    values = OmegaConf.to_container(OmegaConf.create(base), resolve=True)
    expected, known = result(base, tmp_path / "cells" / "base", monkeypatch), identity_at(base)
    wrong = []
    for key in (key for key in leaves(base[part], part) if key not in NOT_ALONE):
        config = OmegaConf.to_container(OmegaConf.create(base))
        *path, name = key.split(".")
        parent = at(config, path)
        parent[int(name) if isinstance(parent, list) else name] = changed(key, at(values, key.split(".")))
        counts = identity_at(config) != known
        matters = UNSEEN_HERE.get(key)
        if matters is None:
            matters = not same(expected, result(config, tmp_path / "cells" / key, monkeypatch))
        if counts != matters:
            wrong.append(f"{key}: {'changes' if matters else 'does not change'} the result, {counts=}")
    assert not wrong, "\n".join(wrong)


def test_the_digest_of_the_backgrounds_is_that_of_the_cell_alone_whatever_was_planned_before(composed, tmp_path):
    for number in range(8):
        Image.new("RGB", (80, 80), (number, 0, 0)).save(tmp_path / f"{number}.png")
    photos = ("background=folder", f"background.root={tmp_path}")
    contents = [resolved(composed(*photos, f"background.held_out={share}")) for share in (0.25, 0.5)]
    together = Fingerprints()
    found = [together.of(content)["background"] for content in contents]
    assert found == [Fingerprints().of(content)["background"] for content in contents]
    assert found[0] != found[1]


def test_the_id_is_the_hash_of_what_the_record_says(composed):
    content = resolved(composed())
    made_from = identity_of(content, {"b": "2", "a": "1"})
    text = json.dumps(json.loads(json.dumps(made_from)), sort_keys=True)
    assert cell_id(content, {"a": "1", "b": "2"}) == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert "slackoff.networks.unet.UNet" in made_from["code"]
    assert "slackoff.losses.losses.L1" in made_from["code"]


@pytest.mark.parametrize(
    ("overrides", "change", "counts"),
    [
        (["task=multitask"], {"task.terms": {"key": "PIXEL", "name": "PIXEL", "root": "PIXEL"}}, True),
        (["task=multitask"], {"task.terms.pixel.name": "mine"}, False),
        (["network=menet"], {"network.key": 3}, True),
        (["network=menet"], {"network.root": "here"}, True),
        ([], {"evaluation.test_set.name": "mine"}, True),
        (["unlabelled=thin", "task=semi_supervised"], {"unlabelled.rain.key": "x"}, False),
        ([], {"rain.key": "x"}, False),
        ([], {"start_from": None}, False),
    ],
)
def test_labels_and_places_are_such_only_where_the_schema_says_so(composed, overrides, change, counts):
    config = composed(*overrides)
    before = cell_id(resolved(config), {})
    for key, value in change.items():
        if isinstance(value, dict):
            value = {name: OmegaConf.to_container(config.task.terms.pixel) for name in value}
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    assert (cell_id(resolved(config), {}) != before) is counts


def test_a_term_without_a_digest_of_its_own_counts_as_it_is_written():
    node = {"_target_": "slackoff.losses.PixelMSE", "scale": 2.0}
    assert identity._node_digest("task.terms.pixel", node) == json.dumps(node)


def test_ranks_count_and_are_the_launchers_to_say(composed):
    config = resolved(composed())
    assert with_ranks([config], 1) == [config]
    (two,) = with_ranks([config], 2)
    assert two["trainer"]["ranks"] == 2
    assert cell_id(two, {}) != cell_id(config, {})
    assert "ranks" not in config["trainer"]
    with pytest.raises(SlackoffError, match=r"^trainer\.ranks is what hydra\.launcher\.gpus_per_cell asks for"):
        with_ranks([two], 2)


def test_differences_name_keys_data_and_code(composed):
    one = identity_of(resolved(composed()), {"background": "a" * 64})
    overrides = ("network.width=8", "task=multitask", "rain.width=[5,7]")
    other = identity_of(resolved(composed(*overrides)), {"background": "b" * 64, "labelled": "c" * 64})
    lines = differences(one, other)
    assert differences(one, one) == []
    assert {
        "network.width: 4 and 8",
        "rain.width: [5] and [5, 7]",
        "task.betas: [0.9, 0.99] and [0.9, 0.999]",
        "task.loss._target_: slackoff.losses.L1 and not there",
        f"data: background: {'a' * 12} and {'b' * 12}",
        f"data: labelled: not there and {'c' * 12}",
    } <= set(lines)
    assert any(line.startswith("code: slackoff.tasks.multitask.MultitaskTask: not there and ") for line in lines)
    assert not any("networks.unet" in line for line in lines)


@pytest.mark.parametrize("where", [[], ["-m"]], ids=["one cell", "sweep"])
def test_unknown_keys_end_a_command_before_anything_is_trained(where, mistake, tmp_path):
    assert mistake(*where, "+sed=1") == "error: sed=1 is not known: did you mean 'seed'?"
    assert not list(tmp_path.glob("runs/*"))


def test_a_mistake_in_a_row_names_the_row(mistake, tmp_path):
    (tmp_path / "mine.yaml").write_text("rows:\n  - {network: unet_tiny, network.global_residual: 'no'}\n")
    sentence = mistake("-m", "+experiment=manifest", "study.manifest=mine.yaml", "size=smoke")
    assert sentence.startswith("error: mine.yaml, row 1 (line 2): network.global_residual=no is text, and any text")
    assert not list(tmp_path.glob("runs/*"))


def test_what_is_a_place_to_a_class_of_ours_counts_for_a_class_of_others():
    """``pairs`` may be anything to another class; where its files lie (``root``) is told by their digest."""
    node = {"_target_": "mylab.data.Pairs", "root": "here", "pairs": "all", "memory_gb": 1}
    hint = schema.types_of(schema.Config)["labelled"]
    assert _counted_keys(node, hint) == {"_target_": "mylab.data.Pairs", "pairs": "all", "memory_gb": 1}
    ours = node | {"_target_": "slackoff.images.LabelledPairs"}
    assert _counted_keys(ours, hint) == {"_target_": "slackoff.images.LabelledPairs"}
