"""A user study as it is answered: its pictures, each rater's next question, and what becomes of an answer. No web page.

Items are ordered by a hash of seed, rater and item. So the same seed and rater give the same ballot on every machine
and under every version of Python, and nothing has to be kept to go on after a restart.
"""

import hashlib
import re
import secrets
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images.files import image_size, images_directly_in, read_rgb, require_folder
from slackoff.record.results import kept_pictures
from slackoff.user_study.votes import SEPARATOR, VoteFile


@dataclass(frozen=True)
class Group:
    """One image of the study: its name, the original (rainy) picture and each method's result, all of one size."""

    image: str
    original: Path
    results: dict[str, Path]


def named_folders(methods: Iterable[str]) -> dict[str, str]:
    """The folders of methods given as NAME=FOLDER.

    Raises:
        SlackoffError: a text of another form, a name given twice or with the separator of the votes file in it, or
            fewer than two methods.
    """
    found: dict[str, str] = {}
    for text in methods:
        name, equals, folder = (part.strip() for part in text.partition("="))
        if not (name and equals and folder):
            raise SlackoffError(
                f"--method {text} is not of the form NAME=FOLDER: write for example --method ours=out/."
            )
        if SEPARATOR in name:
            raise SlackoffError(f"--method {text}: a method's name must not contain '{SEPARATOR}', choose another one.")
        if name in found:
            raise SlackoffError(f"--method {name}=... is given twice: give each method a name of its own.")
        found[name] = folder
    if len(found) < 2:
        raise SlackoffError(
            f"A user study needs two or more methods, not {len(found)}: give --method NAME=FOLDER for each."
        )
    return found


def find_groups(originals: str | Path, methods: dict[str, str]) -> list[Group]:
    """The images of the folder `originals`, sorted by name, each with the result that every method's folder has of it.

    A result has the name of its original, up to the suffix. Instead of a folder of pictures a cell of the record may be
    given (runs/cells/ID): its results are its pictures/TEST_SET/IMAGE/output.png, its originals the rainy.png there. An
    image of a cell is called TEST_SET/IMAGE where the cell kept pictures of that name from several test sets.

    Raises:
        SlackoffError: a missing or empty folder, two pictures of one name, an original without a result, a result of
            another size, or a picture that cannot be read.
    """
    shown = _pictures(originals, "--images", "rainy.png")
    results = {name: _pictures(folder, f"--method {name}", "output.png") for name, folder in methods.items()}
    for name, pictures in results.items():
        if missing := sorted(shown.keys() - pictures.keys()):
            others = f" (nor of {len(missing) - 1} others)" if len(missing) > 1 else ""
            raise SlackoffError(
                f"{methods[name]}, the folder of the method {name}, has no picture of the image {missing[0]}{others}: "
                "add it under the original's name, or remove the original."
            )
    groups = [Group(image, shown[image], {name: found[image] for name, found in results.items()}) for image in shown]
    for group in groups:
        _check_sizes(group)
    return groups


def image_names(originals: str | Path) -> list[str]:
    """The names of the images of the folder `originals`. Raises as `find_groups`."""
    return list(_pictures(originals, "--images", "rainy.png"))


def _pictures(folder: str | Path, key: str, kind: str) -> dict[str, Path]:
    """Image name -> picture, of a folder of pictures or of a cell; sorted by name, never empty."""
    root = require_folder(folder, key)
    if (root / "pictures").is_dir():
        kept = {named: path / kind for named, path in kept_pictures(root).items()}
        times = Counter(image for _, image in kept)
        found = {image if times[image] == 1 else f"{part}/{image}": path for (part, image), path in kept.items()}
    else:
        found = _by_stem(images_directly_in(root, key), key)
    if not found:
        raise SlackoffError(
            f"{key}={root} holds no picture: put the pictures directly into it, or name another folder."
        )
    return found


