"""A network, a data set and a measure of one's own, for slackoff."""
