"""Ten thousand inputs that nobody meant: each is used or refused in one sentence, and none runs code or writes outside.

The inputs begin as lawful ones and are then damaged by hypothesis: configs, overrides, manifests, images, weight files,
votes, ledgers, status files and studies. ``make chaos`` tries them all; a failure prints the input that repeats it.
"""

import io
import json
import os
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from rich.console import Console
from safetensors.torch import save

from slackoff.analysis import load
from slackoff.cli.hydra_app import with_quoted_paths
from slackoff.config.build import build
from slackoff.config.mistakes import NO_GROUP_CHOICE, explain
from slackoff.config.validate import check_config, checked_node
from slackoff.errors import SlackoffError
from slackoff.images.files import image_size, read_rgb
from slackoff.networks.weights import read_tensors
from slackoff.record.files import Patience
from slackoff.record.ledger import HeartbeatMonitor, attempts, latest
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import CellFolders
from slackoff.sweep.display import status_table
from slackoff.sweep.expand import Expander
from slackoff.sweep.manifest import read_manifest
from slackoff.user_study.votes import read_scores, read_votes

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:(Corrupt EXIF data|Truncated File Read):UserWarning"),
]

TRIED = {"configs": 2000, "targets": 1000, "overrides": 500, "manifests": 1000, "images": 2000, "weights": 1500}
TRIED |= {"votes": 1000, "ledgers": 500, "statuses": 500, "studies": 200}


DONE: Counter[str] = Counter()
FOUND: Counter[str] = Counter()


