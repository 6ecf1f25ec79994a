"""What tests of networks share: weights and images from formulas, figures of an image, gradients, small networks."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from slackoff.losses import L1, MSE, DRDNetLoss, JORDERELoss, RCDNetLoss, RESCANLoss, SPDNetLoss
from slackoff.networks import (
    DDN,
    JORDERE,
    MENET,
    MOSS,
    RESCAN,
    DRDNet,
    PReNet,
    RCDNet,
    ResNet,
    SPDNet,
    SwinIR,
    Syn2Real,
    UNet,
)

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Network = TypeVar("Network", bound=nn.Module)


def formula_input() -> Tensor:
    """float32, (1, 3, 40, 56), about 0..1."""
    c, i, j = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (3, 40, 56)), indexing="ij")
    waves = 0.5 + 0.35 * torch.sin(0.3 * i + 0.2 * j + 0.7 * c) + 0.15 * torch.cos(0.9 * j - 0.4 * i)
    return waves.float()[None]


@torch.no_grad()
def fill(network: Network, gain: float) -> Network:
    """Fill every parameter with a wave t = sin(1 + 0.7 k) over its elements, so that any two builds must agree.

    Weights of two or more dimensions get gain * t / sqrt(fan), scales (one-dimensional weights: those of LayerNorm,
    BatchNorm and PReLU) 1 + 0.05 t, biases 0.05 t. Buffers keep their values. Same-shaped layers get equal weights, so
    two of them in the wrong order go unseen.
    """
    for name, tensor in network.named_parameters():
        count = tensor.numel()
        wave = torch.sin(1 + 0.7 * torch.arange(count, dtype=torch.float64)).view(tensor.shape)
        if tensor.dim() > 1:
            tensor.copy_(gain * wave / (count / len(tensor)) ** 0.5)
        else:
            tensor.copy_(0.05 * wave + name.endswith("weight"))
    return network.eval()


def figures(image: Tensor) -> list[float]:
    """What is recorded of an image of 40 x 56 px: mean, deviation and three of its values."""
    found = [image.mean(), image.std(correction=0), image[0, 0, 0, 0], image[0, 1, 20, 30], image[0, 2, 39, 55]]
    return [value.item() for value in found]


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def rainy_pair(count: int = 4, side: int = 16) -> tuple[Tensor, Tensor]:
    """Rainy images and their backgrounds: smooth ones of 0.1 to 0.7 under streaks, below 1; float64."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, 4, 4, generator=generator, dtype=torch.float64)
    background = 0.1 + 0.6 * nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return background + 0.25 * torch.rand(count, 1, side, 1, generator=generator, dtype=torch.float64), background


