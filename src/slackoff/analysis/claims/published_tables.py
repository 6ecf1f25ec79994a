"""Which published numbers stand beside the measured ones of a study."""

from dataclasses import dataclass

import pandas as pd

from slackoff.analysis.claims import menet_published, moss_published, published, weights_published
from slackoff.analysis.claims.variant_tables import readable_variants, variant_table
from slackoff.analysis.frames import Frames

VARIANT_TABLES = moss_published.TABLES | menet_published.TABLES
"""By the family of claims that goes with them."""

_DIFFERENCE = "Measured, with the 95 % interval below it; the difference is measured less published."


@dataclass(frozen=True)
class Beside:
    """Published numbers beside measured ones: as numbers, as text (what the page shows), where they are from, and how
    an entry of the text is read."""

    table: pd.DataFrame
    text: pd.DataFrame
    source: str
    reading: str = "In each entry the published number, then the measured one with its 95 % interval below."


def published_beside(frames: Frames) -> Beside | None:
    """The published numbers that go with the families of claims of a study; None where the paper has none."""
    if (table := published.published_table(frames)) is not None:
        source = "Table 2 of the paper's ICLR 2023 submission, test set R100 (Rain100L)"
        return Beside(table, published.readable_published(table), source)
    if weights_published.FAMILY in frames.study.claims and len(frames.images):
        table = weights_published.weights_table(frames)
        return Beside(table, weights_published.readable_weights(table), weights_published.SOURCE, _DIFFERENCE)
    for family in frames.study.claims:
        if family in VARIANT_TABLES and len(frames.cells):
            of_paper = VARIANT_TABLES[family]
            table = variant_table(frames, of_paper)
            return Beside(table, readable_variants(table, of_paper.reference), of_paper.source)
    return None
