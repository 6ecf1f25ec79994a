"""MOSS: an encoder, a memory and a decoder that describe the rain."""

from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from slackoff.errors import SlackoffError
from slackoff.networks.memory import Memory, Unassigned
from slackoff.networks.moss_blocks import ConditionalFusion, DecoderStage, EncoderStage
from slackoff.networks.padding import mirror_to_multiple


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
        memory_unassigned: "shrink" or "freeze" items without an encoding, see ``slackoff.networks.memory.updated``.
        memory_update_in_eval: evaluate with a memory that the images at hand have updated, without storing it.
        skip: subtract from the features of the first convolution; False: the last one sees the decoder's output alone.
        cbn_gate: fusions have their second branch, see ``ConditionalFusion``.
        wide_width: the blocks that change the channels have the larger number inside, see ``ResidualBlock``.
        initial_std: of the truncated normal that convolutions start from, 0.02 in the authors' code for training; None:
            torch's own start, with which short runs get further.

    Raises:
        SlackoffError: a size or an option of the memory is out of its range.
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
        if initial_std is not None and not initial_std > 0:
            raise SlackoffError(f"network.initial_std={initial_std} must be above 0, or null for torch's own start")
        _check_sizes(width, growth, stages, blocks, downscalings, memory_items)
        self.multiple = 2**downscalings
        self.skip = skip
        widths = [width + growth * stage for stage in range(stages + 1)]
        self.head = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(
            EncoderStage(narrow, wide, blocks, stage < downscalings, wide_width)
            for stage, (narrow, wide) in enumerate(pairwise(widths))
        )
        self.decoder = nn.ModuleList(
            DecoderStage(wide, narrow, blocks, stage >= stages - downscalings, wide_width)
            for stage, (wide, narrow) in enumerate(pairwise(reversed(widths)))
        )
        self.fusions = nn.ModuleList(ConditionalFusion(channels, cbn_gate) for channels in reversed(widths[1:-1]))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)
        self.apply(partial(_draw_weights, std=initial_std))
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


def _draw_weights(module: nn.Module, std: float | None) -> None:
    """For ``apply``, which comes to a fusion after its convolutions."""
    if isinstance(module, nn.Conv2d) and std is not None:
        nn.init.trunc_normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, ConditionalFusion):
        module.start_neutral()


def _check_sizes(width: int, growth: int, stages: int, blocks: int, downscalings: int, memory_items: int) -> None:
    for key, value in {"width": width, "stages": stages, "blocks": blocks}.items():
        if value < 1:
            raise SlackoffError(f"network.{key}={value} must be at least 1")
    for key, value in {"growth": growth, "memory_items": memory_items}.items():
        if value < 0:
            raise SlackoffError(f"network.{key}={value} must be at least 0")
    if not 0 <= downscalings <= stages:
        raise SlackoffError(f"network.downscalings={downscalings} must lie between 0 and network.stages={stages}")
