"""Pairs, crops, unlabelled images and given weights from the config to the batch: identities, checks, whole cells."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

from pictures import noise, save
from slackoff.cell import training
from slackoff.cell.launch import CellExit
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.data import PairData, RainyBatch, RainyData
from slackoff.errors import SlackoffError
from slackoff.record.ledger import HeartbeatMonitor
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.expand import resolved
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.plan import plan
from train_here import train_here

Composed = Callable[..., DictConfig]
SIDE = 64


def write(folder: Path, name: str, seed: int, side: int = 80) -> None:
    save(folder / name, noise(side, side, seed))


def write_noise_pairs(root: Path, *seeds: int) -> Path:
    for number, seed in enumerate(seeds):
        write(root / "rainy", f"{number}.png", seed)
        write(root / "norain", f"{number}.png", 100 + seed)
    return root


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_noise_pairs(tmp_path / "pairs", *range(10))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "photos", f"{number}.png", 200 + number)
    return tmp_path / "photos"


def checked_data(config: DictConfig) -> PairData | RainyData:
    Checks().check(config)
    return build.build_training_data(config, build.build_backgrounds(config))


def first_batch(config: DictConfig) -> RainyBatch:
    data = checked_data(config)
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(world_size=1, global_rank=0, global_step=0, strategy=device)
    data.setup("fit")
    return data.on_after_batch_transfer(0, 0)


def identity(config: DictConfig) -> str:
    return plan([config], [[]])[0].id


def test_identities_follow_files_and_choices_and_not_places(composed, pairs, photos, tmp_path):
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
    data = checked_data(config)
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
    batch = first_batch(composed(*overrides))
    assert batch.unlabelled is not None
    assert batch.unlabelled.shape == (7, 3, SIDE, SIDE)
    assert batch.unlabelled.dtype == torch.float32
    assert 0 <= batch.unlabelled.min() < 0.1
    assert 0.9 < batch.unlabelled.max() <= 1
    assert batch.unlabelled.is_contiguous(memory_format=torch.channels_last)
    assert len(batch.rainy) == 4
    plain = [override for override in overrides if not override.startswith(("unlabelled", "task"))]
    for mine, alone in zip(batch[:3], first_batch(composed(*plain))[:3], strict=True):
        assert torch.equal(mine, alone)  # the labelled images are those of the cell without unlabelled ones


def test_further_patches_follow_the_bank(composed: Composed):
    config = composed("background.patch_count=5")
    backgrounds = build.build_backgrounds(config)
    further = build.build_surroundings(config, backgrounds).further_patches(6)
    np.testing.assert_array_equal(further, build.build_bank(composed("background.patch_count=11"), backgrounds)[5:])


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
        (
            [PAIRS, "labelled.root={photos}"],
            r"^labelled\.root=\S+ holds no rainy/clean pairs, but .*layout=side_by_side",
        ),
        ([PAIRS, "labelled.root={pairs}", "fixed_rain_per_patch=true"], r"^fixed_rain_per_patch=true does not go with"),
        ([PHOTOS, "unlabelled.root={photos}", "background.patch_size_px=96"], r"photos/0\.png .* is smaller"),
        ([PHOTOS, "unlabelled.root={photos}", "unlabelled.batch_size=0"], r"^unlabelled\.batch_size=0 is no count"),
        (["unlabelled=rest"], r"^unlabelled=rest takes the pairs that labelled\.share leaves out, and there are none"),
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
    tested = write_noise_pairs(tmp_path / "tested", 501, 4)  # the second rainy image is that of training pair 4
    write(tested / "norain", "1.png", 602)
    chosen = ["labelled=pairs", f"labelled.root={pairs}", "evaluation=pairs", f"evaluation.root={tested}"]
    message = (
        rf"^{tested}/rainy/1\.png of the test set pairs is the same file as {pairs}/rainy/4\.png of labelled\.root="
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


def write_scenes(root: Path, scenes: list[int], rain: int) -> Path:
    root.mkdir()
    for number, seed in enumerate(scenes, 1):
        clean = np.random.default_rng(seed).integers(0, 150, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(clean).save(root / f"norain-{number}.png")
        Image.fromarray(clean + np.uint8(rain + number)).save(root / f"rain-{number}.png")
    return root


@pytest.fixture
def scenes(tmp_path: Path) -> list[Path]:
    """Training pairs, and test pairs with one of their scenes."""
    return [write_scenes(tmp_path / "train", [1, 2, 3], 10), write_scenes(tmp_path / "test", [9, 2], 50)]


def strict(composed: Composed, scenes: list[Path], *more: str) -> DictConfig:
    places = [f"roots.rain_train_h={scenes[0]}", f"roots.rain100h={scenes[1]}"]
    return composed("labelled=rain_train_h_strict", *places, *more)


def test_what_was_left_out_is_not_trained_on_and_noted(composed: Composed, scenes: list[Path]):
    data = checked_data(strict(composed, scenes, "evaluation=rain100h"))
    assert isinstance(data, PairData)
    assert [pair.name for pair in data.pairs] == ["rain-1", "rain-3"]
    assert data.notes == ["1 of 3 pairs in roots.rain_train_h are left out: they show a scene of roots.rain100h"]
    assert data.labelled_images == 20
    assert data.open_stream(torch.device("cpu")).fixed is not None


def test_by_default_the_published_list_is_trained_on(composed: Composed, scenes: list[Path]):
    """Whose scenes are partly those of the test set: the published numbers are made so."""
    for choice in ("rain_train_h", "rain_train_l"):
        config = composed(f"labelled={choice}", f"roots.{choice}={scenes[0]}")
        data = checked_data(config)
        assert (data.labelled_images, data.notes, config.labelled.crops) == (30, [], "five")


def test_identities_follow_the_pairs_that_are_left_and_not_places(composed, scenes, tmp_path):
    first = identity(strict(composed, scenes))
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.copytree(folder, tmp_path / "moved" / folder.name)) for folder in scenes]
    assert identity(strict(composed, moved)) == first
    plain = composed("labelled=rain_train_h", f"roots.rain_train_h={scenes[0]}")
    random = composed("labelled=rain_train_h", f"roots.rain_train_h={scenes[0]}", "labelled.crops=random")
    assert len({first, identity(plain), identity(random)}) == 3
    write_scenes(tmp_path / "other", [9, 1], 50)
    assert identity(strict(composed, [scenes[0], tmp_path / "other"])) != first


@pytest.fixture
def weights(composed: Composed, tmp_path: Path) -> Path:
    """Weights of the tiny network that no seed draws."""
    torch.manual_seed(99)
    state = build.build(composed().network, "network").state_dict()
    save_file({name: tensor + 0.01 for name, tensor in state.items()}, tmp_path / "given.safetensors")
    return tmp_path / "given.safetensors"


def test_the_network_starts_with_the_weights_of_the_file(composed: Composed, weights: Path):
    config = composed(f"+start_from={weights}")
    found = build.build_started_network(config).state_dict()
    drawn = build.build_network(config).state_dict()
    for name, tensor in load_file(weights).items():
        assert torch.equal(found[name], tensor)
    assert not any(torch.equal(found[name], drawn[name]) for name in drawn)
    plain = build.build_started_network(composed()).state_dict()
    assert all(torch.equal(plain[name], drawn[name]) for name in drawn)


def test_identities_follow_the_content_of_the_file_and_not_its_place(composed: Composed, weights: Path, tmp_path: Path):
    plain, first = identity(composed()), identity(composed(f"+start_from={weights}"))
    moved = shutil.copy(weights, tmp_path / "moved.safetensors")
    assert identity(composed(f"+start_from={moved}")) == first != plain
    assert identity(composed("+start_from=null")) == plain
    save_file({"a": torch.ones(1)}, moved)
    assert identity(composed(f"+start_from={moved}")) not in (first, plain)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["+start_from=nowhere.pth"], r"start_from: nowhere\.pth is not there"),
        (["network=prenet_small", "+start_from=WEIGHTS"], r"start_from: .*given\.safetensors does not fit this PReNet"),
        (["schedule.steps=0"], r"^schedule\.steps=0 trains nothing: .* or start_from=FILE"),
        (["schedule.steps=-1", "+start_from=WEIGHTS"], r"^schedule\.steps=-1 cannot be: give a whole number from 0 up"),
    ],
)
def test_mistakes_are_found_before_training(composed: Composed, weights: Path, overrides, sentence):
    config = composed(*(override.replace("WEIGHTS", str(weights)) for override in overrides))
    with pytest.raises(SlackoffError, match=sentence):
        Checks().check(config)


def trained(config: DictConfig, folder: Path) -> Status:
    """A whole cell in a folder of its own."""
    folder.mkdir()
    OmegaConf.save(config, folder / "config.yaml")
    status = Status("0" * 12, {"network": config.network.name}, config.schedule.steps)
    training.run_cell(config, folder, status, time.monotonic())
    return status


SMALL_DSC = [f"network.{option}" for option in ("atoms=20", "rain_atoms=10", "samples=100", "sweeps=1", "rounds=1")]
NOTHING = "dsc has nothing to train: no step was taken"


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        (["+start_from=WEIGHTS", "schedule.steps=0"], []),
        (["network=dsc", *SMALL_DSC, "network.step=4", "schedule.steps=0"], []),
        (["network=dsc", *SMALL_DSC, "network.step=4", "schedule.steps=3"], [NOTHING]),
    ],
)
def test_what_is_not_trained_is_measured_as_it_came(composed, weights, tmp_path, overrides, notes):
    config = composed("evaluation.count=2", *(override.replace("WEIGHTS", str(weights)) for override in overrides))
    assert (Checks().check(config) == 0) == ("network=dsc" in overrides)
    assert trained(config, tmp_path / "cell").notes == notes
    given = build.build_started_network(config).eval()
    expected = build.build_evaluator(config, build.build_backgrounds(config)).evaluate(given)
    images = pd.read_parquet(tmp_path / "cell" / "images.parquet")
    pd.testing.assert_frame_equal(images, expected.rows)
    assert images["psnr_rgb"].notna().all()
    final = json.loads((tmp_path / "cell" / "steps.jsonl").read_text().splitlines()[-1])
    assert final["final/psnr_rgb"] == pytest.approx(expected.means["psnr_rgb"])
    written = load_file(tmp_path / "cell" / "network.safetensors")
    assert written.keys() == given.state_dict().keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in given.state_dict().items())
    assert not list((tmp_path / "cell" / "checkpoints").glob("*"))


def test_training_begins_with_the_file(composed: Composed, weights: Path, tmp_path: Path):
    """With a rate of almost nothing, what comes out is what went in."""
    chosen = [f"+start_from={weights}", "schedule.steps=1", "schedule.learning_rate=1e-12", "evaluation.count=1"]
    trained(composed(*chosen), tmp_path / "cell")
    written, given = load_file(tmp_path / "cell" / "network.safetensors"), load_file(weights)
    assert max((written[name] - tensor).abs().max() for name, tensor in given.items()) < 1e-6


@pytest.mark.parametrize(
    ("overrides", "silent"),
    [
        ([], {"labelled", "unlabelled"}),
        (["evaluation=rain100l"], {"labelled", "unlabelled"}),
        (["network=rcdnet_small", "task=rcdnet", "rain=large", "size=paper"], {"labelled", "unlabelled"}),
        (["labelled=rain100l_first", "evaluation=rain100l_last"], {"crops", "leave_out"}),
        (["labelled=pairs", "labelled.root=x", "evaluation=sirr"], {"crops", "leave_out"}),
    ],
)
def test_a_config_says_nothing_of_what_its_cell_does_not_use(composed: Composed, overrides, silent):
    config = resolved(composed(*overrides))
    assert not silent & (config.keys() | config.get("labelled", {}).keys())


def test_only_cells_with_images_of_their_own_have_their_digests(composed: Composed, pairs: Path, photos: Path):
    plain = Fingerprints().of(resolved(composed()))
    assert set(plain) == {"background", "evaluation.test_set"}
    chosen = ["labelled=pairs", f"labelled.root={pairs}", "unlabelled=folder", f"unlabelled.root={photos}"]
    assert set(Fingerprints().of(resolved(composed(*chosen)))) == {*plain, "labelled", "unlabelled"}
    with pytest.raises(SlackoffError, match=r"start_from=nowhere\.pth cannot be read"):
        identity(composed("+start_from=nowhere.pth"))
