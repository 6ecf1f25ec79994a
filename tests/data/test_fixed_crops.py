"""Training on fixed crops: which they are, how often, and that everything else is as for random ones."""

from collections import Counter

import pytest
import torch
from pair_files import RAIN, SIZES, origin, write_pairs

from slackoff.data import PairData, PairStream
from slackoff.data.streams import PairImages
from slackoff.images import Pair, find_pairs

SIDE = 31


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return find_pairs(write_pairs(tmp_path_factory.mktemp("pairs") / "a"), "root")


def stream(pairs: list[Pair], seed: int = 3, mirror: bool = True, batch_size: int = 50) -> PairStream:
    return PairStream(PairImages(pairs), SIDE, batch_size, seed, mirror, crops="five")


def expected(image: int, mirror: bool) -> set[tuple[int, int, int, bool]]:
    """From the sizes alone: the corner, from the left of the image as it is stored."""
    height, width = SIZES[image]
    bottom, right = height - SIDE, width - SIDE
    places = {(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))}
    found = {(image, top, left, False) for top, left in places}
    return found | ({(image, top, right - left, True) for top, left in places} if mirror else set())


@pytest.mark.parametrize("mirror", [True, False])
def test_every_fixed_crop_comes_and_no_other(pairs, mirror):
    source = stream(pairs, mirror=mirror)
    found = Counter(origin(crop) for step in range(40) for crop in source.batch(step).background)
    wanted = set().union(*(expected(image, mirror) for image in range(len(SIZES))))
    assert set(found) == wanted
    assert len(wanted) == (10 if mirror else 5) * len(SIZES)
    mean = 2000 / len(wanted)
    assert max(abs(count - mean) for count in found.values()) < 5 * mean**0.5


def test_partners_are_cropped_alike(pairs):
    for background, rainy in zip(*stream(pairs).batch(0)[0:3:2], strict=True):
        assert origin(rainy - RAIN / 255) == origin(background)


def test_a_batch_depends_on_seed_and_number_alone_and_is_shared_by_ranks(pairs):
    whole = stream(pairs).batch(5)
    assert torch.equal(stream(pairs).batch(5).rainy, whole.rainy)
    assert not torch.equal(stream(pairs, seed=4).batch(5).rainy, whole.rainy)
    assert not torch.equal(stream(pairs).batch(6).rainy, whole.rainy)
    for rank in range(2):
        assert torch.equal(stream(pairs).batch(5, rank, 2).rainy, whole.rainy[rank::2])


def test_an_epoch_is_a_pass_over_all_crops(pairs):
    """18,000 crops of 1,800 pairs: 900 steps of 20."""
    assert PairData(pairs, SIDE, 20, 0, crops="five").labelled_images == 40
    assert PairData(pairs, SIDE, 20, 0, mirror=False, crops="five").labelled_images == 20
    assert PairData(pairs, SIDE, 20, 0).labelled_images == 4
