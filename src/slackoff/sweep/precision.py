"""The precision of a sweep: ``auto`` is settled once for all its cells, so that they can be compared."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slackoff.sweep.aside import Aside
from slackoff.sweep.expand import Config
from slackoff.sweep.identity import Fingerprints, cell_id
from slackoff.sweep.plan import Cell
from slackoff.sweep.slots import Slot

AUTO = "auto"
BFLOAT16, FLOAT32 = "bf16-mixed", "32-true"

Choose = Callable[[str], str]
"""From ``trainer.accelerator`` to the precision that new cells are to have."""


def settle_precision(contents: Sequence[Config], fingerprints: Fingerprints, choose: Choose) -> list[Config]:
    """Give cells whose precision is 'auto' the one in which most of them are begun already, else what is chosen now.

    A study goes on as it was begun when another machine takes it up: nothing is trained twice, and no curve mixes
    precisions because machines differ.

    Args:
        contents: resolved configs of a sweep.
        fingerprints: of their data.
        choose: asked only where no cell is begun in one precision more often than in another.

    Returns:
        The configs in the same order, none with 'auto'.
    """
    trainers: dict[tuple[int, str], Any] = {}

    def count_begun(precision: str, accelerator: str) -> int:
        own = (_with(content, precision, trainers) for content in contents if _is_open(content, accelerator))
        return sum(_begun(content, fingerprints) for content in own)

    settled: dict[str, str] = {}
    for accelerator in dict.fromkeys(content["trainer"]["accelerator"] for content in contents if _is_open(content)):
        in_bf16, in_float32 = count_begun(BFLOAT16, accelerator), count_begun(FLOAT32, accelerator)
        if in_bf16 == in_float32:
            settled[accelerator] = choose(accelerator)
        else:
            settled[accelerator] = BFLOAT16 if in_bf16 > in_float32 else FLOAT32
    return [
        _with(content, settled[content["trainer"]["accelerator"]], trainers) if _is_open(content) else content
        for content in contents
    ]


def _is_open(content: Config, accelerator: str | None = None) -> bool:
    """Whether a config leaves its precision open, and, if one is given, trains on that accelerator."""
    trainer = content["trainer"]
    return trainer["precision"] == AUTO and accelerator in (None, trainer["accelerator"])


def _begun(content: Config, fingerprints: Fingerprints) -> bool:
    identity = cell_id(content, fingerprints.of(content))
    return (Path(content["runs"]) / "cells" / identity / "status.json").is_file()


def _with(content: Config, precision: str, trainers: dict[tuple[int, str], Any]) -> Config:
    """The config in a precision; configs that shared their ``trainer`` go on sharing it, so that it is hashed once."""
    trainer = content["trainer"]
    shared = trainers.setdefault((id(trainer), precision), {**trainer, "precision": precision})
    return {**content, "trainer": shared}


def auto_here(accelerator: str) -> str:
    """What 'auto' is for cells that train on this machine; imports torch."""
    from slackoff.hardware import auto_precision

    return auto_precision(accelerator)


def check_hardware(cells: Sequence[Cell], slots: Sequence[Slot], aside: Aside) -> list[str]:
    """What a person should know before these cells train in these slots of this machine, a sentence each.

    Raises:
        SlackoffError: they cannot, for want of a GPU or of float16 on a CPU.
    """
    trainers = [cell.content["trainer"] for cell in cells]
    kinds = dict.fromkeys((str(trainer["precision"]), str(trainer["accelerator"])) for trainer in trainers)
    gpus = slots[0].environment.get("CUDA_VISIBLE_DEVICES")
    return list(dict.fromkeys(sentence for kind in kinds for sentence in aside(_warnings_here, *kind, gpus)))


def _warnings_here(precision: str, accelerator: str, visible_gpus: str | None) -> list[str]:
    from slackoff.hardware import hardware_warnings

    return hardware_warnings(precision, accelerator, visible_gpus)
