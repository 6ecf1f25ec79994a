"""Labelled pairs and unlabelled images from the config to the batch: identities, checks, a whole cell."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from slackoff.cell.launch import CellExit
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.data import PairData, RainyBatch, RainyData
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.expand import resolved
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.plan import plan
from train_here import train_here

Composed = Callable[..., DictConfig]
SIDE = 64


def write(folder: Path, name: str, seed: int, side: int = 80) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / name)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    root = tmp_path / "pairs"
    for number in range(10):
        write(root / "rainy", f"{number}.png", number)
        write(root / "norain", f"{number}.png", 100 + number)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "photos", f"{number}.png", 200 + number)
    return tmp_path / "photos"


def first_batch(config: DictConfig) -> RainyBatch:
    data = build.build_training_data(config, build.build_backgrounds(config))
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, global_step=0, strategy=device)
    data.setup("fit")
    return data.on_after_batch_transfer(0, 0)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["evaluation=rain100l"],
        ["evaluation=streaks"],
        ["network=rcdnet_small", "task=rcdnet", "rain=large", "size=paper"],
    ],
)
def test_plain_cells_say_nothing_of_pairs_and_unlabelled_images(conf, overrides):
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = resolved(compose("config", overrides))
    assert not {"labelled", "unlabelled"} & config.keys()


def test_only_cells_with_such_images_have_their_digests(composed: Composed, pairs: Path, photos: Path):
    plain = Fingerprints().of(resolved(composed()))
    assert set(plain) == {"background", "evaluation.test_set"}
    chosen = ["labelled=pairs", f"labelled.root={pairs}", "unlabelled=folder", f"unlabelled.root={photos}"]
    assert set(Fingerprints().of(resolved(composed(*chosen)))) == {*plain, "labelled", "unlabelled"}


def identity(config: DictConfig) -> str:
    return plan([config], [[]])[0].id


def test_identities_follow_files_and_choices_and_not_places(
    composed: Composed, pairs: Path, photos: Path, tmp_path: Path
):
    def cell(pairs: Path, photos: Path, *more: str) -> str:
        places = [f"labelled.root={pairs}", f"unlabelled.root={photos}"]
        return identity(composed("labelled=pairs", "unlabelled=folder", *places, *more))

    first = cell(pairs, photos)
    moved = [shutil.copytree(folder, tmp_path / "moved" / folder.name) for folder in (pairs, photos)]
    assert cell(*moved) == first != identity(composed())
    for override in ("labelled.share=0.5", "labelled.seed=1", "labelled.mirror=false", "unlabelled.batch_size=9"):
        assert cell(*moved, override) != first
    write(moved[1], "3.png", 7)
    second = cell(*moved)
    write(moved[0] / "norain", "3.png", 7)
    assert len({first, second, cell(*moved)}) == 3


def test_pairs_replace_background_and_rain_and_no_bank_is_made(composed: Composed, pairs: Path, tmp_path: Path):
    config = composed("labelled=pairs", f"labelled.root={pairs}", "labelled.share=0.3", "rain=large")
    Checks().check(config)
    data = build.build_training_data(config, build.build_backgrounds(config))
    assert isinstance(data, PairData)
    assert len(data.pairs) == 3
    fixed = {"batch_size": 4, "seed": 0, "mirror": True, "channels_last": True, "crops": "random"}
    assert data.options == {"patch_size_px": SIDE} | fixed
    assert first_batch(config).rainy.shape == (4, 3, SIDE, SIDE)
    assert not (tmp_path / "runs" / "banks").exists()


@pytest.mark.parametrize("choice", ["folder", "rest", "synthesised", "thin"])
def test_every_kind_of_unlabelled_images_reaches_the_batch(composed: Composed, pairs: Path, photos: Path, choice: str):
    overrides = ["task=semi_supervised", f"unlabelled={choice}", "unlabelled.batch_size=7"]
    if choice == "folder":
        overrides += [f"unlabelled.root={photos}"]
    if choice == "rest":
        overrides += ["labelled=pairs", f"labelled.root={pairs}", "labelled.share=0.3"]
    config = composed(*overrides)
    Checks().check(config)
    batch = first_batch(config)
    assert batch.unlabelled is not None
    assert batch.unlabelled.shape == (7, 3, SIDE, SIDE)
    assert batch.unlabelled.dtype == torch.float32
    assert 0 <= batch.unlabelled.min() < 0.1
    assert 0.9 < batch.unlabelled.max() <= 1
    assert batch.unlabelled.is_contiguous(memory_format=torch.channels_last)
    assert len(batch.rainy) == 4
    plain = [override for override in overrides if not override.startswith("unlabelled")]
    for mine, alone in zip(batch[:3], first_batch(composed(*plain))[:3], strict=True):
        assert torch.equal(mine, alone)  # the labelled images are those of the cell without unlabelled ones


def test_further_patches_follow_the_bank(composed: Composed):
    config = composed("background.patch_count=5")
    backgrounds = build.build_backgrounds(config)
    further = build.build_surroundings(config, backgrounds).further_patches(6)
    np.testing.assert_array_equal(further, build.build_bank(composed("background.patch_count=11"), backgrounds)[5:])


def test_plain_training_data_is_rain_on_the_bank(composed: Composed):
    config = composed()
    data = build.build_training_data(config, build.build_backgrounds(config))
    assert isinstance(data, RainyData)
    assert data.open_unlabelled is None
    assert data.bank.shape == (4, SIDE, SIDE, 3)


def test_another_range_can_be_chosen_for_the_unlabelled_rain(composed: Composed):
    config = composed("unlabelled=synthesised", "rain@unlabelled.rain=medium")
    rain = build.build(config.unlabelled, "unlabelled").rain
    assert (list(rain.width), list(rain.length), rain.key) == ([5, 7, 9], [20, 40], "unlabelled.rain")
    assert list(build.build(config.rain, "rain").width) == [5]


PAIRS, PHOTOS = "labelled=pairs", "unlabelled=folder"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([PAIRS, "labelled.root={pairs}", "background.patch_size_px=96"], r"rainy/0\.png \(80 x 80 px\) is smaller"),
        ([PAIRS, "labelled.root={pairs}", "labelled.share=0"], r"^labelled\.share=0 is no share"),
        ([PAIRS, "labelled.root={pairs}", "labelled.layout=guess"], r"^labelled\.layout=guess is not known"),
        ([PAIRS, "labelled.root={pairs}", "labelled.layout=side_by_side"], r"^labelled\.root=\S+ holds no image"),
        ([PAIRS, "labelled.root={photos}"], r"^labelled\.root=\S+ holds no rainy/clean pairs: .*layout=side_by_side"),
        ([PAIRS, "labelled.root=nowhere"], r"^labelled\.root=nowhere does not exist"),
        ([PAIRS, "labelled.root={pairs}", "fixed_rain_per_patch=true"], r"^fixed_rain_per_patch=true does not go with"),
        ([PHOTOS, "unlabelled.root=nowhere"], r"^unlabelled\.root=nowhere does not exist"),
        ([PHOTOS, "unlabelled.root={photos}", "background.patch_size_px=96"], r"photos/0\.png .* is smaller"),
        ([PHOTOS, "unlabelled.root={photos}", "unlabelled.batch_size=0"], r"^unlabelled\.batch_size=0 is no count"),
        (["unlabelled=rest"], r"^unlabelled=rest takes the pairs that labelled\.share leaves out, and there are none"),
        ([PAIRS, "labelled.root={pairs}", "unlabelled=rest"], r"^unlabelled=rest takes"),
        (["unlabelled=synthesised", "unlabelled.rain.length=[9,5]"], r"^unlabelled\.rain\.length is reversed"),
        (
            ["unlabelled=synthesised", "background.patch_size_px=28"],
            r"^background\.patch_size_px=28 .*unlabelled\.rain",
        ),
        (
            ["unlabelled=synthesised", "unlabelled.patch_count=9999"],
            r"^9999 patches for unlabelled\.patch_count beside",
        ),
        (["unlabelled=thin", "unlabelled.rain.width_px=[2,1]"], r"^unlabelled\.rain\.width_px is reversed"),
    ],
)
def test_the_check_finds_a_mistake_and_names_it(composed, pairs, photos, overrides, message):
    with pytest.raises(SlackoffError, match=message) as raised:
        Checks().check(composed(*(override.format(pairs=pairs, photos=photos) for override in overrides)))
    assert "\n" not in str(raised.value)


def test_a_test_image_among_the_training_pairs_is_refused(composed: Composed, pairs: Path, tmp_path: Path):
    tested = tmp_path / "tested"
    for number, seed in ((1, 501), (2, 4)):  # the second rainy image is that of training pair 4
        write(tested / "rainy", f"{number}.png", seed)
        write(tested / "norain", f"{number}.png", 600 + number)
    chosen = ["labelled=pairs", f"labelled.root={pairs}", "evaluation=pairs", f"evaluation.root={tested}"]
    message = (
        rf"^{tested}/rainy/2\.png of the test set pairs is the same file as {pairs}/rainy/4\.png of labelled\.root="
    )
    with pytest.raises(SlackoffError, match=message):
        Checks().check(composed(*chosen, "evaluation.count=1"))
    Checks().check(composed(*chosen, "+evaluation.test_set.numbers=[1,1]"))


def test_a_cell_trains_on_real_pairs_and_is_tested_on_ddn_sirr(composed: Composed, shared_data):
    rain100h, sirr = shared_data("rain100h"), shared_data("sirr")
    chosen = ["labelled=pairs", f"labelled.root={rain100h}", "labelled.share=0.5", "evaluation=sirr"]
    (cell,) = plan([composed(*chosen, f"roots.sirr={sirr}", "evaluation.count=1", "schedule.steps=2")], [[]])
    Checks().check(cell.config)
    prepare(cell, HeartbeatMonitor())
    assert train_here(cell.folder) == CellExit.DONE
    assert (cell.status().state, cell.status().step) == ("done", 2)
    assert pd.read_parquet(cell.folder / "images.parquet")["test_set"].tolist() == ["dense", "sparse"]
    assert not (cell.folder.parents[1] / "banks").exists()
