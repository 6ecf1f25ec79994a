"""Folders of (rainy, clean) pairs in their usual layouts, and which share of them counts as labelled.

NumPy and Pillow only, like the backgrounds.
"""

from slackoff.pairs.files import Pair, file_digests, fingerprint, pair_sizes, read_clean, read_pair, read_rainy
from slackoff.pairs.labelled import LabelledPairs
from slackoff.pairs.layouts import LAYOUTS, chosen_by_place, find_pairs
from slackoff.pairs.share import limited

__all__ = [
    "LAYOUTS",
    "LabelledPairs",
    "Pair",
    "chosen_by_place",
    "file_digests",
    "find_pairs",
    "fingerprint",
    "limited",
    "pair_sizes",
    "read_clean",
    "read_pair",
    "read_rainy",
]
