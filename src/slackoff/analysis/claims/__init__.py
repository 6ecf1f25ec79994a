"""What papers on deraining state, as functions from the record to a verdict.

`claim` holds what they share, `contrast` and `contrasts` those that one thing is better than another (rows of a table,
with the words for them), `curves` those on how a measure falls, `break_downs` those on where it breaks down,
`published` the numbers that papers print, and `check` which of all these a study is checked on.
"""

from slackoff.analysis.claims.check import FAMILIES, check
from slackoff.analysis.claims.claim import Claim, scope
from slackoff.analysis.claims.curves import REMOVAL_OR_DAMAGE

__all__ = ["FAMILIES", "REMOVAL_OR_DAMAGE", "Claim", "check", "scope"]
