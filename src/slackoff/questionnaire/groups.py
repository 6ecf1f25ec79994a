"""The pictures of a user study: each image with the results of all methods on it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slackoff.analysis.user_study.votes import SEPARATOR
from slackoff.backgrounds.images import image_size
from slackoff.backgrounds.listing import images_directly_in, require_folder
from slackoff.errors import SlackoffError
from slackoff.record.pictures import kept_pictures


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