def gradients(network: nn.Module, loss: Loss, rainy: Tensor, background: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The loss, and its gradient by the names of the parameters that have one; random draws are always the same."""
    torch.manual_seed(0)
    value = loss(network, rainy, background)
    value.backward()
    return value.item(), {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


class Case(NamedTuple):
    """A small network, and what is particular about it.

    ``loss``: its own. ``least``: the least side that it takes, and ``multiple``: of what its sides must be inside, in
    pixels. ``bounded``: the output lies in [0, 1]. ``estimates``: how many backgrounds and rain layers it makes.
    ``idle``: a pattern of the names of parameters that no gradient reaches, such as biases before a norm. ``half``:
    under autocast the output stays in bfloat16. ``rounding``: the largest error of the output there, 1 is white, and
    ``alignment``: the least cosine of its gradient with that of float64.
    """

    network: type[nn.Module]
    options: Mapping[str, Any]
    loss: Loss = L1()
    least: int = 1
    multiple: int = 1
    bounded: bool = False
    estimates: tuple[int, int] | None = None
    idle: str = "none"
    half: bool = False
    rounding: float = 1 / 255
    alignment: float = 0.9

    def build(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.network(**self.options)

    @torch.no_grad()
    def disturbed(self) -> nn.Module:
        """In float64 and evaluation mode; what starts at 0 or 1 has values of its own, running averages too."""
        network = self.build().double().eval()
        generator = torch.Generator().manual_seed(7)
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.04 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 0.02)
        return network


_SWIN = {"channels": 12, "depths": [2], "heads": 2, "window": 4, "stochastic_depth": 0.0}
_MOSS = {"width": 8, "growth": 4, "stages": 3, "blocks": 1, "downscalings": 2, "memory_items": 32}
_BEFORE_NORM = r".*blocks\.\d\.[03](\.branches\.\d|\.merge)?\.bias|.*\.tail\.0\.bias"
CASES = {
    "resnet": Case(ResNet, {"channels": 8, "blocks": 3}),
    "resnet_direct": Case(ResNet, {"channels": 8, "blocks": 2, "global_residual": False}, half=True),
    "unet": Case(UNet, {"width": 4, "levels": 3}, least=4, multiple=4),
    "unet_direct": Case(UNet, {"width": 2, "levels": 4, "global_residual": False}, least=8, multiple=8, half=True,
                        rounding=0.01),
    "swinir": Case(SwinIR, _SWIN, multiple=4, rounding=0.02),
    "swinir_3conv": Case(SwinIR, {**_SWIN, "residual_conv": "3conv"}, multiple=4, rounding=0.02),
    "swinir_window_7": Case(SwinIR, {**_SWIN, "window": 7}, multiple=7, rounding=0.02),
    "ddn": Case(DDN, {"channels": 8, "pairs": 2}, MSE(), idle=r".*\.0\.bias"),
    "drd_net": Case(DRDNet, {"channels": 16, "blocks": 1}, DRDNetLoss(), estimates=(2, 1), idle=_BEFORE_NORM,
                    rounding=0.4),
    "jorder_e": Case(JORDERE, {"channels": 8, "blocks": 1}, JORDERELoss(), estimates=(2, 0), rounding=0.01),
    "jorder_e_rain": Case(JORDERE, {"channels": 8, "blocks": 1}, JORDERELoss("rain"), estimates=(2, 0), rounding=0.01),
    "menet": Case(MENET, {"width": 16, "blocks": 2}, multiple=16, bounded=True),
    "menet_plain": Case(MENET, {"width": 8, "blocks": 2, "attention": False}, multiple=4, bounded=True),
    "moss": Case(MOSS, _MOSS, multiple=4, bounded=True, idle=r"memory\.table"),
    "moss_forgetful": Case(MOSS, {**_MOSS, "memory_items": 0, "skip": False}, multiple=4, bounded=True),
    "moss_ungated": Case(MOSS, {**_MOSS, "cbn_gate": False}, multiple=4, bounded=True, idle=r"memory\.table"),
    **{f"prenet_{unit}": Case(PReNet, {"stages": 3, "channels": 8, "blocks": 2, "unit": unit}, estimates=(3, 0))
       for unit in ("lstm", "gru", "none")},
    "prenet_r": Case(PReNet, {"stages": 2, "channels": 8, "blocks": 3, "share_blocks": True}, estimates=(2, 0)),
    "prenet_x": Case(PReNet, {"stages": 2, "channels": 8, "blocks": 1, "add_input": False, "see_rainy": False},
                     estimates=(2, 0), half=True),
    "rcdnet": Case(RCDNet, {"stages": 3, "blocks": 1, "maps": 8, "dual_channels": 5}, RCDNetLoss(), estimates=(5, 3),
                   rounding=0.5 / 255,                   idle=r".*\.\d\.0\.[02]\.0\.bias"),
    **{f"rescan_{unit}": Case(RESCAN, {"width": 8, "depth": 5, "stages": 2, "unit": unit}, RESCANLoss(),
                              estimates=(2, 2)) for unit in ("conv", "rnn", "gru", "lstm")},
    "rescan_plain": Case(RESCAN, {"width": 8, "depth": 4, "stages": 3, "attention": False}, RESCANLoss(),
                         estimates=(3, 3)),
    "spdnet": Case(SPDNet, {"channels": 8, "blocks": 1, "chains": 1}, SPDNetLoss(), estimates=(3, 0), half=True),
    "spdnet_255": Case(SPDNet, {"channels": 6, "blocks": 1, "image_range": 255.0, "global_residual": True, "chains": 2},
                       SPDNetLoss(), estimates=(3, 0), rounding=0.05),
    "syn2real": Case(Syn2Real, {"width": 8, "groups": 2}, multiple=8, bounded=True, idle=r"to_latent\.bias",
                     alignment=0.3),
}  # fmt: skip
