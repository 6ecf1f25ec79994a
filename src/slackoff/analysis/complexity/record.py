"""A complexity study on disk: study.json with "kind": "complexity", and complexity.parquet beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from slackoff.errors import SlackoffError

ROWS = "complexity.parquet"
_NEEDED = {"category", "photograph", "patch", "colour", "normalised", "half_variance", "c_0"}
_TEXTS = ("name", "title", "question", "experiment", "size", "created_at", "command", "paper")
_LABELS = {"celeba": "CelebA", "div2k": "DIV2K", "manga109": "Manga109", "urban100": "Urban100"}
_COLOURS = {"rgb": "RGB", "grey": "grey"}


@dataclass(frozen=True)
class Variant:
    """How patches were prepared before measuring."""

    colour: str
    normalised: bool

    @property
    def name(self) -> str:
        """'RGB, as they are' or 'grey, normalised'."""
        return f"{_COLOURS.get(self.colour, self.colour)}, {'normalised' if self.normalised else 'as they are'}"


@dataclass(frozen=True)
class ComplexityStudy:
    """What study.json says, and the measured rows (see ``ComplexityMeasurement.measure``)."""

    folder: Path
    rows: pd.DataFrame
    filter_size: int
    patch_size_px: int
    settings: dict[str, Any]
    environment: dict[str, Any]
    name: str = ""
    title: str = ""
    question: str = ""
    experiment: str = ""
    size: str = ""
    created_at: str = ""
    command: str = ""
    paper: str = ""

    @cached_property
    def categories(self) -> list[str]:
        """The categories in the order in which they were measured."""
        return list(dict.fromkeys(self.rows["category"]))

    @cached_property
    def scale_columns(self) -> list[str]:
        """c_0 ... c_{K-1}."""
        count = sum(str(column).startswith("c_") for column in self.rows)
        return [f"c_{k}" for k in range(count)]

    @cached_property
    def variants(self) -> list[Variant]:
        """The variants in the order in which they were measured."""
        pairs = self.rows[["colour", "normalised"]].drop_duplicates().itertuples(index=False, name=None)
        return [Variant(str(colour), bool(normalised)) for colour, normalised in pairs]

    @property
    def has_every_scale(self) -> bool:
        """Whether the last scale is the whole patch, so that all C_k add up to half its variance."""
        return bool(self.filter_size ** len(self.scale_columns) == self.patch_size_px)

    def of(self, variant: Variant) -> pd.DataFrame:
        """The rows of a variant."""
        return self.rows[(self.rows["colour"] == variant.colour) & (self.rows["normalised"] == variant.normalised)]

    def examples(self) -> Iterator[tuple[str, list[Path]]]:
        """Each category with the pictures of its first patches, those that were kept."""
        for category in self.categories:
            pictures = (self.folder / "patches" / category).glob("*.png")
            yield category, sorted(pictures, key=lambda path: path.name)


def label(category: str) -> str:
    """How a category is written: 'CelebA' for celeba, else as it is named."""
    return _LABELS.get(category, category)


def load(study_dir: str | Path) -> ComplexityStudy:
    """Read a complexity study.

    Raises:
        SlackoffError: a file is missing or damaged.
    """
    folder = Path(study_dir)
    path = folder / "study.json"
    cure = "run the study's command again to rewrite it."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings = dict(content["measure"])
        filter_size, patch_size_px = (int(settings[key]) for key in ("filter_size", "patch_size_px"))
        environment = dict(content.get("environment") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlackoffError(f"{path} is missing or damaged ({type(error).__name__}: {error}): {cure}") from error
    try:
        rows = pd.read_parquet(folder / ROWS)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise SlackoffError(f"{folder / ROWS} is missing or damaged ({str(error).splitlines()[0]}): {cure}") from error
    if lacking := sorted(_NEEDED - set(rows)) or ([] if len(rows) else ["any row"]):
        raise SlackoffError(f"{folder / ROWS} lacks {', '.join(lacking)}: {cure}")
    texts = {key: str(content.get(key) or "") for key in _TEXTS}
    return ComplexityStudy(folder, rows, filter_size, patch_size_px, settings, environment, **texts)
