"""Fixed crops and scenes that are left out, from the config to the batch and the identity."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.data import PairData
from slackoff.images import Scenes
from slackoff.sweep.expand import resolved
from slackoff.sweep.plan import plan

Composed = Callable[..., DictConfig]


def write(root: Path, scenes: list[int], rain: int) -> Path:
    root.mkdir()
    for number, seed in enumerate(scenes, 1):
        clean = np.random.default_rng(seed).integers(0, 150, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(clean).save(root / f"norain-{number}.png")
        Image.fromarray(clean + np.uint8(rain + number)).save(root / f"rain-{number}.png")
    return root


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Training pairs, and test pairs with one of their scenes."""
    return [write(tmp_path / "train", [1, 2, 3], 10), write(tmp_path / "test", [9, 2], 50)]


def strict(composed: Composed, folders: list[Path], *more: str) -> DictConfig:
    places = [f"roots.rain_train_h={folders[0]}", f"roots.rain100h={folders[1]}"]
    return composed("labelled=rain_train_h_strict", *places, *more)


def test_what_was_left_out_is_not_trained_on_and_noted(composed: Composed, folders: list[Path]):
    config = strict(composed, folders, "evaluation=rain100h")
    Checks().check(config)
    data = build.build_training_data(config, build.build_backgrounds(config))
    assert isinstance(data, PairData)
    assert [pair.name for pair in data.pairs] == ["rain-1", "rain-3"]
    assert data.notes == ["1 of 3 pairs in roots.rain_train_h are left out: they show a scene of roots.rain100h"]
    assert data.labelled_images == 20
    assert data.open_stream(torch.device("cpu")).fixed is not None


def test_by_default_the_published_list_is_trained_on(composed: Composed, folders: list[Path]):
    """Whose scenes are partly those of the test set: the published numbers are made so."""
    for choice in ("rain_train_h", "rain_train_l"):
        config = composed(f"labelled={choice}", f"roots.{choice}={folders[0]}")
        data = build.build_training_data(config, build.build_backgrounds(config))
        assert (data.labelled_images, data.notes, config.labelled.crops) == (30, [], "five")


def identity(config: DictConfig) -> str:
    return plan([config], [[]])[0].id


def test_identities_follow_what_is_left_and_not_places(composed: Composed, folders: list[Path], tmp_path: Path):
    first = identity(strict(composed, folders))
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.copytree(folder, tmp_path / "moved" / folder.name)) for folder in folders]
    assert identity(strict(composed, moved)) == first
    plain = composed("labelled=rain_train_h", f"roots.rain_train_h={folders[0]}")
    random = composed("labelled=rain_train_h", f"roots.rain_train_h={folders[0]}", "labelled.crops=random")
    assert len({first, identity(plain), identity(random)}) == 3
    write(tmp_path / "other", [9, 1], 50)
    assert identity(strict(composed, [folders[0], tmp_path / "other"])) != first


def test_scenes_can_be_left_out_of_any_pairs(composed: Composed, folders: list[Path]):
    leave_out = f"+labelled.leave_out={{_target_: slackoff.images.Scenes, root: {folders[1]}}}"
    config = composed("labelled=pairs", f"labelled.root={folders[0]}", leave_out)
    labelled = build.build_labelled(config)
    assert labelled is not None
    assert isinstance(labelled.leave_out, Scenes)
    assert len(labelled.all_pairs) == 2


@pytest.mark.parametrize(
    "overrides",
    [
        ["labelled=rain100l_first", "evaluation=rain100l_last"],
        ["labelled=pairs", "labelled.root=x", "evaluation=sirr", "protocol@evaluation.protocol=slackoff_v1"],
    ],
)
def test_cells_on_whole_pairs_say_nothing_of_crops_and_scenes(conf: Path, overrides: list[str]):
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = resolved(compose("config", overrides))
    assert not {"crops", "leave_out"} & config["labelled"].keys()
