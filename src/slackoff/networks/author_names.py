"""Published weights under their authors' names: for each class of network, how its tensors are called here.

A new family is a function from the authors' tensors to ours, mostly ``by_name`` of one from name to name, and its line
in ``AUTHORS``.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

Renaming = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


def by_name(rename: Callable[[str], str | None]) -> Renaming:
    """Tensors as they are, under the names that a function gives: of a name that is not the authors' the same, None for
    one that is left out.
    """
    return lambda tensors: {own: tensor for name, tensor in tensors.items() if (own := rename(name)) is not None}


_SIRR_NAME = re.compile(r"conv_(\d+)(_1)?__(weights|biases|scale|beta)_\d+")
"""A variable of SIRR's TensorFlow graph, slashes written as two underscores; ``_1``: of the pass over real photos."""

_SIRR_LAYERS = {1: "first", 26: "last"}
_SIRR_KINDS = {"weights": "0.weight", "biases": "0.bias", "scale": "1.weight", "beta": "1.bias"}


def _ddn_name(name: str) -> str | None:
    """Of SIRR, or of the PyTorch reproduction (H. Yan, Deep_Detailed_Network-PyTorch), which is ``DDN(skip="long")``.

    Of SIRR's two sets of biases and norms the one for labelled images is taken, with which its authors test. In the
    reproduction a chain b1, b2, b3 holds the first, the inner and the last layers; in b2 each layer is a convolution, a
    norm and a ReLU, counted one by one.
    """
    if found := _SIRR_NAME.fullmatch(name):
        layer = _SIRR_LAYERS.get(int(found[1]), f"layers.{int(found[1]) - 2}")
        return None if found[2] else f"{layer}.{_SIRR_KINDS[found[3]]}"
    if found := re.fullmatch(r"(?:module\.)?(?:b([13])\.([01])|b2\.(\d+))\.(\w+)", name):
        if found[1]:
            return f"{'first' if found[1] == '1' else 'last'}.{found[2]}.{found[4]}"
        number, within = divmod(int(found[3]), 3)
        return f"layers.{number}.{within}.{found[4]}" if within < 2 else name
    return name


_JORDER_E = re.compile(r"jorder([12])\.(.+)\.(weight|bias)")
_JORDER_E_PATHS = ("near", "wide", "wider")


def _jorder_e_name(name: str) -> str:
    found = _JORDER_E.fullmatch(name)
    own = _jorder_e_module(found[2]) if found else None
    return f"stage{found[1]}.{own}.{found[3]}" if found and own else name


def _jorder_e_module(module: str) -> str | None:
    if module in ("encoder", "decoder.0", "decoder.1"):
        return module
    if found := re.fullmatch(r"(mask|level)_estimator([12])", module):
        return f"{found[1]}.{int(found[2]) - 1}"
    if found := re.fullmatch(r"(mask|level)_F_([wb])_encoder([12])", module):
        return f"{found[1]}_{'scale' if found[2] == 'w' else 'shift'}.{2 * int(found[3]) - 2}"
    if found := re.fullmatch(r"updater\.res([1-9]\d*)\.conv([1-6])", module):  # numbered from 1, two to a path
        path, place = divmod(int(found[2]) - 1, 2)
        return f"blocks.{int(found[1]) - 1}.{_JORDER_E_PATHS[path]}.{2 * place}"
    return None


_PRENET_PARTS = {
    "conv0.0": "head.0",
    "conv_i.0": "unit.input_gate",
    "conv_f.0": "unit.forget_gate",
    "conv_g.0": "unit.candidate",
    "conv_o.0": "unit.output_gate",
    "conv_z.0": "unit.update_gate",
    "conv_b.0": "unit.reset_gate",
    "conv.0": "output",
}
_PRENET_BLOCK = re.compile(r"res_conv([1-9]\d*)\.([02])")


def _prenet_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    if block := _PRENET_BLOCK.fullmatch(layer):
        return f"blocks.{int(block[1]) - 1}.0.{block[2]}.{kind}"
    return f"{_PRENET_PARTS[layer]}.{kind}" if layer in _PRENET_PARTS else name


def _swinir_name(name: str) -> str | None:
    """Ours are the official ones; masks and position indices are left out, as they depend on nothing but sizes."""
    return None if name.endswith(("attn_mask", "relative_position_index")) else name


_PLAIN = {
    "conv_input": "head",
    "zout": "to_latent",
    "conv_refin": "rain",
    "refine3": "image",
    "refineclean1": "clean.0",
    "refineclean2": "clean.2",
}
_BLOCK_PARTS = {"bn1": "norm", "conv1": "widen", "bns": "split_norms", "convs": "filters"}
_BLOCK_PARTS |= {"bn3": "joined_norm", "conv3": "narrow"}
_TRANSITION_PARTS = {"bn1": "norm", "conv1": "change"}
_BLOCK = re.compile(r"dense_block([1-9])\.(bn1|bn3|conv1|conv3|bns(?=\.[0-4]\.)|convs(?=\.[0-4]\.))((?:\.\d)?\.\w+)")
_TRANSITION = re.compile(r"trans_block(?![56]\.)([2-9])(_o)?\.(bn1|conv1)(\.\w+)")  # scales 5 and 6 have none before
_UNUSED = re.compile(r"dense_block[1-9]\.SE\..+")


def _syn2real_name(name: str) -> str | None:
    """Squeeze-excitations, which the release declares and never calls, are left out."""
    if _UNUSED.fullmatch(name):
        return None
    if found := _BLOCK.fullmatch(name):
        return f"{_syn2real_place(int(found[1]), 1)}.{_BLOCK_PARTS[found[2]]}{found[3]}"
    if found := _TRANSITION.fullmatch(name):
        place = _syn2real_place(int(found[1]), 2 if found[2] else 0)
        return f"{place}.{_TRANSITION_PARTS[found[3]]}{found[4]}"
    layer, _, kind = name.rpartition(".")
    return f"{_PLAIN[layer]}.{kind}" if layer in _PLAIN else name


