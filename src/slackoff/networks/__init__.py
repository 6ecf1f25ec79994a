"""Restoration networks, one file each: rainy image in [0, 1] in, background in about [0, 1] out, any size.

Plain torch; knows nothing of Lightning, Hydra or W&B. ``weights`` reads files, its authors' or ours:

    network = PReNet()
    start_from(network, Path("net_latest.pth"))
    output = network.eval()(rainy)                   # (N, 3, H, W), in [0, 1]
"""

from slackoff.networks.ddn import DDN
from slackoff.networks.drd_net import DRDNet
from slackoff.networks.dsc import DSC
from slackoff.networks.foreign import ForeignNetwork
from slackoff.networks.interfaces import LatentNetwork
from slackoff.networks.jorder_e import JORDERE
from slackoff.networks.menet import MENET
from slackoff.networks.moss import MOSS
from slackoff.networks.prenet import PReNet
from slackoff.networks.rcdnet import RCDNet
from slackoff.networks.rescan import RESCAN
from slackoff.networks.resnet import ResNet
from slackoff.networks.spdnet import SPDNet
from slackoff.networks.swinir import SwinIR
from slackoff.networks.syn2real import Syn2Real
from slackoff.networks.unet import UNet

__all__ = [
    "DDN",
    "DSC",
    "JORDERE",
    "MENET",
    "MOSS",
    "RESCAN",
    "DRDNet",
    "ForeignNetwork",
    "LatentNetwork",
    "PReNet",
    "RCDNet",
    "ResNet",
    "SPDNet",
    "SwinIR",
    "Syn2Real",
    "UNet",
]
