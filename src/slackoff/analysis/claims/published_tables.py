"""Which published numbers stand beside the measured ones of a study."""

from dataclasses import dataclass

import pandas as pd

from slackoff.analysis.claims import moss_published, published
from slackoff.analysis.frames import Frames


@dataclass(frozen=True)
class Beside:
    """Published numbers beside measured ones: as numbers, as text (what the page shows), and where they are from."""

    table: pd.DataFrame
    text: pd.DataFrame
    source: str


def published_beside(frames: Frames) -> Beside | None:
    """The published numbers that go with the families of claims of a study; None where the paper has none."""
    if (table := published.published_table(frames)) is not None:
        source = "Table 2 of the paper's ICLR 2023 submission, test set R100 (Rain100L)"
        return Beside(table, published.readable_published(table), source)
    for family in frames.study.claims:
        if family in moss_published.TABLES and len(frames.cells):
            table = moss_published.variant_table(frames, family)
            source = f"{moss_published.TABLES[family].source} of the supplement of MOSS, test set of DDN-SIRR"
            return Beside(table, moss_published.readable_variants(table), source)
    return None
