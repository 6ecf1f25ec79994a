"""RCDNet: the unrolled optimisation of a convolutional dictionary model of rain.

It starts from 32 rain kernels, each a streak: an anisotropic Gaussian with a flat centre.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint as recompute

from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import StagedNetwork, Stages
from slackoff.networks.layers import GREY_LEVELS, Residual, check_sizes, full_precision

SIZE = 9  # px a side


class Streak(NamedTuple):
    """One kernel: flat to ``flat`` px off its centre, from there a Gaussian; vertical.

    ``deviation``: in px, along the columns' axis; ``stretch``: how many times longer it is along the rows' axis;
    ``total``: what its 81 values sum to.
    """

    flat: int
    deviation: float
    stretch: float
    total: float


# The authors drew deviation and total at random once and released the outcome, so no formula gives them.
STREAKS = (
    Streak(0, 0.127976, 2.75, 0.403410),
    Streak(0, 0.323571, 3.00, 0.380094),
    Streak(0, 0.166412, 3.25, 0.641784),
    Streak(0, 0.288520, 3.50, 0.720293),
    Streak(1, 0.237635, 3.75, 0.175439),
    Streak(0, 0.353334, 4.00, 0.237140),
    Streak(1, 0.259586, 4.25, 0.996521),
    Streak(0, 0.235670, 4.50, 0.195987),
    Streak(2, 0.126159, 4.75, 0.797419),
    Streak(1, 0.342174, 5.00, 0.175992),
    Streak(0, 0.189968, 5.25, 0.820062),
    Streak(0, 0.352662, 5.50, 0.263662),
    Streak(0, 0.161385, 5.75, 0.222462),
    Streak(1, 0.269926, 6.00, 0.594874),
    Streak(0, 0.338258, 6.25, 0.659850),
    Streak(0, 0.253312, 6.50, 0.461627),
    Streak(0, 0.369958, 6.25, 0.210987),
    Streak(0, 0.369976, 6.50, 0.475540),
    Streak(0, 0.701358, 6.75, 0.950308),
    Streak(1, 0.494626, 7.00, 0.403947),
    Streak(1, 0.434623, 7.25, 0.200082),
    Streak(1, 0.444869, 7.50, 0.317522),
    Streak(1, 0.298227, 7.75, 0.218776),
    Streak(2, 0.728067, 8.00, 0.617688),
    Streak(0, 0.367390, 8.25, 0.417843),
    Streak(1, 0.257702, 8.50, 0.138721),
    Streak(0, 0.574558, 8.75, 0.758550),
    Streak(1, 0.475462, 9.00, 0.592308),
    Streak(1, 0.622346, 9.25, 0.270060),
    Streak(1, 0.341756, 9.50, 0.431636),
    Streak(1, 0.640114, 9.75, 0.173013),
    Streak(1, 0.637856, 10.00, 0.538112),
)


def rain_kernels(maps: int = len(STREAKS)) -> Tensor:
    """The initial kernels: float32, (3, maps, 9, 9), equal for the three colours.

    They equal the file ``init_kernel.mat`` of RCDNet's release to the six digits of the table. Fewer than 32 are
    taken evenly from short to long streaks.

    Args:
        maps: 1 to 32.
    """
    spacing = (len(STREAKS) - 1) / max(maps - 1, 1)
    kernels = torch.stack([_kernel(STREAKS[round(spacing * index)]) for index in range(maps)])
    return kernels.float().expand(3, -1, -1, -1).clone()


def _kernel(streak: Streak) -> Tensor:
    offset = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    distance = (offset.abs() - streak.flat).clamp(min=0)
    across, along = distance[None, :], distance[:, None] / streak.stretch
    kernel = torch.exp(-(across**2 + along**2) / (2 * streak.deviation**2))
    return kernel * (streak.total / kernel.sum())


DAMPING = 10.0  # the release divides each kernel and each step size by it wherever it uses them


def residual_blocks(channels: int, blocks: int) -> nn.Sequential:
    """Blocks in a row: conv-BatchNorm-ReLU-conv-BatchNorm added to its input, then ReLU.

    With the channels of image and dual, the proximal operator of the background.
    """

    def conv_norm() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))

    return nn.Sequential(
        *(nn.Sequential(Residual(conv_norm(), nn.ReLU(), conv_norm()), nn.ReLU()) for _ in range(blocks))
    )


class MapNet(nn.Module):
    """Proximal operator of the rain maps: residual blocks, then a learned soft threshold."""

    def __init__(self, maps: int, blocks: int) -> None:
        super().__init__()
        self.blocks = residual_blocks(maps, blocks)
        self.threshold = nn.Parameter(torch.full((1, maps, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.blocks(x) - self.threshold)


class RCDNet(StagedNetwork):
    """Rain convolutional dictionary network (Wang, Xie, Zhao, Meng, CVPR 2020).

    The rain layer is a sum of learned 9x9 kernels, each convolved with a non-negative rain map. Every stage takes a
    gradient step on the maps and one on the background, each followed by a small residual network in the place of a
    proximal operator. 2,975,186 parameters by default: the release's 3,166,355 less those that it never uses.

    Input and output: float, (N, 3, H, W), in about [0, 1], H and W at least 1. Inside, images are in 0..255, since
    thresholds, step sizes and kernels have their start values for that scale.

    Training and evaluation differ, since BatchNorm normalises by the batch in the one and by running averages
    (momentum 0.1) in the other: the averages of the first tens of steps are not usable yet, and those of small
    patches need not fit large images. As the norms remove the mean, the biases of the convolutions get no gradient
    in training; all other parameters get one, from the l1 of the result alone too, but the last convolution and norm
    of the last network only in their three image channels.

    Under autocast only the convolutions and norms of the residual networks run in half precision. bfloat16 has 8
    significant bits, which is a whole grey level near 255, and each stage subtracts two nearly equal images; so images,
    maps and dictionary convolutions stay in float32. The result then errs by about 0.1 grey levels (RMS), and by up to
    0.5 where all runs in bfloat16; training goes as well as in float32.

    Args:
        stages: gradient steps, each with two networks of its own.
        blocks: residual blocks in each of the 2 * stages + 2 networks.
        maps: rain maps, 1 to 32.
        dual_channels: feature channels that the image networks carry beside the image.
        checkpoint: keep only the inputs of each network while training and compute the rest again when it is
            needed: about a sixth of the memory for a third more time; the result is the same.

    Raises:
        SlackoffError: a size below 1, or more maps than there are known kernels.
    """

    paper: ClassVar[str] = "Wang et al., RCDNet (CVPR 2020)"

    def __init__(
        self, stages: int = 17, blocks: int = 4, maps: int = 32, dual_channels: int = 32, checkpoint: bool = False
    ) -> None:
        super().__init__()
        check_sizes(stages=stages, blocks=blocks, maps=maps, dual_channels=dual_channels)
        if maps > len(STREAKS):
            raise SlackoffError(f"network.maps={maps} must be at most {len(STREAKS)}, the number of known rain kernels")
        self.checkpoint = checkpoint
        self.first_kernels = nn.Parameter(rain_kernels(maps))
        self.kernels = nn.Parameter(rain_kernels(maps))
        self.dual_filter = nn.Parameter(torch.full((dual_channels, 3, 3, 3), 1 / 9))
        self.rain_threshold = nn.Parameter(torch.ones(1))
        self.map_steps = nn.ParameterList(nn.Parameter(torch.tensor([1.0])) for _ in range(stages - 1))
        self.image_steps = nn.ParameterList(nn.Parameter(torch.tensor([5.0])) for _ in range(stages))
        self.map_nets = nn.ModuleList(MapNet(maps, blocks) for _ in range(stages))
        self.first_image_net = residual_blocks(3 + dual_channels, blocks)
        self.image_nets = nn.ModuleList(residual_blocks(3 + dual_channels, blocks) for _ in range(stages))
        self.last_image_net = residual_blocks(3 + dual_channels, blocks)
        self.shared_layer = f"last_image_net.{blocks - 1}.0.2.0"

    def stages(self, rainy: Tensor) -> Stages:
        """Backgrounds: the first one, one a stage, the result. Rains: one a stage. (N, 3, H, W) each, in [0, 1]."""
        observed = rainy.to(self.kernels.dtype) * GREY_LEVELS
        with full_precision(observed):
            dual = F.conv2d(observed, self.dual_filter, padding=1)
        background, dual = self._image(self.first_image_net, observed, dual)
        backgrounds: list[Tensor] = [background]
        rains: list[Tensor] = []
        for stage, (map_net, image_net) in enumerate(zip(self.map_nets, self.image_nets, strict=True)):
            if stage == 0:
                unexplained = F.relu(observed - background - self.rain_threshold)
                maps = _maps(unexplained, self.first_kernels)
            else:
                excess = rains[-1] - (observed - background)
                maps = maps - self.map_steps[stage - 1] / DAMPING * _maps(excess, self.kernels)
            maps = self._apply_net(map_net, maps)
            rains.append(_rain(maps, self.kernels))
            step = self.image_steps[stage] / DAMPING
            background, dual = self._image(image_net, background - step * (background - (observed - rains[-1])), dual)
            backgrounds.append(background)
        backgrounds.append(self._image(self.last_image_net, background, dual)[0])
        return Stages(tuple(b / GREY_LEVELS for b in backgrounds), tuple(r / GREY_LEVELS for r in rains))

    def _image(self, net: nn.Module, image: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
        result = self._apply_net(net, torch.cat([image, dual], dim=1))
        return result[:, :3], result[:, 3:]

    def _apply_net(self, net: nn.Module, x: Tensor) -> Tensor:
        if not (self.checkpoint and torch.is_grad_enabled()):
            return net(x)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _fixed_averages(net)

        return recompute(net, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


def _rain(maps: Tensor, kernels: Tensor) -> Tensor:
    """The rain layer that maps (N, maps, H, W) stand for: (N, 3, H, W)."""
    with full_precision(maps):
        return F.conv2d(maps, kernels / DAMPING, padding=kernels.shape[-1] // 2)


def _maps(image: Tensor, kernels: Tensor) -> Tensor:
    """The adjoint of ``_rain``: (N, 3, H, W) to (N, maps, H, W)."""
    with full_precision(image):
        return F.conv_transpose2d(image, kernels / DAMPING, padding=kernels.shape[-1] // 2)


@contextmanager
def _fixed_averages(net: nn.Module) -> Iterator[None]:
    """Computing a network again must not move the running averages of its norms a second time."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]  # those of several ranks too
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, (_, batches) in zip(norms, kept, strict=True):
        assert batches is not None
        norm.momentum, norm.num_batches_tracked = 0.0, batches.clone()
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
