"""Training losses, in two kinds: whole losses and terms.

A whole loss is called as ``loss(network, rainy, background)``, so that it can ask a network for its stages. A term is
one task of multi-task training, called as ``term(output, background)``; the weights among terms are no business of
theirs. Each gives a scalar.

Plain torch; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.losses.drd_net import DRDNetLoss
from slackoff.losses.edge import EdgeAware
from slackoff.losses.jorder_e import JORDERELoss
from slackoff.losses.l1 import L1
from slackoff.losses.mse import MSE
from slackoff.losses.negative_ssim import NegativeSSIM
from slackoff.losses.perceptual import Perceptual
from slackoff.losses.pixel import PixelL1, PixelMSE
from slackoff.losses.rcdnet import RCDNetLoss
from slackoff.losses.rescan import RESCANLoss
from slackoff.losses.spdnet import SPDNetLoss
from slackoff.losses.term import Term
from slackoff.losses.texture import Texture
from slackoff.losses.total_variation import TotalVariationTerm
from slackoff.losses.vgg16 import VGG16Features

__all__ = [
    "L1",
    "MSE",
    "DRDNetLoss",
    "EdgeAware",
    "JORDERELoss",
    "NegativeSSIM",
    "Perceptual",
    "PixelL1",
    "PixelMSE",
    "RCDNetLoss",
    "RESCANLoss",
    "SPDNetLoss",
    "Term",
    "Texture",
    "TotalVariationTerm",
    "VGG16Features",
]