def tried(kind: str, *inputs: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Runs a check on as many inputs as are asked for and counts them: a search of hypothesis may end earlier."""

    def run(check: Callable[..., None]) -> None:
        @settings(
            max_examples=TRIED[kind],
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            print_blob=True,
        )
        @given(st.tuples(*inputs))
        def counted(values: tuple[Any, ...]) -> None:
            check(*values)
            DONE[kind] += 1

        while DONE[kind] < TRIED[kind]:
            before = DONE[kind]
            counted()
            assert DONE[kind] > before

    return run


TEXTS = st.sampled_from(
    [
        "",
        " ",
        "no",
        "auto",
        "null",
        "~",
        "../x",
        "/etc/passwd",
        "${runs}",
        "${oc.env:HOME}",
        "a=b",
        "巴黎",
        "\x00",
        "\ud800",
        "9" * 400,
    ]
) | st.text(max_size=8)
NUMBERS = st.sampled_from([0, -1, 2**63, 1e308, float("nan"), float("inf"), -0.0]) | st.integers(-9, 9)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "root", "_args_"]) | TEXTS, below, max_size=3)
    ),
    max_leaves=5,
)


class Canary:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test is, its inputs in a folder of it; whatever appears beside that was written where it should not."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def only_sentences(room: Path) -> Iterator[None]:
    """Any refusal is one sentence, and nothing but ``room/input`` has appeared."""
    said = ["used"]
    try:
        yield
    except SlackoffError as refusal:
        said = str(refusal).strip().splitlines()
    except Exception:
        FOUND["tracebacks"] += 1
        raise
    appeared = {path.name for path in room.iterdir()} - {"input"}
    FOUND["code run"] += "sentinel" in appeared
    FOUND["files outside"] += bool(appeared - {"sentinel"})
    assert len(said) == 1, said
    assert not appeared


def changed(content: Any, chance: random.Random, value: Any) -> None:
    """Set, add or drop one entry somewhere in nested dicts and lists."""
    while True:
        keys = list(content) if isinstance(content, dict) else list(range(len(content)))
        key = chance.choice(keys) if keys else None
        if key is not None and isinstance(content[key], (dict, list)) and chance.random() < 0.8:
            content = content[key]
            continue
        way = chance.choice(["set", "add", "drop"])
        if way == "add" and isinstance(content, dict):
            content[chance.choice(["extra", "_args_", "_partial_", "name", "key", "root"])] = value
        elif way == "drop" and key is not None:
            del content[key]
        elif key is not None:
            content[key] = value
        return


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes with a few flipped, cut off, doubled or put in."""
    found = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        place = chance.randrange(len(found) + 1)
        match chance.choice(["flip", "cut", "double", "insert", "zero"]):
            case "flip" if place < len(found):
                found[place] ^= 1 << chance.randrange(8)
            case "cut":
                del found[place:]
            case "double":
                found[place:place] = found[: chance.randrange(64)]
            case "insert":
                found[place:place] = chance.randbytes(chance.randrange(1, 9))
            case "zero":
                found[place : place + 4] = bytes(4)
    return bytes(found)


RANDOM = st.randoms(use_true_random=False)


@pytest.fixture(scope="module")
def contents(conf: Path) -> list[dict[str, Any]]:
    """Resolved configs of several regimes."""
    pairs = ["labelled=pairs", "labelled.root=pairs"]
    photos = ["unlabelled=folder", "unlabelled.root=photos", "task=semi_supervised"]
    kinds = [[], [*pairs, *photos], ["task=multitask", "evaluation=rain100l"], ["task=prenet", "network=prenet_small"]]
    found = []
    with initialize_config_dir(str(conf), version_base="1.3"):
        for overrides in kinds:
            config = compose("config", ["size=smoke", "network=unet_tiny", *overrides])
            found.append(OmegaConf.to_container(config, resolve=True))
    return found  # type: ignore[return-value]


def test_configs(contents: list[dict[str, Any]], room: Path):
    @tried("configs", RANDOM, st.lists(VALUES, min_size=1, max_size=2))
    def check(chance: random.Random, values: list[Any]) -> None:
        content = json.loads(json.dumps(chance.choice(contents)))
        for value in values:
            changed(content, chance, value)
        with only_sentences(room):
            check_config(content)


TARGETS = st.sampled_from(
    [
        "os.system",
        "subprocess.Popen",
        "builtins.exec",
        "torch.hub.load",
        "torch.nn.Module",
        "torch.nn.modules.module.Module",
        "torch.nn.Conv2d",
        "torch.nn.functional.relu",
        "slackoff.networks.UNet.__init__",
        "slackoff.networks.unet.os",
        "slackoff.networks",
        "slackoff.rain.RainRange",
        "slackoff.images.files.Path",
        "hydra.utils.get_class",
        "timm.models.load_state_dict",
        "",
        ".",
        "..",
    ]
)


def test_targets(room: Path):
    sentinel = room / "sentinel"

    @tried(
        "targets",
        TARGETS | TEXTS,
        st.dictionaries(st.sampled_from(["_args_", "_partial_", "cmd", "args", "source"]), VALUES, max_size=2),
    )
    def check(target: str, arguments: dict[str, Any]) -> None:
        node = {"_target_": target, "command": f"touch {sentinel}", **arguments}
        with only_sentences(room):
            checked_node(node, "network")
        with only_sentences(room), np.errstate(all="ignore"):
            build(OmegaConf.create(node), "network")


def test_overrides(conf: Path, room: Path):
    keys = ["seed", "network", "task.learning_rate", "background.root", "trainer.precision", "runs", "evaluation"]
    keys += ["terms@task.terms", "+x", "~seed", "study.options"]
    groups = [path.name for path in conf.iterdir() if path.is_dir()]

    def composed(overrides: list[str]) -> DictConfig:
        with initialize_config_dir(str(conf), version_base="1.3"):
            return compose("config", overrides)

    @tried("overrides", st.lists(st.tuples(st.sampled_from(keys) | TEXTS, TEXTS), min_size=1, max_size=2))
    def check(pairs: list[tuple[str, str]]) -> None:
        overrides = with_quoted_paths(["size=smoke", *(f"{key}={value}" for key, value in pairs)])
        with only_sentences(room):
            try:
                check_config(Expander(composed, groups)(overrides))
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                if type(error) is ValueError and NO_GROUP_CHOICE not in str(error):
                    raise
                raise SlackoffError(explain(error, overrides)) from error


def test_manifests(room: Path):
    lawful = (
        b"common:\n  network: unet\nrows:\n  - {background.patch_count: 8, seed: 0}\n  - {seed: 1, task: [a, 'b']}\n"
    )

    @tried("manifests", RANDOM, st.none() | VALUES)
    def check(chance: random.Random, value: Any) -> None:
        content = damaged(lawful, chance) if value is None else json.dumps({"rows": value}).encode()
        (room / "input").write_bytes(content)
        with only_sentences(room):
            read_manifest(str(room / "input"))


def test_images(room: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 18, 3), dtype=np.uint8)
    files = []
    for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF"):
        for mode in ("RGB", "L", "RGBA", "P"):
            buffer = io.BytesIO()
            try:
                exif = Image.Exif()
                exif[0x0112] = 6
                Image.fromarray(pixels).convert(mode).save(buffer, kind, exif=exif)
            except (OSError, ValueError):
                continue
            files.append(buffer.getvalue())

    @tried("images", RANDOM)
    def check(chance: random.Random) -> None:
        path = room / "input"
        path.write_bytes(damaged(chance.choice(files), chance))
        with only_sentences(room):
            size = image_size(path)
            assert read_rgb(path).shape == (*size, 3)


def test_weight_files(room: Path):
    tensors = {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.zeros(2)}
    sentinel = room / "sentinel"
    files: list[tuple[str, bytes]] = [(".safetensors", save(tensors))]
    for content in (tensors, {"params": tensors}, {"state_dict": tensors}, [1, "a"], torch.nn.Linear(2, 2)):
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
            files.append((".pth", buffer.getvalue()))
    buffer = io.BytesIO()
    np.savez(buffer, **{name: tensor.numpy() for name, tensor in tensors.items()})
    files.append((".npz", buffer.getvalue()))
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([Canary(sentinel)], dtype=object))
    files.append((".npz", buffer.getvalue()))
    buffer = io.BytesIO()
    torch.save({"a": Canary(sentinel)}, buffer)
    files += [(".pth", buffer.getvalue()), (".pt", pickle.dumps(Canary(sentinel)))]

    @tried("weights", RANDOM)
    def check(chance: random.Random) -> None:
        suffix, content = chance.choice(files)
        path = room / "input" / f"weights{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if chance.random() < 0.1 else damaged(content, chance))
        with only_sentences(room):
            read_tensors(path)


