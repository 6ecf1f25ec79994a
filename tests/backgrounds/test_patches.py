from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slackoff.errors import SlackoffError
from slackoff.images.bank import Patch, capacity, capacity_without_overlap, select_patches

SIDES = st.integers(32, 110)
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6)
PATCH = st.sampled_from([4, 8, 16, 20, 32])
SEED = st.integers(0, 2**32)
PINNED = [
    Patch(1, 0, 0),
    Patch(0, 2, 26),
    Patch(1, 32, 32),
    Patch(0, 66, 26),
    Patch(1, 0, 32),
    Patch(0, 34, 58),
]


def coverage(sizes, patches, size_px):
    """How often each pixel of each image is used."""
    used = [np.zeros(size, int) for size in sizes]
    for image, top, left in patches:
        window = used[image][top : top + size_px, left : left + size_px]
        assert window.shape == (size_px, size_px)
        window += 1
    return used


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_all_patches_are_different_inside_and_as_many_as_promised(sizes, size_px, seed):
    total = capacity(sizes, size_px)
    patches = select_patches(sizes, size_px, total, seed)
    assert len(set(patches)) == len(patches) == total
    assert min(min(patch) for patch in patches) >= 0
    coverage(sizes, patches, size_px)
    with pytest.raises(SlackoffError):
        select_patches(sizes, size_px, total + 1, seed)


@settings(max_examples=60)
@given(sizes=SIZES, size_px=PATCH, seed=SEED, data=st.data())
def test_selections_are_nested(sizes, size_px, seed, data):
    total = capacity(sizes, size_px)
    large = data.draw(st.integers(1, total))
    small = data.draw(st.integers(1, large))
    assert select_patches(sizes, size_px, large, seed)[:small] == select_patches(sizes, size_px, small, seed)


