"""Crops of stored pairs: what they are cut from, and what decides which."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pair_files import RAIN, SIZES, coordinates, origin, write_pairs
from PIL import Image
from torch import Tensor

from slackoff.data import ImageBank, PairData, PairStream, RainyBatch, UnlabelledStream
from slackoff.data.streams import PairImages
from slackoff.errors import SlackoffError
from slackoff.images import Pair, find_pairs

SIDE, BATCH = 32, 12


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return find_pairs(write_pairs(tmp_path_factory.mktemp("pairs") / "a", versions=3), "root")


def stream(pairs: list[Pair], seed: int = 3, batch_size: int = BATCH, **options: bool) -> PairStream:
    return PairStream(PairImages(pairs), SIDE, batch_size, seed, **options)


def same(a: RainyBatch, b: RainyBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_partners_are_cropped_at_one_place_and_the_rain_is_their_difference(pairs):
    batch = stream(pairs).batch(0)
    assert batch.unlabelled is None
    assert [tuple(tensor.shape[1:]) for tensor in batch[:3]] == [(3, SIDE, SIDE), (1, SIDE, SIDE), (3, SIDE, SIDE)]
    assert {tensor.dtype for tensor in batch[:3]} == {torch.float32}
    for background, rain, rainy in zip(*batch[:3], strict=True):
        version = int(torch.round(rainy[0, 0, 0] * 255 - background[0, 0, 0] * 255)) - RAIN
        assert version in (0, 1, 2)
        assert origin(rainy - (RAIN + version) / 255) == origin(background)
        torch.testing.assert_close(rain, torch.full_like(rain, (RAIN + version) / 255), rtol=0, atol=1e-6)


def places(pairs: list[Pair], mirror: bool) -> list[tuple[int, int, int, bool]]:
    source = stream(pairs, batch_size=60, mirror=mirror)
    return [origin(crop) for step in range(20) for crop in source.batch(step).background]


def test_images_places_and_mirroring_are_uniform(pairs):
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


def test_nothing_is_mirrored_where_that_is_off(pairs):
    assert not any(mirrored for *_, mirrored in places(pairs, mirror=False))


def test_a_batch_depends_on_seed_and_number_alone(pairs):
    straight = [stream(pairs).batch(step) for step in range(4)]
    other = stream(pairs)
    torch.manual_seed(99)
    for step in (3, 0, 2, 2, 1):
        torch.rand(3)
        assert same(other.batch(step), straight[step])
    assert not same(straight[0], straight[1])
    assert not same(straight[0], stream(pairs, seed=4).batch(0))


@pytest.mark.parametrize("ranks", [2, 3])
def test_slices_of_the_ranks_interleave_to_the_global_batch(pairs, ranks):
    whole = stream(pairs).batch(5)
    parts = [stream(pairs).batch(5, rank, ranks) for rank in range(ranks)]
    for tensor, *shares in zip(whole[:3], *(part[:3] for part in parts), strict=True):
        assert torch.equal(torch.stack(shares, 1).flatten(0, 1), tensor)


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format(pairs, channels_last):
    batch = stream(pairs, channels_last=channels_last).batch(0)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.background.is_contiguous(memory_format=wanted)
    assert batch.rainy.is_contiguous(memory_format=wanted)
    assert same(batch, stream(pairs, channels_last=not channels_last).batch(0))


def test_a_shared_clean_image_is_held_once(pairs):
    bank = PairImages(pairs).bank
    assert len(bank) == 12 + 4
    assert len(bank.pixels) == 4 * sum(height * width for height, width in SIZES)


def data(pairs: list[Pair], rank: int = 0, ranks: int = 1, unlabelled: Any = None, batch_size: int = BATCH) -> PairData:
    module = PairData(pairs, SIDE, batch_size, seed=3, unlabelled=unlabelled)
    module.trainer = SimpleNamespace(
        world_size=ranks,
        global_rank=rank,
        global_step=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    module.setup("fit")
    return module


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


def test_batches_that_the_ranks_cannot_share_are_refused(pairs):
    with pytest.raises(SlackoffError, match=r"^unlabelled\.batch_size=3 cannot be shared by 2 ranks: .*multiple of 2"):
        data(pairs, ranks=2, unlabelled=lambda device: unlabelled_stream(3))
    with pytest.raises(SlackoffError, match=r"^schedule\.batch_size=5 cannot be shared by 2 ranks"):
        data(pairs, ranks=2, batch_size=5)


def test_side_by_side_pairs_are_cropped_alike(tmp_path: Path):
    clean = coordinates(0, SIZES[0])
    Image.fromarray(np.hstack([clean + np.uint8(RAIN), clean])).save(tmp_path / "0.png")
    batch = stream(find_pairs(tmp_path, "root", "side_by_side")).batch(0)
    for background, rainy in zip(batch.background, batch.rainy, strict=True):
        assert origin(rainy - RAIN / 255) == origin(background)
