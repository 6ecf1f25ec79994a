"""Test sets (rain on held-out backgrounds, folders of pairs) and the measuring of a network on them."""

from slackoff.evaluation.evaluator import Evaluation, Evaluator
from slackoff.evaluation.test_sets import EvaluationImage, PairFolder, RainOnHeldOut, StreaksOnHeldOut

__all__ = [
    "Evaluation",
    "EvaluationImage",
    "Evaluator",
    "PairFolder",
    "RainOnHeldOut",
    "StreaksOnHeldOut",
]