def test_votes(room: Path):
    lawful = b"rater,image,method,shown,voted_at\na,1,x,x|y,2024\nb,1,y,x|y,2024\n"
    scores = b"image,method,score\n1,x,0.5\n1,y,0.25\n"

    @tried("votes", RANDOM, st.none() | st.text(alphabet='ab,|"\n\r\x00é ', max_size=40))
    def check(chance: random.Random, text: str | None) -> None:
        path = room / "input"
        for read, content in ((read_votes, lawful), (read_scores, scores)):
            path.write_bytes(damaged(content, chance) if text is None else content + text.encode())
            with only_sentences(room):
                read(path)


@contextmanager
def cell_with(room: Path, name: str, content: bytes) -> Iterator[Path]:
    cell = room / "input" / "cells" / "0123456789ab"
    (cell / "attempts").mkdir(parents=True, exist_ok=True)
    Status("0123456789ab", {"network": "unet", "patch_count": 4, "seed": 0, "precision": "32-true"}, 4).write(cell)
    attempt = {
        "owner": None,
        "claimed_at": "2024-01-01T00:00:00+00:00",
        "slot": "",
        "outcome": None,
        "ended_at": None,
        "error": None,
    }
    (cell / "attempts" / "0001.json").write_text(json.dumps(attempt))
    (cell / name).write_bytes(content)
    yield cell


def shown_as_a_user_would(cell: Path) -> None:
    console = Console(file=io.StringIO(), width=120)
    for row in status_table([each.status for each in CellFolders(cell.parents[1], Patience()).look()]):
        console.print(row)


def test_ledgers(room: Path):
    owner = {"host": "a", "place": "b", "pid": 1, "started": 1.0}
    lawful = {
        "owner": owner,
        "claimed_at": "2024-01-01T00:00:00+00:00",
        "slot": "cpu 0",
        "outcome": None,
        "ended_at": None,
        "error": None,
    }

    @tried("ledgers", RANDOM, st.none() | VALUES)
    def check(chance: random.Random, value: Any) -> None:
        content = json.loads(json.dumps(lawful))
        changed(content, chance, value)
        text = json.dumps(content).encode()
        with cell_with(room, "attempts/0001.json", damaged(text, chance) if value is None else text) as cell:
            with only_sentences(room):
                attempts(cell)
                newest = latest(cell)
                assert newest is not None
                HeartbeatMonitor().holds(newest)
                assert isinstance(newest.place(), str)
            with only_sentences(room):
                shown_as_a_user_would(cell)


def test_statuses(room: Path):
    label = {"network": "unet", "patch_count": 4}
    lawful = asdict(Status("0123456789ab", label, 4, "failed", last_error="x", notes=["a"]))

    @tried("statuses", RANDOM, st.none() | VALUES)
    def check(chance: random.Random, value: Any) -> None:
        content = json.loads(json.dumps(lawful))
        changed(content, chance, value)
        text = json.dumps(content).encode()
        with (
            cell_with(room, "status.json", damaged(text, chance) if value is None else text) as cell,
            only_sentences(room),
        ):
            shown_as_a_user_would(cell)


def test_studies(room: Path):
    lawful = {
        "name": "s",
        "experiment": "s",
        "title": "",
        "question": "",
        "paper": "",
        "size": "smoke",
        "axis": "patch_count",
        "created_at": "2024-01-01T00:00:00+00:00",
        "test_sets": [],
        "claims": [],
        "options": {},
        "command": "",
        "cells": [{"id": "0123456789ab", "axes": {"patch_count": 4}}],
    }

    @tried("studies", RANDOM, st.none() | VALUES)
    def check(chance: random.Random, value: Any) -> None:
        content = json.loads(json.dumps(lawful))
        changed(content, chance, value)
        text = json.dumps(content).encode()
        study = room / "input" / "studies" / "s"
        study.mkdir(parents=True, exist_ok=True)
        with cell_with(room, "config.yaml", b"{}"), only_sentences(room):
            (study / "study.json").write_bytes(damaged(text, chance) if value is None else text)
            load(study)


def test_ten_thousand_are_tried(capsys: pytest.CaptureFixture[str]):
    """Comes last: what all tests above have done."""
    if missing := sorted(TRIED.keys() - DONE.keys()):
        pytest.skip(f"not tried in this run: {', '.join(missing)}")
    kinds = ", ".join(f"{kind} {DONE[kind]}" for kind in TRIED)
    found = ", ".join(f"{FOUND[what]} {what}" for what in ("tracebacks", "code run", "files outside"))
    with capsys.disabled():
        print(f"\nfuzz: {DONE.total():,} tries ({kinds}): {found}")
    assert DONE.total() >= 10_000
    assert FOUND.total() == 0
