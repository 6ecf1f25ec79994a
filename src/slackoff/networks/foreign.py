"""ForeignNetwork: a network of another package, unmodified, behind the interface that slackoff's networks have."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.layers import check_sizes, mirror_to_multiple

_PROBE_PX = 64


class ForeignNetwork(nn.Module):
    """Pads, scales and crops, so that a network takes and gives RGB images in [0, 1] of any size.

    Input and output: float, (N, 3, H, W), in about [0, 1]. An image is continued by reflection to the right and below
    (back and forth where it is smaller than what is missing) and the result is cropped back.

    ::

        network:
          name: dncnn
          _target_: slackoff.networks.ForeignNetwork
          value_range: [-1, 1]
          network:
            _target_: deepinv.models.DnCNN     # SLACKOFF_PACKAGES=deepinv
            pretrained: null

    Args:
        network: takes (N, 3, h, w) in ``value_range`` and gives the same, or what ``output`` and ``to_image`` say.
        value_range: the values of black and white in the network, such as [0, 1], [-1, 1] or [0, 255].
        size_multiple: of what h and w must be multiples, in px.
        residual: the network gives what is added to the rainy image, not the background itself.
        output: which of several results is the image: the place in a list, or the name in a mapping or of an attribute.
            None: it gives one tensor.
        to_image: the network gives features (N, C, h / s, w / s): a 1x1 convolution with pixel shuffle is learned that
            makes the image of them.
        arguments: further arguments of each call by name, such as the noise level that a denoiser is told.

    Raises:
        SlackoffError: a value is out of its range; the network does not take an image, or gives none.
    """

    def __init__(
        self,
        network: nn.Module,
        value_range: tuple[float, float] = (0.0, 1.0),
        size_multiple: int = 1,
        residual: bool = False,
        output: str | int | None = None,
        to_image: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(size_multiple=size_multiple)
        self.black, self.white = map(float, value_range)
        if not self.white > self.black:
            raise SlackoffError(
                f"network.value_range={list(value_range)} must be the values of black and white, such as [-1, 1]"
            )
        self.network = network
        self.size_multiple = size_multiple
        self.residual = residual
        self.output = output
        self.arguments = dict(arguments or {})
        self.head = self._learned_head() if to_image else None

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        padded = mirror_to_multiple(rainy, self.size_multiple)
        found = self._result(padded)
        if self.head is not None:
            found = self.head(found)
        if found.shape[-3:] != padded.shape[-3:]:
            raise SlackoffError(
                f"network.network gives {_size(found)} for an image of {_size(padded)}: set network.size_multiple to "
                "what its sizes must be a multiple of, network.output where it gives several results, or "
                "network.to_image=true where it gives features"
            )
        scaled = found / (self.white - self.black) if self.residual else self._to_unit(found)
        restored = padded + scaled if self.residual else scaled
        return restored[..., :height, :width]

    def _result(self, images: Tensor) -> Tensor:
        """What the network gives for images in [0, 1] of a size that it takes, in its own values."""
        found: Any = self.network(images * (self.white - self.black) + self.black, **self.arguments)
        if self.output is not None:
            try:
                named = isinstance(self.output, str) and not isinstance(found, Mapping)
                found = getattr(found, str(self.output)) if named else found[self.output]
            except (KeyError, IndexError, AttributeError, TypeError):
                raise SlackoffError(
                    f"network.output={self.output} is not among what network.network gives: {_described(found)}"
                ) from None
        if not isinstance(found, Tensor):
            raise SlackoffError(
                f"network.network gives {_described(found)}, not one tensor: say with network.output which is the image"
            )
        return found

    def _to_unit(self, values: Tensor) -> Tensor:
        return (values - self.black) / (self.white - self.black)

    @torch.no_grad()
    def _learned_head(self) -> nn.Module:
        side = -(-_PROBE_PX // self.size_multiple) * self.size_multiple
        was_training = self.network.training
        try:
            self.network.eval()  # running averages stay as they are
            features = self._result(torch.zeros(1, 3, side, side))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise SlackoffError(f"network.network does not take an image of {side} px: {reason}") from error
        self.network.train(was_training)
        if features.ndim != 4 or side % features.shape[-1] or features.shape[-1] != features.shape[-2]:
            raise SlackoffError(
                f"network.to_image=true needs features (N, C, h, w) of a whole fraction of an image's size, and "
                f"network.network gives {_size(features)} for an image of {side} px: choose another network.output"
            )
        scale = side // features.shape[-1]
        return nn.Sequential(nn.Conv2d(features.shape[1], 3 * scale**2, 1), nn.PixelShuffle(scale))


def _size(values: Tensor) -> str:
    return "x".join(map(str, values.shape))


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a mapping of {', '.join(map(str, found))}"
    if isinstance(found, Sequence) and not isinstance(found, str):
        return f"a list of {len(found)}"
    return f"a {type(found).__name__}"
