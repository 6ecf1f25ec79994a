"""Errors of VGG-16 features: the perceptual loss of Syn2Real (Yasarla, Sindagi, Patel, CVPR 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.losses.term import Term
from slackoff.losses.vgg19 import Weights, activations, find_weights, load_weights, weights_digest

VGG16 = Weights("VGG-16", "vgg16-397923af", 7)
COMPARED = (1, 3, 6)
"""Numbers of the convolutions whose features are compared: relu1_2, relu2_2 and relu3_3."""


class VGG16Features(Term):
    """Mean over relu1_2, relu2_2 and relu3_3 of the mean squared error of VGG-16's features.

    The network sees images in [0, 1] as they are, without the normalisation that it was trained with, as in the
    authors' code. It is frozen: its weights are neither parameters nor part of a state dict, but move with the module.
    Gradients flow to the output alone.

    Args:
        root: the weight file, or a folder with ``vgg16-397923af.pth`` or ``vgg16-397923af.safetensors``.
        key: the config key that names ``root``, for messages.

    Raises:
        SlackoffError: the weights are not on disk (nothing is ever downloaded) or are no VGG-16's.
    """

    least_side = 4

    def __init__(self, root: str | None, key: str = "roots.vgg16") -> None:
        super().__init__(scale=1.0)
        for number, tensor in enumerate(load_weights(find_weights(root, key, VGG16), VGG16)):
            # On the default device, which is meta in checks.
            self.register_buffer(f"tensor{number}", tensor.to(torch.get_default_device()), persistent=False)

    @property
    def weights(self) -> list[Tensor]:
        """Kernels and biases up to conv3_3 in turn."""
        return [self.get_buffer(f"tensor{number}") for number in range(2 * VGG16.convolutions)]

    def fingerprint(self) -> str:
        """Hexadecimal digest of the weights in use, whatever the file's format; part of a cell's identity."""
        return weights_digest(self.weights)

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._compared(background)
        errors = [F.mse_loss(*pair) for pair in zip(self._compared(output), wanted, strict=True)]
        return torch.stack(errors).mean()

    def _compared(self, images: Tensor) -> list[Tensor]:
        return [found for number, found in enumerate(activations(images, self.weights)) if number in COMPARED]
