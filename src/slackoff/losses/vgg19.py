"""The first convolutions of VGG-19, and of VGG-16 (Simonyan and Zisserman, ICLR 2015), with weights from a file."""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from slackoff.errors import SlackoffError


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

_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256)
_POOLED_BEFORE = (2, 4)
_LAYERS = (0, 2, 5, 7, 10, 12, 14, 16)
"""Numbers of the convolutions in torchvision's ``features``; timm's are the same."""

WEIGHT_NAMES = tuple(f"features.{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias"))


def conv3_4(images: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Features of the fourth convolution before the third pooling, after ReLU.

    Args:
        images: float, (N, 3, H, W), H and W at least 4, preprocessed as the weights expect.
        weights: kernel and bias of the convolutions in turn.

    Returns:
        (N, 256, H // 4, W // 4), at least 0.
    """
    for features in activations(images, weights):
        last = features
    return last


def activations(images: Tensor, weights: Sequence[Tensor]) -> Iterator[Tensor]:
    """The features of each convolution in turn, after ReLU; VGG-16 begins with seven of the same shapes."""
    features = images
    for number, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        if number in _POOLED_BEFORE:
            features = F.max_pool2d(features, 2)
        features = F.relu(F.conv2d(features, kernel, bias, padding=1))
        yield features


def find_weights(root: str | None, key: str, weights: Weights = VGG19) -> Path:
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


def weights_digest(tensors: Sequence[Tensor]) -> str:
    """SHA-256 of the values in turn, hexadecimal: the same whatever file they came from."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_weights(path: Path, weights: Weights = VGG19) -> list[Tensor]:
    """Kernels and biases of the convolutions that are needed in turn, float32, on the CPU. No code in the file is run.

    Args:
        path: of a state dict with torchvision's or timm's names, as safetensors or by ``torch.save``.

    Raises:
        SlackoffError: the file cannot be read, or has not the tensors of this network.
    """
    try:
        found = _read(path)
    except Exception as error:  # whatever a foreign file holds, it is refused with one sentence
        raise SlackoffError(
            f"{path} is not a readable weight file ({type(error).__name__}): put a whole {weights.files[0]} there"
        ) from error
    kernels = [(out, into, 3, 3) for into, out in zip((3, *_WIDTHS), _WIDTHS, strict=False)]
    shapes = [shape for kernel in kernels for shape in (kernel, kernel[:1])]
    needed = list(zip(WEIGHT_NAMES, shapes, strict=True))[: 2 * weights.convolutions]
    for name, shape in needed:
        if not isinstance(found.get(name), Tensor) or found[name].shape != shape:
            raise SlackoffError(
                f"{path} has no {name} of shape {shape}: it must be {weights.name} without batch normalisation, "
                f"named as in torchvision ({weights.files[0]})"
            )
    if weights.convolutions < len(_LAYERS) and WEIGHT_NAMES[-1] in found:
        raise SlackoffError(f"{path} holds the weights of {VGG19.name}: {weights.name} is needed ({weights.files[0]})")
    return [found[name].float().clone() for name, _ in needed]  # not views of a file that is mapped into memory


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in WEIGHT_NAMES if name in file.keys()}  # noqa: SIM118
    # torchvision's file is of the old format, which cannot be mapped and is read whole, classifier and all.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(content, dict):
        raise TypeError
    return content
