"""The statements of Gu et al., "Networks are Slacking Off" (NeurIPS 2023), as functions from the record to a verdict.

One file per family of statements; `check` runs those that a study names. Margins and thresholds that the paper does
not give are ours, and every statement that rests on one says so.
"""

from slackoff.analysis.claim import Claim
from slackoff.analysis.claims.artefact import ANSWER
from slackoff.analysis.claims.check import FAMILIES, check
from slackoff.analysis.claims.scope import scope

__all__ = ["ANSWER", "FAMILIES", "Claim", "check", "scope"]
