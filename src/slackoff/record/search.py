"""``search.json`` of a study: the trials of a search, for readers that have no Optuna."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from slackoff.errors import SlackoffError
from slackoff.record.files import DamagedFileError, read_json, write_json
from slackoff.record.status import CellId

FILE = "search.json"


@dataclass(frozen=True)
class Aim:
    """A measure that is looked for."""

    measure: str
    direction: Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Trial:
    """One trial: its state, the cell that it is, its parameters by config key, its values in the order of the aims.

    A pruned trial has the value of its last evaluation, one that failed or runs has none.
    """

    number: int
    state: Literal["complete", "pruned", "fail", "running", "waiting"]
    cell: CellId | None
    params: dict[str, Any]
    values: list[float] | None


@dataclass(frozen=True)
class SearchRecord:
    """A search: its one or two aims, the config keys that it varies, the share of each in what the first aim varies by
    (empty where that is not known), its trials."""

    aims: list[Aim]
    keys: list[str]
    importance: dict[str, float]
    trials: list[Trial]

    def write(self, folder: Path) -> None:
        write_json(folder / FILE, asdict(self))


def read_search(folder: Path) -> SearchRecord | None:
    """The search that a study is; None for any other study.

    Raises:
        SlackoffError: its file is damaged.
        OSError: it cannot be read.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        return read_json(folder / FILE, SearchRecord)
    except DamagedFileError as error:
        raise SlackoffError(f"{error}: run the search's command again to rewrite it") from error
