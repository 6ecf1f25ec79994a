"""A study: the named set of cells that one question needs, as `study.json` states it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slackoff.errors import SlackoffError, did_you_mean


@dataclass(frozen=True)
class Study:
    """What `study.json` says, and where the study lies.

    `axis` is the axis that the curves are drawn against; `cells` holds one (cell id, axes) pair per model, in
    the order of the study. `claims` names the families of claims to check (none: by the axis) and `test_sets` the
    test sets to draw (none: all); `options` are choices of the analysis, such as `balance_margin`. Texts that the
    file does not give are empty.
    """

    name: str
    axis: str
    cells: tuple[tuple[str, dict[str, Any]], ...]
    folder: Path
    runs: Path
    title: str = ""
    question: str = ""
    experiment: str = ""
    size: str = ""
    created_at: str = ""
    command: str = ""
    paper: str = ""
    claims: tuple[str, ...] = ()
    test_sets: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> list[str]:
        """Names of all axes, the main one first, the others in the order in which cells name them."""
        return list(dict.fromkeys([self.axis, *(name for _, axes in self.cells for name in axes)]))

    def recorded(self, test_set: str, image: str) -> tuple[str, str]:
        """Test set and name that an image of the frames has in the record of a cell.

        They differ where `options.joined_test_sets` counts several test sets as one, whose images are TEST_SET/IMAGE.
        """
        for part in self.options.get("joined_test_sets", {}).get(test_set, ()):
            if image.startswith(f"{part}/"):
                return part, image.removeprefix(f"{part}/")
        return test_set, image


def find_study(study_or_folder: str | Path, runs: str | Path = "runs") -> Study:
    """Reads a study by its name under `runs`/studies, or by the folder that holds its `study.json`.

    Raises SlackoffError when there is no such study (with the closest name and the names there are) or when
    its `study.json` cannot be used.
    """
    folder = Path(study_or_folder)
    if (folder / "study.json").is_file():
        return _read(folder, folder.resolve().parent.parent)
    folder = Path(runs) / "studies" / str(study_or_folder)
    if (folder / "study.json").is_file():
        return _read(folder, Path(runs))
    raise SlackoffError(_not_found(str(study_or_folder), Path(runs) / "studies"))


def _not_found(name: str, studies: Path) -> str:
    known = sorted(path.parent.name for path in studies.glob("*/study.json"))
    if not known:
        return (
            f"There is no study '{name}' and {studies} holds none: run one first, "
            "for example `python -m slackoff +experiment=patchcount -m`, or name another folder of runs."
        )
    starting = [study for study in known if name and study.startswith(name)]
    suggestion = f"did you mean '{starting[0]}'?" if starting else did_you_mean(name, known)
    listed = f"The studies there are: {', '.join(known)}."
    return f"There is no study '{name}' in {studies}: {' '.join(filter(None, (suggestion, listed)))}"


def _read(folder: Path, runs: Path) -> Study:
    path = folder / "study.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = tuple((str(cell["id"]), scalars(cell["axes"])) for cell in content["cells"])
        axis = str(content["axis"])
        choices: dict[str, Any] = {key: _names(content, key) for key in ("claims", "test_sets")}
        choices["options"] = dict(content.get("options") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise SlackoffError(
            f"{path} is damaged ({type(error).__name__}: {error}): run the study's command again to rewrite it."
        ) from error
    without = [identity for identity, axes in cells if axis not in axes]
    if without or not cells:
        what = f"its cell {without[0]} has no axis '{axis}'" if without else "it lists no cells"
        raise SlackoffError(f"{path} is of no use, {what}: run the study's command again to rewrite it.")
    texts = {key: str(content.get(key) or "") for key in Study.__dataclass_fields__ if key in _TEXTS}
    named: dict[str, Any] = {"name": folder.name, **texts}
    return Study(axis=axis, cells=cells, folder=folder, runs=runs, **choices, **named)


_TEXTS = ("title", "question", "experiment", "size", "created_at", "command", "paper")


def _names(content: dict[str, Any], key: str) -> tuple[str, ...]:
    """A list of names; empty where the file does not give it."""
    names = content.get(key) or []
    if not isinstance(names, list):
        raise TypeError(f"{key} is not a list")
    return tuple(map(str, names))


def scalars(axes: dict[str, Any]) -> dict[str, Any]:
    """Axis values that a frame can group by: a list or mapping becomes its JSON text."""
    return {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in axes.items()}
