"""Streams of batches: synthesised rain, crops of pairs, fixed crops; what decides which, for one rank and several."""

import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pair_files import RAIN, SIZES, coordinates, origin, write_pairs
from PIL import Image
from torch import Tensor

from slackoff.data import (
    BatchStream,
    ImageBank,
    PairData,
    PairStream,
    RainyBatch,
    RainyData,
    StepNumbers,
    UnlabelledStream,
)
from slackoff.data.streams import PairImages, derive_seed
from slackoff.errors import SlackoffError
from slackoff.images import Pair, find_pairs
from slackoff.rain import RainRange

NARROW = RainRange([200, 300], [1, 3], [10, 20], [-30, 30])
SIDE, FIXED_SIDE, BATCH = 32, 31, 12


def noise_bank(count: int) -> np.ndarray:
    """uint8, (N, P, P, 3); the bank of n is the beginning of every larger one."""
    return np.stack([np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for i in range(count)])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return find_pairs(write_pairs(tmp_path_factory.mktemp("pairs") / "a", versions=3), "root")


def stream(pairs: list[Pair], seed: int = 3, batch_size: int = BATCH, **options: Any) -> PairStream:
    return PairStream(PairImages(pairs), SIDE, batch_size, seed, **options)


def fixed_stream(pairs: list[Pair], seed: int = 3, batch_size: int = 48, **options: Any) -> PairStream:
    return PairStream(PairImages(pairs), FIXED_SIDE, batch_size, seed, crops="five", **options)


