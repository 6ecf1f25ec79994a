"""Training pairs that show a test scene are left out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images import LabelledPairs, Scenes


def scene(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def write(root: Path, scenes: list[int], first: int = 1) -> Path:
    """norain-1.png, rain-1.png and so on, all rains different; MENET's names, with the files that it ignores."""
    root.mkdir()
    for number, seed in enumerate(scenes, first):
        Image.fromarray(scene(seed)).save(root / f"norain-{number}.png")
        Image.fromarray(scene(1000 * first + number)).save(root / f"rain-{number}.png")
        Image.fromarray(scene(0)[..., 0]).save(root / f"rainstreak-{number}.png")
    return root


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return write(tmp_path / "train", [1, 2, 3, 2, 4, 5])


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """Scenes 2 and 5, the first in a file of other bytes."""
    root = write(tmp_path / "test", [2, 9, 5], first=101)
    Image.fromarray(scene(2)).save(root / "norain-101.png", compress_level=0)
    return root


def names(labelled: LabelledPairs) -> list[str]:
    return [pair.name for pair in labelled.all_pairs]


def test_pairs_that_show_a_test_scene_are_left_out(training, tested):
    everything = LabelledPairs(str(training))
    strict = LabelledPairs(str(training), leave_out=Scenes(str(tested), "roots.rain100h"), key="roots.rain_train_h")
    assert names(everything) == [f"rain-{number}" for number in (1, 2, 3, 4, 5, 6)]
    assert names(strict) == ["rain-1", "rain-3", "rain-5"]
    assert [pair.name for pair in strict.split[0]] == names(strict)
    assert everything.notes == []
    assert strict.notes == ["3 of 6 pairs in roots.rain_train_h are left out: they show a scene of roots.rain100h"]


def test_the_digest_of_the_pairs_is_that_of_the_ones_that_are_left(training, tested, tmp_path):
    strict = LabelledPairs(str(training), leave_out=Scenes(str(tested)))
    assert strict.fingerprint() != LabelledPairs(str(training)).fingerprint()
    write(tmp_path / "more", [5, 2], first=301)
    assert LabelledPairs(str(training), leave_out=Scenes(str(tmp_path / "more"))).fingerprint() == strict.fingerprint()


def test_the_share_is_one_of_what_is_left(training, tested):
    strict = LabelledPairs(str(training), share=0.34, leave_out=Scenes(str(tested)))
    assert [len(part) for part in strict.split] == [1, 2]


def test_nothing_left_is_refused(tested):
    both = LabelledPairs(str(tested), leave_out=Scenes(str(tested), "roots.rain100h"), key="roots.rain_train_h")
    message = (
        rf"^Every pair of roots\.rain_train_h={tested} shows a scene of roots\.rain100h={tested}: none is left to "
        r"train on, so give other training pairs or set labelled\.leave_out=null\.$"
    )
    with pytest.raises(SlackoffError, match=message):
        _ = both.all_pairs


def test_a_missing_test_folder_is_named_by_its_key(training, tmp_path):
    strict = LabelledPairs(str(training), leave_out=Scenes(str(tmp_path / "nowhere"), "roots.rain100h"))
    with pytest.raises(SlackoffError, match=r"^roots\.rain100h=\S+ does not exist"):
        _ = strict.all_pairs


def test_a_folder_in_the_place_of_scenes_is_refused():
    with pytest.raises(SlackoffError, match=r"^labelled\.leave_out=somewhere is not known: give it _target_"):
        LabelledPairs("anywhere", leave_out="somewhere")


def test_rain100l_shows_eight_scenes_of_sirr(shared_data):
    """Theirs are a row and a column larger, so that no file and no array is the same."""
    strict = LabelledPairs(str(shared_data("rain100l")), leave_out=Scenes(str(shared_data("sirr"))))
    found = {pair.name for pair in LabelledPairs(strict.root).all_pairs} - {pair.name for pair in strict.all_pairs}
    assert found == {"020", "022", "029", "034", "040", "041", "048", "057"}


def test_light_and_heavy_pairs_share_scenes(shared_data):
    """In the copy at hand 001 to 020 of both sets do, and four scenes of them come again in 021 to 060."""
    light, heavy = shared_data("rain100l"), shared_data("rain100h")
    left = LabelledPairs(str(light), leave_out=Scenes(str(heavy))).all_pairs
    assert len(left) == 60 - 20 - 4
    assert not {pair.name for pair in left} & {"001", "020", "025", "036", "047", "058"}
