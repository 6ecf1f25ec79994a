"""Restoration networks, one file each: rainy image in [0, 1] in, background in about [0, 1] out, any size.

Plain torch; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.networks.menet import MENET
from slackoff.networks.moss import MOSS
from slackoff.networks.rcdnet import RCDNet
from slackoff.networks.resnet import ResNet
from slackoff.networks.spdnet import SPDNet
from slackoff.networks.swinir import SwinIR
from slackoff.networks.unet import UNet

__all__ = ["MENET", "MOSS", "RCDNet", "ResNet", "SPDNet", "SwinIR", "UNet"]
