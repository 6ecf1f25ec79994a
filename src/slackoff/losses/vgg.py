"""Errors of features of VGG-16 and VGG-19 (Simonyan, Zisserman, ICLR 2015), whose weights come from a file.

VGG-16 features are the perceptual loss of Syn2Real (Yasarla, Sindagi, Patel, CVPR 2020), VGG-19 features the one that
MENET compares with (Fan, Chen, Li, arXiv 2003.09689).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.errors import SlackoffError, check_choices
from slackoff.losses.terms import Term
from slackoff.networks.weights import read_tensors


class Weights(NamedTuple):
    """Which weights: the network's name, torchvision's file without its suffix, how many convolutions are needed."""

    name: str
    file: str
    convolutions: int

    @property
    def files(self) -> tuple[str, str]:
        """Names that are looked for in a folder: torchvision's weights, and the same as safetensors."""
        return f"{self.file}.pth", f"{self.file}.safetensors"


VGG19 = Weights("VGG-19", "vgg19-dcbb9e9d", 8)
VGG16 = Weights("VGG-16", "vgg16-397923af", 7)

_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256)
_POOLED_BEFORE = (2, 4)
_LAYERS = (0, 2, 5, 7, 10, 12, 14, 16)
"""Numbers of the convolutions in torchvision's ``features``; timm's are the same."""

WEIGHT_NAMES = tuple(f"features.{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias"))


