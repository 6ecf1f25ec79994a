"""Training backgrounds: image sources, split by source image, nested patch selection, the patch bank.

NumPy and Pillow only: the sweep driver uses this room and must start fast.
"""

from slackoff.backgrounds.bank import Crop, build_bank, held_out_crops
from slackoff.backgrounds.bank_cache import cached_bank
from slackoff.backgrounds.builtin import BuiltinSource
from slackoff.backgrounds.images import MAX_PIXELS, image_size, read_rgb
from slackoff.backgrounds.listing import list_images
from slackoff.backgrounds.patches import Patch, capacity, capacity_without_overlap, select_patches
from slackoff.backgrounds.sources import FolderSource, ImageSource, Split, image_sizes
from slackoff.backgrounds.split import SPLIT_SEED, split_images

__all__ = [
    "MAX_PIXELS",
    "SPLIT_SEED",
    "BuiltinSource",
    "Crop",
    "FolderSource",
    "ImageSource",
    "Patch",
    "Split",
    "build_bank",
    "cached_bank",
    "capacity",
    "capacity_without_overlap",
    "held_out_crops",
    "image_size",
    "image_sizes",
    "list_images",
    "read_rgb",
    "select_patches",
    "split_images",
]