@settings(max_examples=60)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_no_overlap_until_no_further_whole_patch_fits(sizes, size_px, seed):
    most = sum((height // size_px) * (width // size_px) for height, width in sizes)
    assert capacity_without_overlap(sizes, size_px) == most
    patches = select_patches(sizes, size_px, most, seed)
    assert max(used.max() for used in coverage(sizes, patches, size_px)) == 1


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED)
def test_later_levels_halve_the_distance_between_patches(sizes, size_px, seed):
    """Distances to a level-0 patch are multiples of a whole patch, then of a half, then of a quarter."""
    half, quarter = size_px // 2, size_px // 4
    patches = select_patches(sizes, size_px, capacity(sizes, size_px), seed)
    anchor: dict[int, Patch] = {}
    fineness = []
    for patch in patches:
        first = anchor.setdefault(patch.image, patch)
        away = (patch.top - first.top, patch.left - first.left)
        fineness.append(next(k for k, step in enumerate((size_px, half, quarter)) if all(d % step == 0 for d in away)))
    assert fineness == sorted(fineness)
    assert fineness.count(0) == capacity_without_overlap(sizes, size_px)


@settings(max_examples=40)
@given(sizes=SIZES, size_px=PATCH, seed=SEED, data=st.data())
def test_images_take_turns(sizes, size_px, seed, data):
    """In level 0, an image gives its next patch only when all others gave as many or have no more."""
    own = [(height // size_px) * (width // size_px) for height, width in sizes]
    count = data.draw(st.integers(1, sum(own)))
    given_by = Counter(patch.image for patch in select_patches(sizes, size_px, count, seed))
    most = max(given_by.values())
    assert all(given_by[image] >= min(own[image], most - 1) for image in range(len(sizes)))


def test_few_patches_come_from_as_many_images():
    patches = select_patches([(100, 100)] * 50, 32, 8, seed=0)
    assert len({patch.image for patch in patches}) == 8


@pytest.mark.parametrize("level_count", [9, 9 + 16, 9 + 16 + 56])
def test_numbers_of_patches_of_a_square_image(level_count):
    """3 x 3 whole patches, then 5 x 5 half-patch and 9 x 9 quarter-patch positions."""
    patches = select_patches([(96, 96)], 32, level_count, seed=4)
    step = {9: 32, 25: 16, 81: 8}[level_count]
    grid = range(0, 65, step)
    assert sorted(patches) == sorted(Patch(0, top, left) for top in grid for left in grid)


def test_a_face_of_178_x_218_gives_six_patches_of_128():
    """Margins of 50 and 90 px hold 1 and 2 quarter-patch steps of 32 px."""
    assert capacity([(218, 178)], 128) == 2 * 3
    assert capacity_without_overlap([(218, 178)], 128) == 1


def test_the_same_seed_gives_the_same_choice_and_another_seed_another():
    sizes = [(300, 451), (400, 600), (512, 512)]
    again = [select_patches(sizes, 64, 40, seed=3) for _ in range(2)]
    assert again[0] == again[1]
    choices = {tuple(select_patches(sizes, 64, 40, seed=seed)) for seed in range(20)}
    assert len(choices) == 20
    assert len({choice[0].image for choice in choices}) == 3
    assert len({(patch.top % 64, patch.left % 64) for choice in choices for patch in choice[:3]}) > 20


def test_the_choice_is_pinned():
    """A changed choice changes results under an unchanged cell: then raise the cache's selection version."""
    assert select_patches([(100, 90), (64, 120)], 32, 6, seed=1) == PINNED


def test_large_collections_stay_within_their_images():
    patches = np.array(select_patches([(1356, 2040)] * 800, 128, 30_000, seed=0))
    assert len(np.unique(patches, axis=0)) == 30_000
    assert np.bincount(patches[:, 0], minlength=800).min() >= 37
    assert patches.max(axis=0).tolist() <= [799, 1356 - 128, 2040 - 128]
    faces = np.array(select_patches([(218, 178)] * 200_000, 128, 30_000, seed=0))
    assert len(np.unique(faces[:, 0])) == 30_000


class TestRefused:
    def test_more_than_there_are(self):
        with pytest.raises(SlackoffError) as caught:
            select_patches([(96, 96)] * 2, 32, 163, seed=0)
        sentence = str(caught.value)
        assert "background.patch_count=163 is more than the 162 patches of 32 px that 2 images can give" in sentence
        assert "lower background.patch_count to 162 or less" in sentence

    def test_another_key_can_be_named(self):
        with pytest.raises(SlackoffError, match=r"evaluation\.count=99 .* lower evaluation\.test_set\.size_px"):
            select_patches([(32, 32)], 32, 99, 0, count_key="evaluation.count", size_key="evaluation.test_set.size_px")

    @pytest.mark.parametrize("count", [0, -5])
    def test_no_patches(self, count):
        with pytest.raises(SlackoffError, match=rf"background\.patch_count={count} .* set it to 1 or more"):
            select_patches([(96, 96)], 32, count, seed=0)

    def test_no_images(self):
        with pytest.raises(SlackoffError, match="more than the 0 patches of 32 px that 0 images can give"):
            select_patches([], 32, 1, seed=0)

    @pytest.mark.parametrize("size_px", [0, -4, 30, 2])
    def test_a_size_off_the_lattice(self, size_px):
        with pytest.raises(SlackoffError, match=rf"background\.patch_size_px={size_px} .* multiple of 4"):
            capacity([(96, 96)], size_px)

    @pytest.mark.parametrize("size", [(31, 96), (96, 31)])
    @pytest.mark.parametrize("function", [capacity, capacity_without_overlap])
    def test_an_image_smaller_than_a_patch(self, function, size):
        with pytest.raises(SlackoffError) as caught:
            function([(96, 96), size, (8, 8)], 32, names=["a.png", "b/small.png", "c.png"])
        sentence = str(caught.value)
        assert f"b/small.png ({size[1]} x {size[0]} px) is smaller than a patch" in sentence
        assert "remove it or lower background.patch_size_px (2 of 3 images are too small)" in sentence

    def test_an_image_without_a_name_is_numbered(self):
        with pytest.raises(SlackoffError, match=r"^image 1 \(8 x 8 px\)"):
            select_patches([(96, 96), (8, 8)], 32, 1, seed=0)