def _syn2real_place(number: int, part: int) -> str:
    """Of a scale: 0 is the change of channels before its block, 1 the block, 2 the change after it."""
    if number == 1:
        return "encoder1"
    if number in (2, 3, 4):
        return f"encoder{number}.{part}"
    return f"{'encoder' if number <= 6 else 'decoder'}{number}.{part - 1}" if part else f"up{number}"


def _ddn(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    turned = {
        name: _turned(tensor) if _SIRR_NAME.fullmatch(name) and tensor.dim() == 4 else tensor
        for name, tensor in tensors.items()
    }
    return by_name(_ddn_name)(turned)


def _turned(kernel: Tensor) -> Tensor:
    """A kernel of TensorFlow's, (height, width, in, out), as torch has it."""
    return kernel.permute(3, 2, 0, 1)


_MOSS_BLOCK = re.compile(r"(enc|dec)\.\1(\d+)\.(\d+)\.(conv1|conv2|translation)\.weight")
_MOSS_FUSION = re.compile(r"fuse\.fuse(\d+)\.(alpha|affine_gamma|affine_beta|norm|gamma|beta)(.*)")
_MOSS_PARTS = {"alpha": "gate", "affine_gamma": "scale", "affine_beta": "shift"}


def _moss_name(name: str) -> str:
    """Of the network in the authors' main folder; what their folder ``train`` trains is another network."""
    if found := _MOSS_BLOCK.fullmatch(name):
        layer = "shortcut" if found[4] == "translation" else found[4]
        return f"{found[1]}oder.{found[2]}.blocks.{found[3]}.{layer}.weight"
    if found := _MOSS_FUSION.fullmatch(name):
        return f"fusions.{found[1]}.{_MOSS_PARTS.get(found[2], found[2])}{found[3]}"
    return "memory.table" if name == "memory.units.weight" else name


_MENET_KERNEL = re.compile(r"derain/(?:ca/)?(\w+)/\1_conv/kernel")
_MENET_NORM = re.compile(r"derain/(ca/)?batch_normalization(?:_(\d+))?/(gamma|beta|moving_mean|moving_variance)")
_MENET_KINDS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_MENET_ATTENTION = {
    "squeeze_1": "squeeze1",
    "layer_1": "layer1",
    "squeeze_2": "squeeze2",
    "layer_2": "layer2",
    "excitation_1": "excitation",
}
_MENET_TRAINING = re.compile(r"(?:.*/)?(?:Adam(?:_1)?|beta[12]_power|global_step)")


def _menet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Variables of the authors' TensorFlow graph, slashes as they are or written as two underscores.

    Norms are numbered in the order of the layers. TensorFlow folds 2x2 pixels into channels, and back, in another order
    than torch: what comes after a folding gets its inputs reordered, what comes before an unfolding its outputs.
    """
    theirs = {name.replace("__", "/").removesuffix(":0"): tensor for name, tensor in tensors.items()}
    theirs = {name: tensor for name, tensor in theirs.items() if not _MENET_TRAINING.fullmatch(name)}
    numbers = [int(found[2] or 0) for name in theirs if (found := _MENET_NORM.fullmatch(name)) and not found[1]]
    blocks = range((max(numbers, default=3) - 3) // 2)
    residual = [f"blocks.{block}.{part}" for block in blocks for part in (0, 2)]
    layers = ["layer1", "layer2", *residual, "layer3", "layer4"]
    attention = [f"attention.{layer}" for layer in _MENET_ATTENTION.values()]
    named = {}
    for name, tensor in theirs.items():
        norm = _MENET_NORM.fullmatch(name)
        among = attention if norm and norm[1] else layers
        if norm and int(norm[2] or 0) < len(among):
            layer = among[int(norm[2] or 0)]
            named[f"{layer}.1.{_MENET_KINDS[norm[3]]}"] = _unfolded(tensor) if layer == "layer3" else tensor
        elif (kernel := _MENET_KERNEL.fullmatch(name)) and tensor.dim() == 4:
            layer = _menet_layer(kernel[1])
            weight = _turned(tensor)
            if layer in ("layer1", "layer2", "attention.squeeze1", "attention.squeeze2"):
                weight = _unfolded(weight.transpose(0, 1)).transpose(0, 1)
            if layer in ("layer3", "layer5"):
                weight = _unfolded(weight)
            named[f"{layer}.weight" if layer == "layer5" else f"{layer}.0.weight"] = weight
        else:
            named[name] = tensor
    return named


def _menet_layer(name: str) -> str:
    if found := re.fullmatch(r"res_(\d+)_([ab])", name):
        return f"blocks.{found[1]}.{0 if found[2] == 'a' else 2}"
    return f"attention.{_MENET_ATTENTION[name]}" if name in _MENET_ATTENTION else name


def _unfolded(channels: Tensor) -> Tensor:
    """Folded channels, the first dimension, from (place, channel) to (channel, place), four places to each."""
    return channels.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1) if len(channels) % 4 == 0 else channels


AUTHORS: dict[str, Renaming] = {
    "DDN": _ddn,
    "JORDERE": by_name(_jorder_e_name),
    "MENET": _menet,
    "MOSS": by_name(_moss_name),
    "PReNet": by_name(_prenet_name),
    "SwinIR": by_name(_swinir_name),
    "Syn2Real": by_name(_syn2real_name),
}
"""By class of network: the authors' tensors under our names and in our layout; a name that is not theirs stays."""
