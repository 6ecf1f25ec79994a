"""Errors of VGG-19 features: the perceptual loss that MENET compares with (Fan, Chen, Li, arXiv 2003.09689)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.losses.term import Term
from slackoff.losses.vgg19 import WEIGHT_NAMES, conv3_4, find_weights, load_weights, weights_digest

PREPROCESSINGS: dict[str, tuple[list[float], list[float]]] = {
    "torchvision": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "caffe": ([level / 255 for level in (103.939, 116.779, 123.68)], [1 / 255] * 3),
}
"""What weights expect: (image in [0, 1] - mean) / deviation of each channel; those of 'caffe' are blue, green, red."""


class Perceptual(Term):
    """Mean squared error of VGG-19's ``conv3_4`` features after ReLU.

    The network is frozen: its weights are neither parameters nor part of a state dict, but move with the module.
    Gradients flow to the output alone.

    The first layer of weights that were converted from Caffe, which MENET used, takes BGR in 0..255 less its mean;
    torchvision's takes RGB less the mean over the standard deviation of ImageNet. Its features are thus about 58 times
    smaller. As a network of ReLUs passes on a factor of its input (but for its biases), the features are brought to the
    unit of images in [0, scale] again, so that a weight such as MENET's 1e-3 means about the same with either.

    Args:
        root: the weight file, or a folder with ``vgg19-dcbb9e9d.pth`` or ``vgg19-dcbb9e9d.safetensors``.
        preprocessing: what the weights expect: 'torchvision' (also timm's) or 'caffe'.
        scale: see ``Term``.
        key: the config key that names ``root``, for messages.

    Raises:
        SlackoffError: the weights are not on disk (nothing is ever downloaded) or are no VGG-19's, the preprocessing is
            not known, or see ``Term``.
    """

    least_side = 4

    def __init__(
        self, root: str | None, preprocessing: str = "torchvision", scale: float = 255.0, key: str = "roots.vgg19"
    ) -> None:
        super().__init__(scale)
        if preprocessing not in PREPROCESSINGS:
            raise SlackoffError(
                f"Perceptual: preprocessing={preprocessing} is not known: choose {' or '.join(PREPROCESSINGS)}"
            )
        self.preprocessing = preprocessing
        mean, deviation = PREPROCESSINGS[preprocessing]
        self._unit = scale * sum(deviation) / 3  # units of images in [0, scale] to one of what the first layer takes
        self._register("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self._register("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        for name, tensor in zip(WEIGHT_NAMES, load_weights(find_weights(root, key)), strict=True):
            self._register(_buffer_name(name), tensor)

    @property
    def weights(self) -> list[Tensor]:
        """Kernels and biases up to conv3_4 in turn."""
        return [self.get_buffer(_buffer_name(name)) for name in WEIGHT_NAMES]

    def fingerprint(self) -> str:
        """Hexadecimal digest of the weights in use, whatever the file's format; part of a cell's identity."""
        return weights_digest(self.weights)

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        weights = self.weights
        with torch.no_grad():
            wanted = conv3_4(self._preprocess(background), weights)
        return F.mse_loss(conv3_4(self._preprocess(output), weights), wanted) * self._unit**2

    def _preprocess(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.preprocessing == "caffe" else images
        return (ordered / self.scale - self.get_buffer("mean")) / self.get_buffer("deviation")

    def _register(self, name: str, tensor: Tensor) -> None:
        """Hold a tensor that moves with the module and is not saved, on the default device (meta in checks)."""
        self.register_buffer(name, tensor.to(torch.get_default_device()), persistent=False)


def _buffer_name(name: str) -> str:
    return name.replace(".", "_")
