"""Weightings: how several loss terms become one loss. Plain torch; knows nothing of Lightning, Hydra or W&B."""

from slackoff.weighting.balance import GradientBalancing, LossBalancing
from slackoff.weighting.dwa import DynamicWeightAverage
from slackoff.weighting.fixed import Fixed
from slackoff.weighting.gradnorm import GradNorm
from slackoff.weighting.pcgrad import PCGrad
from slackoff.weighting.shared_layer import shared_weight
from slackoff.weighting.term_losses import TermLosses
from slackoff.weighting.uncertainty import Uncertainty
from slackoff.weighting.weighting import Weighted, Weighting

__all__ = [
    "DynamicWeightAverage",
    "Fixed",
    "GradNorm",
    "GradientBalancing",
    "LossBalancing",
    "PCGrad",
    "TermLosses",
    "Uncertainty",
    "Weighted",
    "Weighting",
    "shared_weight",
]