def activations(images: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """The features of each convolution in turn, after ReLU; the two networks begin with seven of the same shapes.

    Args:
        images: float, (N, 3, H, W), H and W at least 4, preprocessed as the weights expect.
        weights: kernel and bias of the convolutions in turn.

    Returns:
        The eighth, conv3_4: (N, 256, H // 4, W // 4), at least 0.
    """
    found = [images]
    for number, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        features = F.max_pool2d(found[-1], 2) if number in _POOLED_BEFORE else found[-1]
        found.append(F.relu(F.conv2d(features, kernel, bias, padding=1)))
    return found[1:]


def find_weights(root: str | None, key: str, weights: Weights) -> Path:
    """The weight file: ``root`` itself, or the first of the weights' ``files`` in the folder ``root``.

    Raises:
        SlackoffError: there is none; the sentence names the file, the place and the key.
    """
    folder = Path(root or "").expanduser()
    for path in (folder, *(folder / name for name in weights.files)):
        if root and path.is_file():
            return path
    raise SlackoffError(
        f"the weights of {weights.name} are not on disk and are never downloaded: put torchvision's "
        f"{' or '.join(weights.files)} into "
        f"{folder.absolute() if root else 'a folder'}, or name the file or its folder with {key}=PATH"
    )


def load_weights(path: Path, weights: Weights = VGG19) -> list[Tensor]:
    """Kernels and biases of the convolutions that are needed in turn, float32, on the CPU.

    Args:
        path: of a state dict with torchvision's or timm's names, see ``slackoff.networks.weights.read_tensors``.

    Raises:
        SlackoffError: the file cannot be read, or has not the tensors of this network.
    """
    found = read_tensors(path, WEIGHT_NAMES)
    kernels = [(out, into, 3, 3) for into, out in zip((3, *_WIDTHS), _WIDTHS, strict=False)]
    shapes = [shape for kernel in kernels for shape in (kernel, kernel[:1])]
    needed = list(zip(WEIGHT_NAMES, shapes, strict=True))[: 2 * weights.convolutions]
    for name, shape in needed:
        if name not in found or found[name].shape != shape:
            raise SlackoffError(
                f"{path} has no {name} of shape {shape}: it must be {weights.name} without batch normalisation, "
                f"named as in torchvision ({weights.files[0]})"
            )
    if weights.convolutions < len(_LAYERS) and WEIGHT_NAMES[-1] in found:
        raise SlackoffError(f"{path} holds the weights of {VGG19.name}: {weights.name} is needed ({weights.files[0]})")
    return [found[name].float().clone() for name, _ in needed]  # not views of a file that is mapped into memory


class FrozenVGG(Term):
    """A term on features of a frozen network, for images of at least 4 px a side.

    Its weights are neither parameters nor part of a state dict, but move with the module. Gradients flow to the output
    alone.

    Args:
        root: the weight file, or a folder with one of the network's ``files``.
        key: the config key that names ``root``, for messages.
        scale: see ``Term``.

    Raises:
        SlackoffError: the weights are not on disk (nothing is ever downloaded) or are another network's, or see
            ``Term``.
    """

    least_side = 4
    network: ClassVar[Weights]

    def __init__(self, root: str | None, key: str, scale: float) -> None:
        super().__init__(scale)
        for number, tensor in enumerate(load_weights(find_weights(root, key, self.network), self.network)):
            self.hold(f"tensor{number}", tensor)

    def hold(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor that moves with the module and is not saved, on the default device (meta in checks)."""
        self.register_buffer(name, tensor.to(torch.get_default_device()), persistent=False)

    @property
    def weights(self) -> list[Tensor]:
        """Kernels and biases of the convolutions in turn."""
        return [self.get_buffer(f"tensor{number}") for number in range(2 * self.network.convolutions)]

    def fingerprint(self) -> str:
        """SHA-256 of the weights in use, hexadecimal, whatever the file's format; part of a cell's identity."""
        digest = hashlib.sha256()
        for tensor in self.weights:
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


COMPARED = (1, 3, 6)
"""Numbers of the convolutions whose features are compared: relu1_2, relu2_2 and relu3_3."""


class VGG16Features(FrozenVGG):
    """Mean over relu1_2, relu2_2 and relu3_3 of the mean squared error of VGG-16's features.

    The network sees images in [0, 1] as they are, without the normalisation that it was trained with, as in the
    authors' code.

    Args:
        root, key: see ``FrozenVGG``.
    """

    network = VGG16

    def __init__(self, root: str | None, key: str = "roots.vgg16") -> None:
        super().__init__(root, key, scale=1.0)

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._compared(background)
        errors = [F.mse_loss(*pair) for pair in zip(self._compared(output), wanted, strict=True)]
        return torch.stack(errors).mean()

    def _compared(self, images: Tensor) -> list[Tensor]:
        found = activations(images, self.weights)
        return [found[number] for number in COMPARED]


PREPROCESSINGS: dict[str, tuple[list[float], list[float]]] = {
    "torchvision": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "caffe": ([level / 255 for level in (103.939, 116.779, 123.68)], [1 / 255] * 3),
}
"""What weights expect: (image in [0, 1] - mean) / deviation of each channel; those of 'caffe' are blue, green, red."""


class Perceptual(FrozenVGG):
    """Mean squared error of VGG-19's ``conv3_4`` features after ReLU.

    The first layer of weights that were converted from Caffe, which MENET used, takes BGR in 0..255 less its mean;
    torchvision's takes RGB less the mean over the standard deviation of ImageNet. Its features are thus about 58 times
    smaller. As a network of ReLUs passes on a factor of its input (but for its biases), the features are brought to the
    unit of images in [0, scale] again, so that a weight such as MENET's 1e-3 means about the same with either.

    Args:
        root, key, scale: see ``FrozenVGG``.
        preprocessing: what the weights expect: 'torchvision' (also timm's) or 'caffe'.
    """

    network = VGG19

    def __init__(
        self,
        root: str | None,
        preprocessing: Literal["torchvision", "caffe"] = "torchvision",
        scale: float = 255.0,
        key: str = "roots.vgg19",
    ) -> None:
        check_choices(Perceptual, preprocessing=preprocessing)
        super().__init__(root, key, scale)
        self.preprocessing = preprocessing
        mean, deviation = PREPROCESSINGS[preprocessing]
        self._unit = scale * sum(deviation) / 3  # units of images in [0, scale] to one of what the first layer takes
        self.hold("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.hold("deviation", torch.tensor(deviation).view(1, 3, 1, 1))

    def error(self, output: Tensor, background: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._conv3_4(background)
        return F.mse_loss(self._conv3_4(output), wanted) * self._unit**2

    def _conv3_4(self, images: Tensor) -> Tensor:
        ordered = images.flip(1) if self.preprocessing == "caffe" else images
        seen = (ordered / self.scale - self.get_buffer("mean")) / self.get_buffer("deviation")
        return activations(seen, self.weights)[-1]
