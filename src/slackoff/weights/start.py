"""A network that starts from the weights of a file."""

from pathlib import Path

from torch import nn

from slackoff.errors import SlackoffError
from slackoff.weights.fit import fitted
from slackoff.weights.names import named_as_ours
from slackoff.weights.reading import read_tensors


def start_from(network: nn.Module, path: Path) -> None:
    """Give a network all the weights of a file, which has our names or those of the network's authors.

    Raises:
        SlackoffError: the file cannot be read, holds more than tensors, or does not fit the network.
    """
    try:
        tensors = named_as_ours(type(network).__name__, read_tensors(path), network.state_dict())
        network.load_state_dict(fitted(network, tensors, str(path)))
    except SlackoffError as error:
        raise SlackoffError(f"start_from: {error}") from error
