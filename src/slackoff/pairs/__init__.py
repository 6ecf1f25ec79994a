"""Folders of (rainy, clean) pairs in their usual layouts, and which share of them counts as labelled.

NumPy and Pillow only, like the backgrounds.
"""

from slackoff.pairs.crops import (
    TRAINING_CROPS,
    Crop,
    TrainingCrops,
    check_crops,
    crops_per_image,
    five_crops,
)
from slackoff.pairs.files import Pair, file_digests, fingerprint, pair_sizes, read_clean, read_pair, read_rainy
from slackoff.pairs.labelled import LabelledPairs
from slackoff.pairs.layouts import LAYOUTS, chosen_by_place, find_pairs
from slackoff.pairs.scenes import Scenes
from slackoff.pairs.share import limited

__all__ = [
    "LAYOUTS",
    "TRAINING_CROPS",
    "Crop",
    "LabelledPairs",
    "Pair",
    "Scenes",
    "TrainingCrops",
    "check_crops",
    "chosen_by_place",
    "crops_per_image",
    "file_digests",
    "find_pairs",
    "fingerprint",
    "five_crops",
    "limited",
    "pair_sizes",
    "read_clean",
    "read_pair",
    "read_rainy",
]
