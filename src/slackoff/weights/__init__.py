"""Weights that others have published: reading files without running what is in them, and other people's names.

Plain torch; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.weights.fit import fitted
from slackoff.weights.names import named_as_ours
from slackoff.weights.reading import read_tensors
from slackoff.weights.start import start_from

__all__ = ["fitted", "named_as_ours", "read_tensors", "start_from"]