def _by_stem(paths: Sequence[Path], key: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if (first := found.setdefault(path.stem, path)) is not path:
            raise SlackoffError(f"{first} and {path} in {key} have the same name: remove or rename one of them.")
    return found


def _check_sizes(group: Group) -> None:
    height, width = image_size(group.original)
    for path in group.results.values():
        found = image_size(path)
        if found != (height, width):
            raise SlackoffError(
                f"{path} has {found[1]} x {found[0]} px, but its original {group.original} has {width} x {height} px: "
                "give both the same size."
            )


class AnonymousCopies:
    """Makes a PNG copy of each picture once, when it is first asked for: its pixels, a random name and nothing else.

    Copies of equal pictures have different names, so that a method that changes nothing does not give itself away. A
    copy is never written again, because somebody may be reading it. Several threads may ask.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[Path, Path] = {}
        self._lock = threading.Lock()

    def of(self, picture: Path) -> Path:
        """The copy of a picture.

        Raises:
            SlackoffError: the picture cannot be read.
            OSError: the copy cannot be written.
        """
        with self._lock:
            if picture not in self._copies:
                copy = self._folder / f"{secrets.token_hex(8)}.png"
                Image.fromarray(read_rgb(picture)).save(copy)
                self._copies[picture] = copy
            return self._copies[picture]


def images_for(rater: str, images: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of the images, or all where there are fewer, drawn without replacement and in random order."""
    return _shuffled(images, str(seed), "images", rater)[:count]


def shuffled_methods(rater: str, image: str, methods: Sequence[str], seed: int) -> list[str]:
    """All methods in the random order in which their results are shown to this rater for this image."""
    return _shuffled(methods, str(seed), "methods", rater, image)


def _shuffled(items: Sequence[str], *key: str) -> list[str]:
    def place(item: str) -> bytes:
        return hashlib.sha256("\0".join([*key, item]).encode()).digest()

    return sorted(items, key=place)


_RATER = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Question:
    """One image for one rater: the `number`-th of `total`; `methods` in the order in which their results are shown."""

    number: int
    total: int
    group: Group
    methods: tuple[str, ...]

    @property
    def token(self) -> str:
        """Stands for what is shown where. A page sends it back, so that no vote is kept for what it does not show."""
        shown = "\0".join([self.group.image, *self.methods])
        return hashlib.sha256(shown.encode()).hexdigest()[:16]


class Questionnaire:
    """The study.

    Args:
        groups: its images, at least one, each with a result of every method.
        votes: where votes go; what it holds already is not asked again.
        count: images that each rater is shown, at least 1.
        seed: decides which images a rater sees and in which order methods are placed.
    """

    def __init__(self, groups: Sequence[Group], votes: VoteFile, count: int = 10, seed: int = 0) -> None:
        if count < 1:
            raise SlackoffError(f"--groups {count} leaves a rater nothing to do: give 1 or more.")
        self.methods = sorted(groups[0].results)
        self._groups = {group.image: group for group in groups}
        self._votes, self._count, self._seed = votes, count, seed
        self._one_answer = threading.Lock()

    @property
    def total(self) -> int:
        """Questions for each rater."""
        return min(self._count, len(self._groups))

    def question(self, rater: str) -> Question | None:
        """The rater's first question without a vote; None when all are answered."""
        images = images_for(rater, list(self._groups), self._count, self._seed)
        for number, image in enumerate(images, 1):
            if (rater, image) not in self._votes.voted:
                order = shuffled_methods(rater, image, self.methods, self._seed)
                return Question(number, len(images), self._groups[image], tuple(order))
        return None

    def answer(self, rater: str, token: str, place: int) -> bool:
        """Keep the vote for the result at `place` (0 is the first) of the question of that token.

        Returns whether it was kept: an answer to any question but the rater's current one, such as a second click
        before the page has changed, is not.

        Raises:
            OSError: the vote could not be written.
            ValueError: there is no such place.
        """
        if not 0 <= place < len(self.methods):
            raise ValueError(f"place must be 0 .. {len(self.methods) - 1}, got {place}")
        with self._one_answer:  # of two clicks at once the second must find the first one's vote
            question = self.question(rater)
            if question is None or question.token != token:
                return False
            self._votes.add(rater, question.group.image, question.methods[place], question.methods)
        return True


def is_rater(kept: object) -> TypeGuard[str]:
    """Whether what a browser has kept is the id of a rater: 12 lower-case hexadecimal digits."""
    return isinstance(kept, str) and _RATER.fullmatch(kept) is not None


def rater_or_new(kept: object) -> str:
    """The id that a browser has kept, if it is one, else a new one: random, and telling nothing of the person."""
    return kept if is_rater(kept) else secrets.token_hex(6)
