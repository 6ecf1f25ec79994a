"""Sparse coding of patches, and discriminative sparse coding (DSC) of rainy images with it.

Plain torch; knows nothing of Lightning, Hydra or W&B. Each step is a file: patches, pursuit (the codes), dictionary
(K-SVD), atoms (which are rain), screen_blend (the pixels), separation (all of it in turn).
"""

from slackoff.sparse_coding.dictionary import learn_dictionary, sweep_atoms
from slackoff.sparse_coding.pursuit import Codes, pursue
from slackoff.sparse_coding.separation import Layers, Settings, separate

__all__ = ["Codes", "Layers", "Settings", "learn_dictionary", "pursue", "separate", "sweep_atoms"]
