"""Training losses: called as ``loss(network, rainy, background)``, so that a loss can ask a network for its stages.

Plain torch; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.losses.l1 import L1
from slackoff.losses.rcdnet import RCDNetLoss
from slackoff.losses.spdnet import SPDNetLoss

__all__ = ["L1", "RCDNetLoss", "SPDNetLoss"]
