"""A user study: which method people prefer, asked on a page of this machine and reported from a CSV of votes.

As in MOSS (Huang et al., CVPR 2021, supplement C). A vote says which method's result a rater found best on one image.
Images are the units of everything that is averaged here, as in the paper. A table of scores (image, method, score) may
take the place of votes for the rank-n scores. `slackoff.user_study.report.summarise` reads either.
"""
