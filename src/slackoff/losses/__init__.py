"""Training losses of two kinds, and weightings, which make one loss of several terms.

A whole loss is called as ``loss(network, rainy, background)``, so that it can ask a network for its stages. A term is
one task of multi-task training, called as ``term(output, background)``; the weights among terms are no business of
theirs. Each gives a scalar.

Plain torch; knows nothing of Lightning, Hydra or W&B.

    loss = NegativeSSIM()(network, rainy, background)
    term = EdgeAware()(network(rainy), background)
"""

from slackoff.losses.losses import L1, MSE, DRDNetLoss, JORDERELoss, NegativeSSIM, RCDNetLoss, RESCANLoss, SPDNetLoss
from slackoff.losses.term_losses import TermLosses, shared_weight
from slackoff.losses.terms import EdgeAware, PixelL1, PixelMSE, Term, Texture, TotalVariationTerm
from slackoff.losses.vgg import Perceptual, VGG16Features
from slackoff.losses.weightings import (
    DynamicWeightAverage,
    Fixed,
    GradientBalancing,
    GradNorm,
    LossBalancing,
    PCGrad,
    Uncertainty,
    Weighted,
    Weighting,
)

__all__ = [
    "L1",
    "MSE",
    "DRDNetLoss",
    "DynamicWeightAverage",
    "EdgeAware",
    "Fixed",
    "GradNorm",
    "GradientBalancing",
    "JORDERELoss",
    "LossBalancing",
    "NegativeSSIM",
    "PCGrad",
    "Perceptual",
    "PixelL1",
    "PixelMSE",
    "RCDNetLoss",
    "RESCANLoss",
    "SPDNetLoss",
    "Term",
    "TermLosses",
    "Texture",
    "TotalVariationTerm",
    "Uncertainty",
    "VGG16Features",
    "Weighted",
    "Weighting",
    "shared_weight",
]
