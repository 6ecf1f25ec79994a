"""What is to be derained and where each result goes, decided before anything starts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slackoff.backgrounds.listing import is_folder, is_image, visible_entries
from slackoff.deraining.photos import FORMATS
from slackoff.errors import SlackoffError

KEEP = "keep"
_ENDINGS = {"png": ".png", "jpg": ".jpg"}


@dataclass(frozen=True)
class Job:
    """A photo and the file that its derained one becomes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """The jobs, in order, and a sentence for each folder that cannot be listed."""

    jobs: list[Job]
    failures: list[str] = field(default_factory=list)


def plan_jobs(inputs: Sequence[Path], out: Path, ending: str = KEEP, left_out: Sequence[Path] = ()) -> Plan:
    """Decide what is written where.

    A photo goes to OUT under its name, a folder's photos under their path in that folder; for a single photo OUT may be
    a file name. Numbered names are in the order of their numbers. Hidden files are left out, and so is what
    lies in OUT itself where OUT is inside of an input.

    Args:
        inputs: photos and folders.
        out: a folder, or a file name for a single photo.
        ending: "png" or "jpg" for all results, or "keep" for that of each photo, or .png where it is not written.
        left_out: files that are no input, wherever they lie.

    Raises:
        SlackoffError: an input is not there, there is no photo at all, two results would have one name, or a result
            would take the place of an input.
    """
    for path in inputs:
        if not path.exists() and not path.is_symlink():
            raise SlackoffError(f"{path} is not there: give photos or folders of photos")
    if len(inputs) == 1 and not inputs[0].is_dir() and out.suffix.lower() in FORMATS and not out.is_dir():
        jobs = [Job(inputs[0], out)]
        if ending != KEEP and FORMATS[out.suffix.lower()] != FORMATS[_ENDINGS[ending]]:
            raise SlackoffError(f"-o {out} and --format {ending} contradict each other: leave out --format")
        _check(jobs)
        return Plan(jobs)
    if out.exists() and not out.is_dir():
        raise SlackoffError(f"-o {out} is a file: name a folder for the results")
    hidden = {path.resolve() for path in (out, *left_out)}
    failures: list[str] = []
    jobs = []
    for path in inputs:
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise SlackoffError(f"-o {out} is the input itself: name another folder, photos are never overwritten")
            names = sorted(_walk(path, "", set(), hidden, failures), key=natural)
            jobs += [Job(path / name, _renamed(out / name, ending)) for name in names]
        else:
            jobs.append(Job(path, _renamed(out / path.name, ending)))
    if not jobs and not failures:
        raise SlackoffError(
            f"{', '.join(map(str, inputs))}: there is no photo; files that end in {', '.join(FORMATS)} are taken"
        )
    jobs = list(dict.fromkeys(jobs))  # a photo that was named twice
    _check(jobs)
    return Plan(jobs, failures)


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which frame 10 follows frame 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _walk(
    folder: Path, prefix: str, visited: set[tuple[int, int]], hidden: set[Path], failures: list[str]
) -> Iterator[str]:
    """Paths of images below a folder, relative to the first one; each folder once, whatever links there are."""
    try:
        status = folder.stat()
        entries = visible_entries(folder, "INPUT")
    except (SlackoffError, OSError) as error:
        failures.append(str(error))
        return
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    for entry in entries:
        if Path(entry.path).resolve() in hidden:
            continue
        if is_folder(entry):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/", visited, hidden, failures)
        elif is_image(entry):
            yield prefix + entry.name


def _renamed(target: Path, ending: str) -> Path:
    if ending != KEEP:
        known = target.suffix.lower() in FORMATS
        if known and FORMATS[target.suffix.lower()] == FORMATS[_ENDINGS[ending]]:
            return target
        return target.with_name((target.stem if known else target.name) + _ENDINGS[ending])
    return target if target.suffix.lower() in FORMATS else target.with_name(target.name + ".png")


def _check(jobs: Sequence[Job]) -> None:
    """Refuse results of one name, and those in the place of an input."""
    sources = {job.source.resolve(): job.source for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise SlackoffError(f"{job.target} is an input: name another -o, photos are never overwritten")
        if target in taken:
            raise SlackoffError(
                f"{taken[target]} and {job.source} would both be written to {job.target}: give them an -o each"
            )
        taken[target] = job.source
