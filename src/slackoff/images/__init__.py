"""Images on disk: sources and their split, patch banks, folders of (rainy, clean) pairs.

NumPy and Pillow only: the sweep driver uses this room and must start fast.
"""

from slackoff.images.bank import (
    Crop,
    Patch,
    build_bank,
    cached_bank,
    held_out_crops,
)
from slackoff.images.files import read_rgb
from slackoff.images.labelled import LabelledPairs, limited
from slackoff.images.layouts import Scenes, chosen_by_place, find_pairs
from slackoff.images.pairs import (
    CropPlace,
    Pair,
    TrainingCrops,
    crops_per_image,
    file_digests,
    fingerprint,
    five_crops,
    pair_sizes,
    read_clean,
    read_pair,
    read_rainy,
)
from slackoff.images.sources import (
    BuiltinSource,
    FolderSource,
    ImageSource,
    Split,
    image_sizes,
    split_images,
)

__all__ = [
    "BuiltinSource",
    "Crop",
    "CropPlace",
    "FolderSource",
    "ImageSource",
    "LabelledPairs",
    "Pair",
    "Patch",
    "Scenes",
    "Split",
    "TrainingCrops",
    "build_bank",
    "cached_bank",
    "chosen_by_place",
    "crops_per_image",
    "file_digests",
    "find_pairs",
    "fingerprint",
    "five_crops",
    "held_out_crops",
    "image_sizes",
    "limited",
    "pair_sizes",
    "read_clean",
    "read_pair",
    "read_rainy",
    "read_rgb",
    "split_images",
]
