"""Checkpoints that a kill cannot spoil: written whole, the previous one kept, verified before use."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from slackoff.errors import SlackoffError
from slackoff.record.files import write_whole

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_MARK = "slackoff_cell"


class WholeFileCheckpointIO(TorchCheckpointIO):
    """Saves a checkpoint in one step, marked with its cell, after moving the one before to ``previous.ckpt``.

    Args:
        cell_id: of the cell.
        adopt: makes a checkpoint of another cell, from which this one goes on, its own; it is given its content.
    """

    def __init__(self, cell_id: str, adopt: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.cell_id, self.adopt = cell_id, adopt

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        content = super().load_checkpoint(*args, **kwargs)
        return self.adopt(content) if self.adopt and content[_MARK] != self.cell_id else content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        marked = {**checkpoint, _MARK: self.cell_id}

        def replace(partial: Path) -> None:
            try:  # through a file of Python's: torch's own says of a full disk only that a position is unexpected
                with partial.open("wb") as file:
                    torch.save(marked, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
            if target.exists():
                _keep_as_previous(target)

        write_whole(target, replace)


class ResumePoint(NamedTuple):
    """The checkpoint to go on from (None: from the start), its step, and what a person should know about it."""

    path: Path | None
    step: int
    notes: list[str]


def find_resume_point(folder: Path, cell_id: str) -> ResumePoint:
    """Find the newest whole checkpoint of a cell.

    Args:
        folder: the cell's checkpoint folder.
        cell_id: whose checkpoints these must be.

    Raises:
        SlackoffError: a checkpoint is readable but was not written for this cell.
    """
    notes = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        if not _is_whole(path):
            notes.append(f"{path} is truncated or damaged and was not used")
            continue
        content = _load(path)
        if content.get(_MARK) != cell_id:
            raise SlackoffError(
                f"{path} was not written by slackoff for cell {cell_id}: move it away, then run the same command again"
            )
        step = int(content["global_step"])
        if notes:
            notes.append(f"training goes on from {path}, step {step}")
        return ResumePoint(path, step, notes)
    if notes:
        notes.append("no whole checkpoint is left: training starts from step 0")
    return ResumePoint(None, 0, notes)


def _keep_as_previous(target: Path) -> None:
    """Give the present checkpoint a second name, so that at no moment there is none."""
    previous = target.with_name(PREVIOUS)
    link = target.with_name(f".{PREVIOUS}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(target, link)
    except OSError:  # a file system without hard links
        link = target
    link.replace(previous)


def _is_whole(path: Path) -> bool:
    """Whether a torch file is complete, by the checksums of its zip container."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return False


def _load(path: Path) -> dict[str, Any]:
    load: Callable[..., Any] = torch.load
    try:
        content = load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file holds, it is refused with one sentence
        raise SlackoffError(
            f"{path} is not a checkpoint of slackoff ({type(error).__name__}): move it away, "
            "then run the same command again"
        ) from error
    return content if isinstance(content, dict) else {}
