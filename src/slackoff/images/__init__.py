"""Images on disk: sources and their split, patch banks, folders of (rainy, clean) pairs.

NumPy and Pillow only: the sweep driver uses this room and must start fast.
"""

from slackoff.images.bank import (
    Crop,
    Patch,
    build_bank,
    cached_bank,
    capacity,
    capacity_without_overlap,
    held_out_crops,
    select_patches,
)
from slackoff.images.files import MAX_PIXELS, image_size, list_images, read_rgb
from slackoff.images.labelled import LabelledPairs, limited
from slackoff.images.layouts import LAYOUTS, Scenes, chosen_by_place, find_pairs
from slackoff.images.pairs import (
    TRAINING_CROPS,
    CropPlace,
    Pair,
    TrainingCrops,
    check_crops,
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
    SPLIT_SEED,
    BuiltinSource,
    FolderSource,
    ImageSource,
    Split,
    image_sizes,
    split_images,
)

__all__ = [
    "LAYOUTS",
    "MAX_PIXELS",
    "SPLIT_SEED",
    "TRAINING_CROPS",
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
    "capacity",
    "capacity_without_overlap",
    "check_crops",
    "chosen_by_place",
    "crops_per_image",
    "file_digests",
    "find_pairs",
    "fingerprint",
    "five_crops",
    "held_out_crops",
    "image_size",
    "image_sizes",
    "limited",
    "list_images",
    "pair_sizes",
    "read_clean",
    "read_pair",
    "read_rainy",
    "read_rgb",
    "select_patches",
    "split_images",
]