def same(a: RainyBatch, b: RainyBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def rain_stream(count: int = 12, batch_size: int = 8, seed: int = 3, **options: bool) -> BatchStream:
    bank = torch.from_numpy(noise_bank(count)).permute(0, 3, 1, 2).contiguous()
    return BatchStream(bank, NARROW, batch_size, seed, **options)


def numbers(background: Tensor, count: int = 12) -> list[int]:
    """Which patch of the bank each background is; fails if one is none of them."""
    bank = noise_bank(count).transpose(0, 3, 1, 2) / np.float32(255)
    found = []
    for picture in background.numpy():
        same = [i for i, patch in enumerate(bank) if np.array_equal(picture, patch)]
        assert len(same) == 1
        found += same
    return found


STREAMS: dict[str, Callable[..., Any]] = {
    "rain": lambda pairs, **options: rain_stream(**options),
    "fixed_rain": lambda pairs, **options: rain_stream(fixed_rain_per_patch=True, **options),
    "crops": stream,
    "fixed_crops": fixed_stream,
}


@pytest.mark.parametrize("kind", STREAMS)
class TestEveryStream:
    def test_a_batch_depends_on_seed_and_number_alone(self, kind, pairs):
        """Not on the batches made before it, nor on torch's global random state."""
        straight = [STREAMS[kind](pairs).batch(step) for step in range(5)]
        other = STREAMS[kind](pairs)
        torch.manual_seed(99)
        for step in (4, 0, 3, 3, 1, 2):
            torch.rand(3)
            assert same(other.batch(step), straight[step])
        batches = [straight[0], straight[1], STREAMS[kind](pairs, seed=4).batch(0)]
        for a, b in ((0, 1), (0, 2), (1, 2)):
            assert not torch.equal(batches[a].background, batches[b].background)
            assert not torch.equal(batches[a].rain, batches[b].rain)

    @pytest.mark.parametrize("ranks", [2, 4])
    def test_slices_of_the_ranks_interleave_to_the_global_batch(self, kind, pairs, ranks):
        whole = STREAMS[kind](pairs).batch(7)
        parts = [STREAMS[kind](pairs).batch(7, rank, ranks) for rank in range(ranks)]
        for tensor, *shares in zip(whole[:3], *(part[:3] for part in parts), strict=True):
            assert torch.equal(torch.stack(shares, 1).flatten(0, 1), tensor)

    @pytest.mark.parametrize("channels_last", [True, False])
    def test_shapes_types_ranges_and_memory_format(self, kind, pairs, channels_last):
        batch = STREAMS[kind](pairs, channels_last=channels_last).batch(0)
        wanted = torch.channels_last if channels_last else torch.contiguous_format
        assert batch.unlabelled is None
        side = FIXED_SIDE if kind == "fixed_crops" else SIDE
        assert [tuple(tensor.shape[1:]) for tensor in batch[:3]] == [(3, side, side), (1, side, side), (3, side, side)]
        for tensor in batch[:3]:
            assert tensor.dtype == torch.float32
            assert 0 <= tensor.min() < tensor.max() <= 1
        assert batch.background.is_contiguous(memory_format=wanted)
        assert batch.rainy.is_contiguous(memory_format=wanted)
        assert same(batch, STREAMS[kind](pairs, channels_last=not channels_last).batch(0))


@pytest.mark.parametrize("fixed", [False, True])
def test_rainy_is_background_plus_rain_clipped(fixed):
    batch = rain_stream(fixed_rain_per_patch=fixed).batch(2)
    background, rain, rainy = (tensor.numpy() for tensor in batch[:3])
    np.testing.assert_array_equal(rainy, np.clip(background + rain, 0, 1))
    assert rain.max() > 0.9
    assert (rainy == 1).any()
    assert (rainy != background).any()


def test_patches_are_drawn_uniformly_from_the_bank():
    source = rain_stream(count=12, batch_size=50, fixed_rain_per_patch=True)
    backgrounds = torch.cat([source.batch(k).background for k in range(24)])
    drawn = np.bincount(numbers(backgrounds), minlength=12)
    assert drawn.sum() == 1200
    assert np.abs(drawn - 100).max() < 5 * 10


def layers_of_patches(source: BatchStream, count: int, steps: int = 16) -> dict[int, list[Tensor]]:
    """Every rain layer that each patch was given."""
    found: dict[int, list[Tensor]] = {}
    for batch in map(source.batch, range(steps)):
        for number, layer in zip(numbers(batch.background, count), batch.rain, strict=True):
            found.setdefault(number, []).append(layer)
    return found


def test_fixed_rain_stays_with_its_patch():
    found = layers_of_patches(rain_stream(fixed_rain_per_patch=True), 12)
    assert len(found) == 12
    assert min(len(layers) for layers in found.values()) > 1
    for layers in found.values():
        assert all(torch.equal(layer, layers[0]) for layer in layers)
    first = [layers[0] for layers in found.values()]
    assert all((a - b).abs().mean() > 0.02 for i, a in enumerate(first) for b in first[:i])


def test_rain_is_new_at_each_use_otherwise():
    for layers in layers_of_patches(rain_stream(), 12).values():
        assert all((a - b).abs().mean() > 0.02 for i, a in enumerate(layers) for b in layers[:i])


def test_fixed_rain_of_a_patch_is_the_same_in_a_larger_bank():
    """So that a curve over the patch count compares like with like."""
    few, many = (rain_stream(count, fixed_rain_per_patch=True).rain_bank for count in (12, 300))
    assert few is not None
    assert many is not None
    assert torch.equal(few, many[:12])
    assert len(torch.unique(many.flatten(1), dim=0)) == 300


def data_of(rank: int = 0, world_size: int = 1, step: int = 0, batch_size: int = 8) -> RainyData:
    return attached(RainyData(noise_bank(12), NARROW, batch_size, seed=3), rank, world_size, step)


def attached(data: Any, rank: int = 0, ranks: int = 1, step: int = 0) -> Any:
    """As a trainer of so many ranks has it."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(world_size=ranks, global_rank=rank, global_step=step, strategy=device)
    data.setup("fit")
    return data


def test_the_data_module_gives_each_rank_its_share_of_the_stream():
    for rank in range(4):
        assert same(data_of(rank, world_size=4).on_after_batch_transfer(5, 0), rain_stream().batch(5, rank, 4))


def test_batches_that_the_ranks_cannot_share_are_refused(pairs):
    with pytest.raises(SlackoffError, match=r"^schedule\.batch_size=6 cannot be shared by 4 ranks.*multiple of 4"):
        data_of(world_size=4, batch_size=6)
    with pytest.raises(SlackoffError, match=r"^unlabelled\.batch_size=3 cannot be shared by 2 ranks: .*multiple of 2"):
        data(pairs, ranks=2, unlabelled=lambda device: unlabelled_stream(3))
    with pytest.raises(SlackoffError, match=r"^schedule\.batch_size=5 cannot be shared by 2 ranks"):
        data(pairs, ranks=2, batch_size=5)


def test_step_numbers_start_where_training_stands():
    data = data_of(step=41)
    loader = data.train_dataloader()
    assert isinstance(loader, StepNumbers)
    first = iter(loader)
    assert [next(first) for _ in range(3)] == [41, 42, 43]
    data.trainer.global_step = 7
    assert next(iter(loader)) == 7


@pytest.mark.parametrize("fixed", [False, True])
def test_nothing_is_drawn_on_the_device_so_that_every_device_is_given_the_same(fixed):
    """There is no generator for the meta device, which holds no values."""
    bank = torch.from_numpy(noise_bank(12)).permute(0, 3, 1, 2).to("meta")
    batch = BatchStream(bank, NARROW, 8, 3, fixed_rain_per_patch=fixed).batch(0)
    assert {part.device.type for part in batch[:3]} == {"meta"}
    assert batch.rainy.shape == (8, 3, SIDE, SIDE)


def test_partners_are_cropped_at_one_place_and_the_rain_is_their_difference(pairs):
    batch = stream(pairs).batch(0)
    for background, rain, rainy in zip(*batch[:3], strict=True):
        version = int(torch.round(rainy[0, 0, 0] * 255 - background[0, 0, 0] * 255)) - RAIN
        assert version in (0, 1, 2)
        assert origin(rainy - (RAIN + version) / 255) == origin(background)
        torch.testing.assert_close(rain, torch.full_like(rain, (RAIN + version) / 255), rtol=0, atol=1e-6)


def test_an_epoch_is_a_pass_over_all_crops(pairs):
    """18,000 crops of 1,800 pairs: 900 steps of 20."""
    counts = [
        PairData(pairs, FIXED_SIDE, 20, 0, **options).labelled_images
        for options in ({"crops": "five"}, {"crops": "five", "mirror": False}, {})
    ]
    assert counts == [120, 60, 12]


def places(pairs: list[Pair], mirror: bool) -> list[tuple[int, int, int, bool]]:
    source = stream(pairs, batch_size=60, mirror=mirror)
    return [origin(crop) for step in range(20) for crop in source.batch(step).background]


def test_images_places_and_mirroring_are_uniform(pairs):
    assert not any(mirrored for *_, mirrored in places(pairs, mirror=False))
    found = places(pairs, mirror=True)
    assert len(found) == 1200
    images = np.bincount([image for image, *_ in found], minlength=len(SIZES))
    assert np.abs(images - 300).max() < 5 * np.sqrt(300 * 0.75)
    assert abs(sum(mirrored for *_, mirrored in found) - 600) < 5 * np.sqrt(300)
    # Image 1 is 33 x 32 px: two places. Image 0 has 9 rows and 39 columns of them.
    assert {(top, left) for image, top, left, _ in found if image == 1} == {(0, 0), (1, 0)}
    rows = np.bincount([top for image, top, *_ in found if image == 0], minlength=9)
    assert len(rows) == 9
    assert rows.min() > 10
    columns = [left for image, _, left, _ in found if image == 0]
    assert (min(columns), max(columns)) == (0, 38)


def test_a_shared_clean_image_is_held_once(pairs):
    bank = PairImages(pairs)
    assert len(bank) == 12 + 4
    assert len(bank.pixels) == 4 * sum(height * width for height, width in SIZES)


def data(pairs: list[Pair], rank: int = 0, ranks: int = 1, unlabelled: Any = None, batch_size: int = BATCH) -> PairData:
    module = PairData(pairs, SIDE, batch_size, seed=3, unlabelled=unlabelled)
    return attached(module, rank, ranks)


def unlabelled_stream(batch_size: int, count: int = 5) -> UnlabelledStream:
    images = [np.full((SIDE, SIDE, 3), 10 * number, np.uint8) for number in range(count)]
    return UnlabelledStream(ImageBank(images, [(SIDE, SIDE)] * count), SIDE, batch_size, seed=3)


def levels(images: Tensor | None) -> list[int]:
    assert images is not None
    return torch.round(images[:, 0, 0, 0] * 25.5).int().tolist()


@pytest.mark.parametrize(("batch_size", "count"), [(4, 5), (20, 1), (6, 20)])
def test_unlabelled_images_come_in_a_batch_size_of_their_own(pairs, batch_size, count):
    """Fewer or more than the labelled ones, from fewer or more images; each rank has its share of both."""
    whole = data(pairs, unlabelled=lambda device: unlabelled_stream(batch_size, count)).on_after_batch_transfer(7, 0)
    assert same(whole, stream(pairs).batch(7))
    assert whole.unlabelled is not None
    assert whole.unlabelled.shape == (batch_size, 3, SIDE, SIDE)
    assert levels(whole.unlabelled) == levels(unlabelled_stream(batch_size, count).batch(7))
    for rank in range(2):
        share = data(pairs, rank, 2, lambda device: unlabelled_stream(batch_size, count)).on_after_batch_transfer(7, 0)
        assert levels(share.unlabelled) == levels(whole.unlabelled)[rank::2]
        assert same(share, stream(pairs).batch(7, rank, 2))


def test_unlabelled_images_of_a_step_are_their_own_draw():
    source = unlabelled_stream(40)
    assert levels(source.batch(2)) == levels(unlabelled_stream(40).batch(2))
    assert levels(source.batch(2)) != levels(source.batch(3))
    assert set(levels(source.batch(2))) == {0, 1, 2, 3, 4}


def test_side_by_side_pairs_are_cropped_alike(tmp_path: Path):
    clean = coordinates(0, SIZES[0])
    Image.fromarray(np.hstack([clean + np.uint8(RAIN), clean])).save(tmp_path / "0.png")
    batch = stream(find_pairs(tmp_path, "root", "side_by_side")).batch(0)
    for background, rainy in zip(batch.background, batch.rainy, strict=True):
        assert origin(rainy - RAIN / 255) == origin(background)


def crops_of(image: int, mirror: bool) -> set[tuple[int, int, int, bool]]:
    """From the sizes alone: the corner, from the left of the image as it is stored."""
    height, width = SIZES[image]
    bottom, right = height - FIXED_SIDE, width - FIXED_SIDE
    places = {(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))}
    found = {(image, top, left, False) for top, left in places}
    return found | ({(image, top, right - left, True) for top, left in places} if mirror else set())


@pytest.mark.parametrize("mirror", [True, False])
def test_every_fixed_crop_comes_and_no_other(pairs, mirror):
    source = fixed_stream(pairs, mirror=mirror)
    found = Counter(origin(crop) for step in range(40) for crop in source.batch(step).background)
    wanted = set().union(*(crops_of(image, mirror) for image in range(len(SIZES))))
    assert set(found) == wanted
    assert len(wanted) == (10 if mirror else 5) * len(SIZES)
    mean = 2000 / len(wanted)
    assert max(abs(count - mean) for count in found.values()) < 5 * mean**0.5


def test_a_seed_is_the_first_63_bits_of_a_digest():
    """Another value would change every cell that was ever trained."""
    assert derive_seed(0, "batch", 17) == 7908145371716167208
    for seed, step in product((0, 1, 12345), (0, 1, 250_000)):
        bits = bin(int(hashlib.sha256(f"{seed}/batch/{step}".encode()).hexdigest(), 16))[2:].zfill(256)
        assert derive_seed(seed, "batch", step) == int(bits[:63], 2)


@pytest.mark.parametrize("options", [{}, {"crops": "five"}, {"mirror": False}])
def test_pairs_in_a_file_give_the_batches_of_pairs_in_memory(pairs, tmp_path, options):
    side = FIXED_SIDE if "crops" in options else SIDE
    size = 3 * 4 * sum(height * width for height, width in SIZES)
    kept, stored = (PairImages(pairs, tmp_path, memory) for memory in (size, size - 1))
    assert (kept.file, len(stored._pixels)) == (None, 0)
    assert stored.file.read_bytes() == kept.pixels.numpy().tobytes()
    here, there = (PairStream(images, side, BATCH, 3, **options) for images in (kept, stored))
    for step in (0, 1, 7):
        assert all(same(here.batch(step, rank, 2), there.batch(step, rank, 2)) for rank in (0, 1))


def test_the_file_of_a_set_is_written_once_and_a_shortened_one_anew(pairs, tmp_path):
    file = PairImages(pairs, tmp_path, 0).file
    whole, written = file.read_bytes(), file.stat().st_mtime_ns
    assert PairImages(pairs, tmp_path, 0).file == file
    assert file.stat().st_mtime_ns == written
    file.write_bytes(whole[:-3])
    PairImages(pairs, tmp_path, 0)
    assert file.read_bytes() == whole
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".lock", ".rgb"]


def test_no_room_for_the_file_is_said(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(
        SlackoffError, match=r"do not fit into memory, and .* 0\.0 GB free of the .* labelled\.memory_gb"
    ):
        PairImages(pairs, tmp_path, 0)
