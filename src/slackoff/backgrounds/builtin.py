"""Colour photos that ship inside scikit-image, scikit-learn and matplotlib: data for a first run.

They are found as files; none of the packages is imported and nothing is fetched. Licences: docs/datasets.md.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from slackoff.backgrounds.sources import FileSource, Split
from slackoff.errors import SlackoffError


class BuiltinPhoto(NamedTuple):
    """One photo: the module whose folder holds it, its path in there, and whether it is kept for testing."""

    module: str
    path: str
    held_out: bool

    @property
    def name(self) -> str:
        return f"{self.module}/{Path(self.path).name}"


# The test photos are textured and free of any condition (CC0 or public domain), so that pictures
# made from them may be published as they are. The order is part of the fingerprint.
PHOTOS = (
    BuiltinPhoto("skimage", "data/astronaut.png", held_out=True),
    BuiltinPhoto("skimage", "data/chelsea.png", held_out=True),
    BuiltinPhoto("skimage", "data/coffee.png", held_out=False),
    BuiltinPhoto("skimage", "data/ihc.png", held_out=False),
    BuiltinPhoto("skimage", "data/motorcycle_left.png", held_out=False),
    BuiltinPhoto("skimage", "data/rocket.jpg", held_out=True),
    BuiltinPhoto("sklearn", "datasets/images/china.jpg", held_out=False),
    BuiltinPhoto("sklearn", "datasets/images/flower.jpg", held_out=False),
    BuiltinPhoto("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", held_out=False),
)

_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}


class BuiltinSource(FileSource):
    """The photos of `PHOTOS`, with a fixed split into train and test.

    Raises:
        SlackoffError: a package is not installed, or its installed version lacks a photo.
    """

    def __init__(self) -> None:
        super().__init__([photo.name for photo in PHOTOS], [_locate(photo) for photo in PHOTOS])
        self.fixed_split = Split(
            train=[index for index, photo in enumerate(PHOTOS) if not photo.held_out],
            test=[index for index, photo in enumerate(PHOTOS) if photo.held_out],
        )


def _locate(photo: BuiltinPhoto) -> Path:
    distribution = _DISTRIBUTIONS[photo.module]
    spec = find_spec(photo.module)  # of a top-level module: finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        raise SlackoffError(
            f"The built-in photo {photo.name} needs {distribution}, which is not installed: install it with "
            f"`pip install {distribution}`, or use your own images with background=folder background.root=..."
        )
    path = Path(spec.submodule_search_locations[0], photo.path)
    if not path.is_file():
        raise SlackoffError(
            f"The built-in photo {photo.name} is not part of the installed {distribution} ({path} is "
            f"missing): reinstall it with `pip install --force-reinstall {distribution}`, or use your own "
            "images with background=folder background.root=..."
        )
    return path
