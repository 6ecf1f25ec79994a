"""SwinIR for restoration at scale 1."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.padding import mirror_to_multiple
from slackoff.networks.swin_layer import SwinLayer, shift_mask

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as in SwinIR's code


class ResidualSwinBlock(nn.Module):
    """Swin layers, of which every second one is shifted, and a convolution; added to their input."""

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        mlp_ratio: float,
        residual_conv: str,
        drop_probabilities: Sequence[float],
    ) -> None:
        super().__init__()
        layers = (
            SwinLayer(channels, heads, window, mlp_ratio, index % 2 == 1, probability)
            for index, probability in enumerate(drop_probabilities)
        )
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(layers)})
        self.conv = _residual_conv(channels, residual_conv)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = tokens
        for layer in self.residual_group["blocks"].children():
            x = layer(x, mask)
        return tokens + _to_tokens(self.conv(_to_image(x)))


class SwinIR(nn.Module):
    """SwinIR (Liang et al. 2021) with the head that its denoising models have, at scale 1.

    Input and output: float, (N, 3, H, W), in about [0, 1], any size: the input is mirrored to the right and below up
    to a multiple of the window (again and again where it is smaller than the pad), the output is cropped back.
    11,504,163 parameters by default, as in the official colour denoising models, whose names the state dict has too.

    Differs from the original in that any training size above the window's gives the same network (there is no
    ``img_size``), and in the switch ``global_residual``.

    Args:
        channels: of the features.
        depths: Swin layers of each residual block.
        heads: attention heads of every layer; a divisor of ``channels``.
        window: side of an attention window, in pixels.
        mlp_ratio: hidden channels of a perceptron over ``channels``.
        residual_conv: "1conv", or "3conv" for a bottleneck with fewer parameters.
        img_range: what images are multiplied by inside: 1, or 255 as in the official JPEG models.
        stochastic_depth: probability that training leaves out a branch of the last layer; rises linearly from 0.
        global_residual: add the input to the output; False lets the network predict the background itself.

    Raises:
        SlackoffError: a size that is not positive or does not fit the others, or an unknown ``residual_conv``.
    """

    paper: ClassVar[str] = "Liang et al., SwinIR (ICCVW 2021)"
    shared_layer: ClassVar[str] = "conv_last"
    mean: Tensor

    def __init__(
        self,
        channels: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        heads: int = 6,
        window: int = 8,
        mlp_ratio: float = 2.0,
        residual_conv: str = "1conv",
        img_range: float = 1.0,
        stochastic_depth: float = 0.1,
        global_residual: bool = True,
    ) -> None:
        super().__init__()
        _check_sizes(channels, depths, heads, window)
        if mlp_ratio * channels < 1 or img_range <= 0:
            raise SlackoffError(f"network.mlp_ratio={mlp_ratio} and network.img_range={img_range} must be above 0")
        if not 0 <= stochastic_depth < 1:
            raise SlackoffError(f"network.stochastic_depth={stochastic_depth} must lie in [0, 1)")
        self.window, self.img_range, self.global_residual = window, img_range, global_residual
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(3, 1, 1), persistent=False)
        total = sum(depths)
        probabilities = iter([stochastic_depth * layer / max(total - 1, 1) for layer in range(total)])
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(channels)})
        self.layers = nn.ModuleList(
            ResidualSwinBlock(
                channels, heads, window, mlp_ratio, residual_conv, [next(probabilities) for _ in range(depth)]
            )
            for depth in depths
        )
        self.norm = nn.LayerNorm(channels)
        self.conv_after_body = _residual_conv(channels, residual_conv)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        x = (mirror_to_multiple(rainy, self.window) - self.mean) * self.img_range
        shallow = self.conv_first(x)
        tokens = self.patch_embed["norm"](_to_tokens(shallow))
        mask = shift_mask(x.shape[-2], x.shape[-1], self.window, x.device)
        for block in self.layers:
            tokens = block(tokens, mask)
        output = self.conv_last(self.conv_after_body(_to_image(self.norm(tokens))) + shallow)
        output = (x + output if self.global_residual else output) / self.img_range + self.mean
        return output[..., :height, :width]

    def load_official(self, path: Path | str) -> None:
        """Take the weights of an official checkpoint (or of one trained with BasicSR) of the same configuration.

        Args:
            path: a ``.pth`` file with the weights under ``params`` or ``params_ema``; masks and position indices in
                it are left out, since they depend on nothing but sizes.

        Raises:
            SlackoffError: the file is missing, no such checkpoint, or of another configuration.
        """
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
            state = held.get("params", held.get("params_ema"))
            kept = {key: state[key] for key in state if not key.endswith(("attn_mask", "relative_position_index"))}
            self.load_state_dict(kept)
        except Exception as error:
            raise SlackoffError(
                f"{path} is no SwinIR checkpoint of this network's configuration: "
                f"{(str(error) or type(error).__name__).splitlines()[0]}"
            ) from error


def _residual_conv(channels: int, kind: str) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    if kind != "3conv":
        raise SlackoffError(f"network.residual_conv={kind} is not known: choose one of 1conv, 3conv")
    narrow = max(channels // 4, 1)
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(narrow, narrow, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(narrow, channels, 3, padding=1),
    )


def _check_sizes(channels: int, depths: Sequence[int], heads: int, window: int) -> None:
    if heads < 1 or channels < 1 or channels % heads:
        raise SlackoffError(f"network.channels={channels} must be a positive multiple of network.heads={heads}")
    if not depths or min(depths) < 1:
        raise SlackoffError(f"network.depths={list(depths)} must hold numbers of layers from 1 up")
    if window < 2:
        raise SlackoffError(f"network.window={window} must be at least 2")


def _to_tokens(image: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H, W, C)."""
    return image.permute(0, 2, 3, 1)


def _to_image(tokens: Tensor) -> Tensor:
    """(N, H, W, C) to (N, C, H, W)."""
    return tokens.permute(0, 3, 1, 2)
