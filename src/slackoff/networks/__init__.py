"""Restoration networks, one file each: rainy image in [0, 1] in, background in about [0, 1] out, any size.

Plain torch; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.networks.resnet import ResNet
from slackoff.networks.unet import UNet

__all__ = ["ResNet", "UNet"]
