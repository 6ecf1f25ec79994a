"""Whether tensors fit a network, and what does not."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from slackoff.errors import SlackoffError

_NAMED = 3


def fitted(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The tensors in the order and types of the network's own, ready for ``load_state_dict``; nothing is changed.

    Args:
        network: what they are for; one on the meta device will do.
        tensors: by our names.
        source: where they come from, for the message.

    Raises:
        SlackoffError: tensors are missing, are too many, or have other shapes; all kinds in one sentence.
    """
    wanted = network.state_dict()
    misfits = {
        "missing": [name for name in wanted if name not in tensors],
        "unexpected": [name for name in tensors if name not in wanted],
        "of another shape": [
            f"{name} ({_sides(tensors[name])}, not {_sides(tensor)})"
            for name, tensor in wanted.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ],
    }
    if any(misfits.values()):
        found = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in misfits.items() if names)
        raise SlackoffError(
            f"{source} does not fit this {type(network).__name__} ({found}): choose the network that it was trained "
            "as; python -m slackoff networks lists them"
        )
    return {name: tensors[name].to(tensor.dtype).contiguous() for name, tensor in wanted.items()}


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
