"""The shared layer: the one whose weight the gradients of the terms are compared at."""

from torch import nn

from slackoff.errors import SlackoffError


def shared_weight(network: nn.Module, path: str | None = None) -> nn.Parameter:
    """The weight of a network's shared layer.

    Args:
        network: names its last convolution with the attribute ``shared_layer``.
        path: dotted, of a module in the network; None is the network's own choice.

    Raises:
        SlackoffError: neither says which layer, there is no such module, or it has no weight that is trained.
    """
    chosen = path or getattr(network, "shared_layer", None)
    kind = type(network).__name__
    if not chosen:
        raise SlackoffError(
            f"{kind} does not name its shared layer: say which one it is with task.shared_layer, such as conv_last"
        )
    try:
        layer = network.get_submodule(chosen)
    except AttributeError as error:
        known = ", ".join(list(dict(network.named_children()))[-4:])
        raise SlackoffError(
            f"task.shared_layer={chosen} is no module of {kind}, whose last modules are {known}: give a dotted path"
        ) from error
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, nn.Parameter) or not weight.requires_grad:
        raise SlackoffError(
            f"task.shared_layer={chosen} of {kind} has no weight that is trained: name a convolution, such as the last"
        )
    return weight
