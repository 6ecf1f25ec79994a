"""Table III of MENET (Fan, Chen, Li; arXiv 2003.09689): seconds per image of 224x224."""

import math
from dataclasses import dataclass

HARDWARE = {"cpu": "Pentium G645", "cuda": "GTX TITAN X"}
SIZE_PX = 224

_REDUCED = ("_small", "_tiny")
"""Endings of presets that are smaller than the paper's network."""


@dataclass(frozen=True)
class Published:
    """A row of the table; ``prefix`` begins the names of its presets. NaN where the table has no number."""

    name: str
    prefix: str
    cpu: float
    cuda: float

    def seconds(self, device: str) -> float:
        """Of 'cpu' or 'cuda'."""
        return {"cpu": self.cpu, "cuda": self.cuda}.get(device, math.nan)


TABLE = (
    Published("MENET", "menet", 0.6578, 0.0030),
    Published("DSC", "dsc", 70.43, math.nan),
    Published("DDN", "ddn", 1.8226, 0.0084),
    Published("JORDER-E", "jorder_e", 27.64, 0.0151),
    Published("RESCAN", "rescan", 4.2296, 0.0403),
)


def published(preset: str) -> Published | None:
    """The row of a preset's network; None where there is none, or the preset is a smaller network than the paper's."""
    if preset.endswith(_REDUCED):
        return None
    return next((row for row in TABLE if preset == row.prefix or preset.startswith(f"{row.prefix}_")), None)
