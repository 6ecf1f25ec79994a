import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slackoff.errors import SlackoffError
from slackoff.images.sources import Split, split_images


@dataclass
class Digests:
    """What a split needs to know of an ImageSource."""

    digests: list[str]
    fixed_split: Split | None = None
    names: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.names = self.names or [f"{index}.png" for index in range(len(self.digests))]


def images(count: int) -> Digests:
    return Digests([f"content {index}" for index in range(count)])


@given(count=st.integers(2, 200), share=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_both_sides_are_disjoint_and_together_everything(count, share, seed):
    wanted = max(1, math.floor(share * count + 0.5)) if share else 0
    if wanted == count:
        with pytest.raises(SlackoffError):
            split_images(images(count), share, seed=seed)
        return
    train, test = split_images(images(count), share, seed=seed)
    assert sorted(train + test) == list(range(count))
    assert train == sorted(train)
    assert test == sorted(test)
    assert len(test) == wanted


@pytest.mark.parametrize(("held_out", "expected"), [(0, 0), (0.0, 0), (1, 1), (0.001, 1), (10, 10), (0.25, 25)])
def test_share_and_count(held_out, expected):
    assert len(split_images(images(100), held_out).test) == expected


def test_copies_of_a_file_stay_on_one_side():
    source = Digests([f"content {index % 10}" for index in range(30)])
    for seed in range(20):
        train, test = split_images(source, 4, seed=seed)
        assert {index % 10 for index in train}.isdisjoint(index % 10 for index in test)
        assert len(test) == 6  # the copies of the second one come along


def test_split_depends_on_the_files_alone_not_on_their_names_or_order():
    forward = images(50)
    backward = Digests(forward.digests[::-1], names=[f"other {index}" for index in range(50)])
    held_out = {forward.digests[index] for index in split_images(forward, 0.2).test}
    assert held_out == {backward.digests[index] for index in split_images(backward, 0.2).test}


def test_adding_images_moves_few_others():
    before = split_images(images(100), 20)
    after = split_images(images(101), 20)
    assert len(set(before.test) & set(after.test)) >= 19


def test_seed_decides_and_every_image_is_held_out_by_some_seed():
    seen = set()
    for seed in range(40):
        seen |= set(split_images(images(20), 0.2, seed=seed).test)
    assert seen == set(range(20))
    assert split_images(images(20), 0.2) == split_images(images(20), 0.2)


def test_a_fixed_split_is_given_as_it_is_and_cannot_be_changed():
    source = Digests(["a", "b"], fixed_split=Split([1], [0]))
    assert split_images(source, None) == ([1], [0])
    with pytest.raises(SlackoffError, match=r"background\.held_out=0\.1 does not apply.*set background\.held_out=null"):
        split_images(source, 0.1)


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (None, "is not a number: give a share"),
        (True, "is not a number: give a share"),
        ("ten", "is not a number: give a share"),
        (-1, "is negative: give the number"),
        (-0.1, "is not a share: give a number from 0"),
        (1.0, "is not a share: give a number from 0"),
        (float("nan"), "is not a share: give a number from 0"),
        (5, "leaves none of the 5 images for training: lower"),
        (99, "leaves none of the 5 images for training: lower"),
        (0.95, "leaves none of the 5 images for training: lower"),
    ],
)
def test_wrong_values_are_named_with_key_and_cure(held_out, words):
    with pytest.raises(SlackoffError) as caught:
        split_images(images(5), held_out)
    assert f"background.held_out={held_out} {words}" in str(caught.value)
