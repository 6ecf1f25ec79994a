"""A user study: which method people prefer, asked on a page of this machine and reported from a CSV of votes.

As in MOSS (Huang et al., CVPR 2021, supplement C). A vote says which method's result a rater found best on one image.
Images are the units of everything that is averaged here, as in the paper. A table of scores (image, method, score) may
take the place of votes for the rank-n scores. Read with `read_votes` or `read_scores`, then `summarise_votes` or
`summarise_scores`.
"""

from slackoff.user_study.report import Summary, summarise_scores, summarise_votes
from slackoff.user_study.votes import Scores, Votes, read_scores, read_votes, vote_counts

__all__ = [
    "Scores",
    "Summary",
    "Votes",
    "read_scores",
    "read_votes",
    "summarise_scores",
    "summarise_votes",
    "vote_counts",
]
