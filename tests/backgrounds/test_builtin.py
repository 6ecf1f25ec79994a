import subprocess
import sys

import cv2
import numpy as np
import pytest
import skimage.data
import sklearn.datasets

from slackoff.errors import SlackoffError
from slackoff.images import sources
from slackoff.images.bank import capacity
from slackoff.images.sources import PHOTOS, BuiltinPhoto, BuiltinSource, image_sizes


@pytest.fixture(scope="module")
def source():
    return BuiltinSource()


def test_photos_are_colour_photos_of_a_useful_size(source):
    assert len(source) == len(set(source.names)) == 9
    for index in range(len(source)):
        pixels = source.read(index)
        height, width = source.size(index)
        assert pixels.shape == (height, width, 3)
        assert min(height, width) >= 300
        hue_spread = np.ptp(pixels.astype(int), axis=2).mean()
        assert hue_spread > 10  # a grey photo has 0
        assert pixels.std() > 25


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_scikit_image_photos_are_those_of_its_loader(source, name):
    index = next(i for i, full in enumerate(source.names) if full.startswith(f"skimage/{name}."))
    np.testing.assert_array_equal(source.read(index), getattr(skimage.data, name)())


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_scikit_learn_photos_are_those_of_its_loader(source, name):
    read = source.read(source.names.index(f"sklearn/{name}"))
    np.testing.assert_array_equal(read, sklearn.datasets.load_sample_image(name))


def test_split_is_by_photo_and_has_room(source):
    train, test = source.fixed_split
    assert sorted(train + test) == list(range(9))
    assert [source.names[index] for index in test] == [
        "skimage/astronaut.png",
        "skimage/chelsea.png",
        "skimage/rocket.jpg",
    ]
    assert capacity(image_sizes(source, train), 64) >= 1024
    assert capacity(image_sizes(source, train), 128) >= 1024


def test_no_two_photos_show_the_same_scene(source):
    """Thumbnails of any two are little correlated; the two views of the motorcycle would not be."""
    small = [cv2.resize(source.read(i), (16, 16), interpolation=cv2.INTER_AREA).ravel() for i in range(len(source))]
    correlation = np.corrcoef(small) - np.eye(len(source))
    assert correlation.max() < 0.8


def test_finding_the_photos_imports_nothing_heavy():
    code = (
        "import sys; from slackoff.images import BuiltinSource; BuiltinSource().fingerprint(); "
        "heavy = 'torch', 'skimage', 'sklearn', 'matplotlib', 'scipy', 'cv2'; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_photo_that_a_version_no_longer_ships_is_named(monkeypatch):
    monkeypatch.setattr(sources, "PHOTOS", (*PHOTOS, BuiltinPhoto("skimage", "data/gone.png", held_out=False)))
    with pytest.raises(SlackoffError) as caught:
        BuiltinSource()
    assert "skimage/gone.png is not part of the installed scikit-image" in str(caught.value)
    assert "background=folder background.root=" in str(caught.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(SlackoffError, match=r"needs scikit-image, which is not installed: install it"):
        BuiltinSource()
