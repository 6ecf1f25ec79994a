"""MOSS: an encoder, a memory and a decoder that describe the rain.

The memory is a table of items that is moved by the encodings it sees and read softly, without gradient to it: Eq. 3
(update) and Eq. 5 (reading) of Huang, Yu, He, "Memory Oriented Transfer Learning for Semi-Supervised Image Deraining"
(CVPR 2021), as the authors' code has them.
"""

from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from slackoff.errors import SlackoffError, check_choices
from slackoff.networks.layers import check_positive, check_sizes, draw_weights, full_precision, mirror_to_multiple


class ResidualBlock(nn.Module):
    """conv-LeakyReLU-conv added to its input, without norm, bias or an activation after the sum.

    Args:
        channels_in, channels_out: where they differ, a 1x1 convolution brings the input to the output's channels.
        wide_width: between the convolutions are as many channels as the wider of input and output has, as in the
            authors' code; False: as many as the output has, as in the table of the paper's supplement.
    """

    def __init__(self, channels_in: int, channels_out: int, wide_width: bool = True) -> None:
        super().__init__()
        middle = max(channels_in, channels_out) if wide_width else channels_out
        self.conv1 = nn.Conv2d(channels_in, middle, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(middle, channels_out, 3, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv2(F.leaky_relu(self.conv1(x), 0.02))


class Stage(nn.Module):
    """Residual blocks, the first of which changes the channels.

    By ``resize`` "down" (encoder) a mean over 2x2 pixels follows the first block, by "up" (decoder) a bilinear
    enlargement by 2 comes before all.
    """

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, resize: Literal["down", "up", "keep"], wide_width: bool
    ) -> None:
        super().__init__()
        self.resize = resize
        further = (ResidualBlock(channels_out, channels_out) for _ in range(blocks - 1))
        self.blocks = nn.Sequential(ResidualBlock(channels_in, channels_out, wide_width), *further)

    def forward(self, x: Tensor) -> Tensor:
        if self.resize == "up":
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.blocks[0](x)
        return self.blocks[1:](F.avg_pool2d(x, 2) if self.resize == "down" else x)


class ConditionalFusion(nn.Module):
    """Conditional batch normalisation: an encoder feature, normalised, with scale and shift from a decoder feature.

    Scale and shift come from 1x1 convolutions that start at zero, so that the fusion starts as the normalised encoder
    feature.

    Args:
        channels: of both features.
        gate: mix in a second branch, with a learned scale and shift for each channel (zero at the start, too), by a
            learned map; in training it is left out for a fifth of the images, drawn from torch's global generator.
            The supplement does not name it, the published weights have it.
    """

    def __init__(self, channels: int, gate: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Conv2d(channels, channels, 1, bias=False)
        self.beta = nn.Conv2d(channels, channels, 1, bias=False)
        self.gate: nn.Conv2d | None = nn.Conv2d(channels, 1, 1, bias=False) if gate else None
        if gate:
            self.scale = nn.Parameter(torch.empty(1, channels, 1, 1))
            self.shift = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.start_neutral()

    @torch.no_grad()
    def start_neutral(self) -> None:
        """Zero all that scales and shifts; the gate's convolution stays as it is."""
        self.gamma.weight.zero_()
        self.beta.weight.zero_()
        if self.gate is not None:
            self.scale.zero_()
            self.shift.zero_()

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Both (N, channels, h, w), as is the result."""
        feature = self.norm(encoded)
        conditioned = feature * (1 + self.gamma(decoded)) + self.beta(decoded)
        if self.gate is None:
            return conditioned
        share = torch.sigmoid(self.gate(feature))
        if self.training:
            share = share * (torch.rand(len(share), 1, 1, 1, device=share.device) < 0.8)
        return conditioned + share * (feature * (1 + self.scale) + self.shift - conditioned)


Unassigned = Literal["shrink", "freeze"]


def cosine_scores(encodings: Tensor, table: Tensor) -> Tensor:
    """Cosine of the angle between every encoding (n, channels) and every item (items, channels): (n, items)."""
    return F.normalize(encodings, dim=1) @ F.normalize(table, dim=1).T


def assign(encodings: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Give each encoding (n, channels) to the item (items, channels) of the highest cosine.

    Returns the sums (items, channels) of the encodings that each item got, and their counts (items,), of the same
    dtype. The sums are a matrix product: adding up by index would take another order on each run of a GPU.
    """
    best = cosine_scores(encodings, table).argmax(dim=1, keepdim=True)
    chosen = (best == torch.arange(len(table), device=table.device)).to(encodings.dtype)
    return chosen.T @ encodings, chosen.sum(dim=0)


def updated(table: Tensor, sums: Tensor, counts: Tensor, decay: float, unassigned: Unassigned = "shrink") -> Tensor:
    """The table after one update, a new tensor: decay * item + (1 - decay) * mean of what was assigned to it (Eq. 3).

    Args:
        table: (items, channels).
        sums, counts: of what was assigned to each item, see ``assign``.
        decay: tau, from 0 (items become the means) to 1 (items stay).
        unassigned: "shrink" multiplies an item without an encoding by ``decay``, as if its mean were 0 (so does the
            authors' code); "freeze" keeps it.
    """
    moved = decay * table + (1 - decay) * sums / (counts[:, None] + 1e-6)  # as in the authors' code
    return torch.where(counts[:, None] > 0, moved, table) if unassigned == "freeze" else moved


def read(encodings: Tensor, table: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean of all items, weighted by softmax(cosine / temperature) for each encoding (Eq. 5): (n, channels).

    At a temperature of 1 no weight is more than e^2 times another. Gradients reach the encodings through the weights
    alone.
    """
    return F.softmax(cosine_scores(encodings, table) / temperature, dim=1) @ table


class Memory(nn.Module):
    """A table of items, drawn from N(0, 1), which replaces every encoding by a weighted mean of its items.

    In training the table is first updated by the batch, stored, and then read; in evaluation it is only read. No
    gradient reaches it. Both run in float32 (float64 for encodings in it), also under autocast. Several ranks that
    train together add up what was assigned, so that all store the table of one process on the joined batch.

    Args:
        items: rows of the table.
        channels: of an encoding.
        decay: tau of the update, 0 to 1.
        temperature: of the softmax of the reading.
        unassigned: what an update does to items without an encoding, see ``updated``.
        update_in_eval: in evaluation read a table that the images at hand have updated, and store nothing, as the
            authors' code does. The result of an image then depends on those beside it.

    Raises:
        SlackoffError: a number is out of its range.
    """

    def __init__(
        self,
        items: int,
        channels: int,
        decay: float = 0.999,
        temperature: float = 1.0,
        unassigned: Unassigned = "shrink",
        update_in_eval: bool = False,
    ) -> None:
        super().__init__()
        check_choices(Memory, unassigned=unassigned)
        if not 0 <= decay <= 1:
            raise SlackoffError(f"network.memory_decay={decay} must lie in [0, 1]")
        check_positive(memory_temperature=temperature)
        self.decay, self.temperature, self.unassigned = decay, temperature, unassigned
        self.update_in_eval = update_in_eval
        self.table = nn.Parameter(torch.randn(items, channels), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        """Encodings (N, channels, h, w) to what the memory says of each: the same shape and dtype."""
        with full_precision(z):
            precise = z.to(torch.promote_types(z.dtype, torch.float32))
            encodings = precise.permute(0, 2, 3, 1).flatten(0, 2)
            # A copy: the stored table may change before the backward pass of this reading.
            table = self.table.detach().to(precise.dtype, copy=True)
            if self.training or self.update_in_eval:
                table = self._update(table, encodings.detach())
            result = read(encodings, table, self.temperature)
        return result.unflatten(0, (len(z), *z.shape[-2:])).permute(0, 3, 1, 2).to(z.dtype)

    @torch.no_grad()
    def _update(self, table: Tensor, encodings: Tensor) -> Tensor:
        sums, counts = assign(encodings, table)
        # All ranks give every training batch to the memory; evaluation is the first one's alone and adds up nothing.
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if self.training and together and torch.distributed.get_world_size() > 1:
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(counts)
        table = updated(table, sums, counts, self.decay, self.unassigned)
        if self.training:
            self.table.copy_(table)
        return table


class MOSS(nn.Module):
    """Memory-oriented encoder-decoder network of MOSS (Huang, Yu, He, CVPR 2021).

    An encoder, a memory that replaces each encoding by a mean of its items, and a decoder that takes the encoder's
    features in by conditional batch normalisation. The decoder's output is subtracted from the features of the first
    convolution, so that memory and decoder have the rain to describe and not the background. The authors' network for
    their published weights is the model, where it and the paper's supplement differ. 2,855,939 parameters by default,
    49,152 of which are the memory.

    Input and output: float, (N, 3, H, W), in [0, 1], any size; [-1, 1] and a tanh inside. Sizes that 2^downscalings
    does not divide are mirrored to the right and below, and the output is cropped back (the paper enlarges the image
    bicubically instead, and shrinks the result).

    Training and evaluation differ: the norms use the batch in the one and running averages in the other, the gates of
    the fusions are closed at random, and each forward pass in training mode updates the memory and stores it.

    Args:
        width: channels of the first convolution.
        growth: channels that each stage of the encoder adds, and each of the decoder takes away.
        stages: of the encoder, and of the decoder.
        blocks: residual blocks in each stage.
        downscalings: how many of the encoder's stages, the first ones, halve the size.
        memory_items: rows of the memory; 0: no memory, the decoder gets the encodings.
        memory_decay: tau of the memory's update, 0 (items become the means of their encodings) to 1 (items stay).
        memory_temperature: of the softmax that reads the memory.
        memory_unassigned: "shrink" or "freeze" items without an encoding, see ``slackoff.networks.moss.updated``.
        memory_update_in_eval: evaluate with a memory that the images at hand have updated, without storing it.
        skip: subtract from the features of the first convolution; False: the last one sees the decoder's output alone.
        cbn_gate: fusions have their second branch, see ``ConditionalFusion``.
        wide_width: the blocks that change the channels have the larger number inside, see ``ResidualBlock``.
        initial_std: of the truncated normal that convolutions start from, 0.02 in the authors' code for training; None:
            torch's own start, with which short runs get further.

    Raises:
        SlackoffError: a size or a number of the memory is out of its range.
    """

    paper: ClassVar[str] = "Huang et al., MOSS (CVPR 2021)"
    shared_layer: ClassVar[str] = "tail"

    def __init__(
        self,
        width: int = 16,
        growth: int = 16,
        stages: int = 5,
        blocks: int = 4,
        downscalings: int = 3,
        memory_items: int = 512,
        memory_decay: float = 0.999,
        memory_temperature: float = 1.0,
        memory_unassigned: Unassigned = "shrink",
        memory_update_in_eval: bool = False,
        skip: bool = True,
        cbn_gate: bool = True,
        wide_width: bool = True,
        initial_std: float | None = 0.02,
    ) -> None:
        super().__init__()
        check_choices(MOSS, memory_unassigned=memory_unassigned)
        if initial_std is not None and not initial_std > 0:
            raise SlackoffError(f"network.initial_std={initial_std} must be above 0, or null for torch's own start")
        check_sizes(width=width, stages=stages, blocks=blocks)
        check_sizes(0, growth=growth, memory_items=memory_items)
        if not 0 <= downscalings <= stages:
            raise SlackoffError(f"network.downscalings={downscalings} must lie between 0 and network.stages={stages}")
        self.multiple = 2**downscalings
        self.skip = skip
        widths = [width + growth * stage for stage in range(stages + 1)]
        self.head = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(
            Stage(narrow, wide, blocks, "down" if stage < downscalings else "keep", wide_width)
            for stage, (narrow, wide) in enumerate(pairwise(widths))
        )
        self.decoder = nn.ModuleList(
            Stage(wide, narrow, blocks, "up" if stage >= stages - downscalings else "keep", wide_width)
            for stage, (wide, narrow) in enumerate(pairwise(reversed(widths)))
        )
        fusions = [ConditionalFusion(channels, cbn_gate) for channels in reversed(widths[1:-1])]
        self.fusions = nn.ModuleList(fusions)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)
        if initial_std is not None:
            draw_weights(self, partial(nn.init.trunc_normal_, std=initial_std))
        for fusion in fusions:
            fusion.start_neutral()
        # Drawn last: with and without it a seed gives the same weights.
        self.memory: nn.Module = nn.Identity()
        if memory_items:
            memory_options = (memory_decay, memory_temperature, memory_unassigned, memory_update_in_eval)
            self.memory = Memory(memory_items, widths[-1], *memory_options)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        shallow = self.head(2 * mirror_to_multiple(rainy, self.multiple) - 1)
        x = shallow
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        features.pop()
        x = self.memory(x)
        for stage, fusion in zip(self.decoder, self.fusions, strict=False):
            x = fusion(features.pop(), stage(x))
        x = self.decoder[-1](x)
        output = torch.tanh(self.tail(shallow - x if self.skip else x).to(rainy.dtype))
        return (output[..., :height, :width] + 1) / 2
