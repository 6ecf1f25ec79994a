"""From the names in the authors' files to ours: one function a family, found by the network's class."""

from collections.abc import Callable, Collection, Mapping

from torch import Tensor

from slackoff.weights import ddn, jorder_e, prenet, syn2real

Tensors = Mapping[str, Tensor]

AUTHORS: dict[str, Callable[[Tensors], dict[str, Tensor]]] = {
    "DDN": ddn.renamed,
    "JORDERE": jorder_e.renamed,
    "PReNet": prenet.renamed,
    "Syn2Real": syn2real.renamed,
}
"""By class of network. Each takes the tensors under the authors' names and gives them under ours, in our layout; a name
that it does not know stays as it is."""


def named_as_ours(network: str, tensors: Tensors, ours: Collection[str]) -> dict[str, Tensor]:
    """The tensors under our names, as far as they are known.

    Args:
        network: its class.
        tensors: as they came from a file, under the authors' names or ours.
        ours: the names of the network's own tensors.
    """
    if network not in AUTHORS or set(tensors) == set(ours):
        return dict(tensors)
    return AUTHORS[network](tensors)
