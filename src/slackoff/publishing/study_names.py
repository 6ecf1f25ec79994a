"""``--study patchcount`` for the study whose full name is patchcount-laptop-builtin-r100like-3ac3eb."""

from pathlib import Path

from slackoff.errors import SlackoffError


def study_named(given: str, runs: Path) -> str:
    """The name or folder as given where it is one, else the only study of that experiment.

    Raises:
        SlackoffError: several studies fit. One that none fits is left to whoever loads it.
    """
    if (Path(given) / "study.json").is_file():
        return given
    found = sorted(path.parent.name for path in (runs / "studies").glob("*/study.json"))
    fitting = [name for name in found if name.startswith(f"{given}-")]
    if given in found or not fitting:
        return given
    if len(fitting) > 1:
        raise SlackoffError(f"--study {given} fits several studies: name one of {', '.join(fitting)}")
    return fitting[0]
