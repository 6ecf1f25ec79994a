"""DSC: dictionaries of rain and of background are learned from the image itself. Nothing is trained."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import PerImageMethod
from slackoff.networks.layers import guided_smooth, mirror_to_multiple
from slackoff.networks.sparse_coding import Settings, separate

_LUMA = (0.299, 0.587, 0.114)


class DSC(PerImageMethod):
    """DSC (re-implementation): discriminative sparse coding (Luo, Xu, Ji, ICCV 2015).

    The luminance (BT.601) is taken apart under the screen blend O = B + R - B * R: patches of both layers are coded
    with few atoms, and no atom serves both. The sizes are those of the authors' demo script. Their algorithm file is
    obfuscated, and the rest is a choice: the first guess of the rain (what exceeds a guided filter's base), the hard
    split of one K-SVD dictionary by gradient direction and contrast, and the update of the pixels. Expect other numbers
    than theirs.

    No parameters: ``network=dsc`` measures it without a training step. Results depend on the image, `seed`, and in the
    last digits on the machine. Colours keep their chroma.

    Input and output: float, (N, 3, H, W), in [0, 1], any size; computed in float32, without gradients.

    Args:
        atoms: non-rain atoms of 16x16 px.
        rain_atoms: rain atoms.
        sparsity: atoms of a patch of the background.
        rain_sparsity: atoms of a patch of the rain.
        samples: patches that dictionaries are learned from, at most.
        sweeps: of K-SVD, before the first round.
        rounds: of coding, pixel update and fitting of both dictionaries.
        step: between the patches that are coded, px.
        weight: of the distance to what was coded, for both layers.
        radius: of the guided filter's windows, px.
        smoothing: the guided filter's eps, in squared units of [0, 1].
        seed: of the choice of patches.

    Raises:
        SlackoffError: a number is out of its range.
    """

    luma: Tensor
    paper: ClassVar[str] = "Luo et al., DSC (ICCV 2015), re-implementation"

    def __init__(
        self,
        atoms: int = 512,
        rain_atoms: int = 128,
        sparsity: int = 5,
        rain_sparsity: int = 8,
        samples: int = 10_000,
        sweeps: int = 5,
        rounds: int = 5,
        step: int = 2,
        weight: float = 1.0,
        radius: int = 7,
        smoothing: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        counts = {"sparsity": sparsity, "rain_sparsity": rain_sparsity, "samples": samples, "radius": radius}
        _check_counts(**counts, rounds=rounds, sweeps=sweeps)
        _check(atoms >= sparsity, f"atoms={atoms}", f"at least sparsity={sparsity}")
        _check(rain_atoms >= rain_sparsity, f"rain_atoms={rain_atoms}", f"at least rain_sparsity={rain_sparsity}")
        _check(step in (1, 2, 4, 8, 16), f"step={step}", "1, 2, 4, 8 or 16")
        _check(weight > 0, f"weight={weight}", "above 0")
        _check(smoothing > 0, f"smoothing={smoothing}", "above 0")
        self.settings = Settings(
            background_atoms=atoms,
            rain_atoms=rain_atoms,
            background_sparsity=sparsity,
            rain_sparsity=rain_sparsity,
            samples=samples,
            sweeps=sweeps,
            rounds=rounds,
            step=step,
            weight=weight,
        )
        self.register_buffer("luma", torch.tensor(_LUMA)[:, None, None], persistent=False)  # so it has a device
        self.radius, self.smoothing, self.seed = radius, smoothing, seed

    @torch.no_grad()
    def derain(self, rainy: Tensor, advance: Callable[[float], object] = lambda share: None) -> Tensor:
        image = rainy.float().clamp(0, 1)
        luminance = (image * self.luma).sum(0)
        change = self._background(luminance, advance) - luminance
        return (image + change).clamp(0, 1).to(rainy.dtype)

    def _background(self, luminance: Tensor, advance: Callable[[float], object]) -> Tensor:
        """The luminance (H, W) without rain; what is smaller than a patch, or has odd sides, is continued first."""
        height, width = luminance.shape
        side, step = self.settings.side, self.settings.step
        observed = mirror_to_multiple(luminance, step)
        if min(observed.shape) < side:
            observed = mirror_to_multiple(observed, side)
        base = guided_smooth(observed[None, None], self.radius, self.smoothing)[0, 0]
        generator = torch.Generator().manual_seed(self.seed)
        return separate(observed, base, self.settings, generator, advance).background[:height, :width]


def _check_counts(**counts: int) -> None:
    for key, count in counts.items():
        _check(count >= 1, f"{key}={count}", "at least 1")


def _check(right: bool, what: str, cure: str) -> None:
    if not right:
        raise SlackoffError(f"network.{what} must be {cure}")
