"""The page of a user study: shows people anonymous results of several methods and keeps their votes.

As in MOSS (Huang et al., CVPR 2021, supplement C): each rater sees some of the images, drawn at random; for each the
original as reference and one result of each method, without names and in an order shuffled for rater and image, of
which the best is picked. `slackoff.analysis.user_study` reads the votes.
"""
