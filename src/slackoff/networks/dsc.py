"""DSC: discriminative sparse coding takes an image apart into a background and a rain layer. Nothing is trained.

In turn: overlapping patches, a dictionary learned from them by K-SVD, codes by orthogonal matching pursuit, the atoms
that are rain (those with streaks in the direction of the image's rain), and the pixels of two layers under the screen
blend, O = B + R - B * R, everything in [0, 1].
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.networks.interfaces import PerImageMethod
from slackoff.networks.layers import check_positive, check_sizes, guided_smooth, mirror_to_multiple

BAND_PATCHES = 2048
"""About how many patches are held at once."""


def patch_rows(image: Tensor, side: int, step: int) -> Tensor:
    """All patches of an image as a view: (rows, columns, side, side).

    Args:
        image: (H, W), at least `side` a side.
        side: of a patch, in pixels.
        step: between neighbouring patches, in pixels.
    """
    return image.unfold(0, side, step).unfold(1, side, step)


def sample_patches(image: Tensor, side: int, step: int, count: int, generator: torch.Generator) -> Tensor:
    """Patches from random places, each at most once: (at most `count`, side * side).

    Args:
        image, side, step: as for `patch_rows`.
        count: how many; all if there are fewer.
        generator: on the CPU.
    """
    rows = patch_rows(image, side, step)
    columns = rows.shape[1]
    places = torch.randperm(rows.shape[0] * columns, generator=generator)[:count].to(image.device)
    return rows[places // columns, places % columns].flatten(1)


def count_patches(size: Sequence[int], side: int, step: int) -> int:
    """How many patches an image of (H, W) has."""
    return ((size[0] - side) // step + 1) * ((size[1] - side) // step + 1)


def average_patches(
    image: Tensor,
    side: int,
    step: int,
    coder: Callable[[Tensor], Tensor],
    advance: Callable[[int], object] = lambda patches: None,
) -> Tensor:
    """Replace every patch of an image by what a function makes of it; a pixel is the mean of all patches that hold it.

    With the identity as the function, the image itself. Patches are held in bands of `BAND_PATCHES` or one row of
    them, so memory grows with the width of the image and not with its height.

    Args:
        image: (H, W); `step` divides H - side and W - side, so that every pixel lies in a patch.
        side, step: as for `patch_rows`; `step` is at most `side`.
        coder: (P, side * side) to the same.
        advance: told how many patches have been done since it was last told.
    """
    rows = patch_rows(image, side, step)
    total = torch.zeros_like(image)
    band = max(1, BAND_PATCHES // rows.shape[1])
    for first in range(0, rows.shape[0], band):
        chunk = rows[first : first + band]
        coded = coder(chunk.reshape(-1, side * side))
        height = (chunk.shape[0] - 1) * step + side
        top = first * step
        total[top : top + height] += F.fold(coded.T[None], (height, image.shape[1]), side, stride=step)[0, 0]
        advance(len(coded))
    # How many patches along each axis hold each of its pixels.
    window = image.new_ones(1, 1, side)
    down, across = (F.conv_transpose1d(image.new_ones(1, 1, count), window, stride=step) for count in rows.shape[:2])
    return total / down[0, 0, :, None] / across[0, 0]


class Codes(NamedTuple):
    """Sparse codes: each signal is a weighted sum of a few atoms.

    ``atoms``: int64, (N, T), the chosen atoms of each signal; ``weights``: float, (N, T). An atom that a signal had no
    need of has weight 0.
    """

    atoms: Tensor
    weights: Tensor

    def signals(self, dictionary: Tensor) -> Tensor:
        """The weighted sums: (N, d), for a dictionary (K, d), whose rows are never gathered all."""
        return F.embedding_bag(self.atoms, dictionary, per_sample_weights=self.weights, mode="sum")


def pursue(signals: Tensor, dictionary: Tensor, sparsity: int) -> Codes:
    """Code signals by orthogonal matching pursuit: the best atom for what is left, then least squares on all chosen.

    Batch-OMP with a growing Cholesky factor (Rubinstein, Zibulevsky, Elad, Technion 2008), all signals in step. A
    signal stops early when nothing, up to rounding, is left of it.

    Args:
        signals: float, (N, d).
        dictionary: atoms of unit norm, (K, d).
        sparsity: atoms of a signal at most; no more than K.
    """
    gram = dictionary @ dictionary.T
    start = signals @ dictionary.T
    count = len(signals)
    tiny = 100 * torch.finfo(signals.dtype).eps
    floor = tiny * torch.linalg.vector_norm(signals, dim=1)
    codes = Codes(signals.new_zeros((count, 0), dtype=torch.int64), signals.new_zeros(count, 0))
    factor = signals.new_zeros(count, sparsity, sparsity)
    right = signals.new_zeros(count, 0)
    left = start.clone()  # one large tensor, written anew in each round
    for size in range(sparsity):
        strength, best = left.abs_().scatter_(1, codes.atoms, -1.0).max(1)
        used = strength > floor
        seen = gram[best[:, None], codes.atoms]
        row = torch.linalg.solve_triangular(factor[:, :size, :size], seen[..., None], upper=False)[..., 0]
        rest = 1 - row.square().sum(1)
        used &= rest > tiny  # what depends on the chosen atoms adds nothing
        factor[:, size, :size] = torch.where(used[:, None], row, 0)
        factor[:, size, size] = torch.where(used, rest, 1).sqrt()
        chosen = start.gather(1, best[:, None]) * used[:, None]
        right = torch.cat([right, chosen], 1)
        atoms = torch.cat([codes.atoms, best[:, None]], 1)
        lower = factor[:, : size + 1, : size + 1]
        weights = torch.cholesky_solve(right[..., None], lower)[..., 0] if size else right
        codes = Codes(atoms, weights)
        if size + 1 < sparsity:
            torch.sub(start, codes.signals(gram), out=left)
    return codes


def learn_dictionary(
    signals: Tensor,
    atoms: int,
    sparsity: int,
    sweeps: int,
    generator: torch.Generator,
    advance: Callable[[int], object] = lambda sweep: None,
) -> Tensor:
    """Learn a dictionary by K-SVD (Aharon, Elad, Bruckstein, IEEE TSP 2006).

    It starts with randomly chosen signals, and with random directions where there are too few of them.

    Args:
        signals: float, (N, d).
        atoms: how many.
        sparsity: atoms of a signal.
        sweeps: of coding all signals and fitting all atoms.
        generator: on the CPU.
        advance: told the number of the sweep after each.

    Returns:
        Atoms of unit norm: (atoms, d).
    """
    norms = torch.linalg.vector_norm(signals, dim=1)
    usable = (norms > torch.finfo(signals.dtype).eps ** 0.5).nonzero()[:, 0]
    chosen = usable[torch.randperm(len(usable), generator=generator)[:atoms].to(usable.device)]
    random = torch.randn(atoms - len(chosen), signals.shape[1], generator=generator).to(signals)
    dictionary = torch.cat([signals[chosen], random])
    dictionary = dictionary / torch.linalg.vector_norm(dictionary, dim=1, keepdim=True)
    for sweep in range(sweeps):
        dictionary = sweep_atoms(signals, dictionary, pursue(signals, dictionary, sparsity))
        advance(sweep)
    return dictionary


def sweep_atoms(signals: Tensor, dictionary: Tensor, codes: Codes) -> Tensor:
    """Fit every atom in turn, with its weights, to what the others leave of the signals that use it.

    The approximate K-SVD (Rubinstein, Zibulevsky, Elad, Technion 2008): one least-squares fit of the atom and one of
    its weights stand for the singular vector. The squared error of signals and codes never rises. An atom that no
    signal uses becomes the signal that is coded worst.

    Args:
        signals: float, (N, d).
        dictionary: atoms of unit norm, (K, d).
        codes: of the signals; not changed.

    Returns:
        The new atoms, of unit norm: (K, d).
    """
    dictionary = dictionary.clone()
    left = signals - codes.signals(dictionary)
    errors = left.square().sum(1)
    # The places in the flat codes with a weight, by atom, and where each atom's places begin.
    places = codes.weights.flatten().nonzero()[:, 0]
    of_place = codes.atoms.flatten()[places]
    order = places[of_place.argsort(stable=True)]
    edges = [0, *torch.bincount(of_place, minlength=len(dictionary)).cumsum(0).tolist()]
    signal_of, weight_of = order // codes.atoms.shape[1], codes.weights.flatten()[order]
    for atom in range(len(dictionary)):
        own = slice(edges[atom], edges[atom + 1])
        users, weights = signal_of[own], weight_of[own]
        if len(users) == 0:
            worst = errors.argmax()
            norm = torch.linalg.vector_norm(signals[worst])
            if norm > 0 and errors[worst] > 0:
                dictionary[atom] = signals[worst] / norm
                errors[worst] = 0  # the next one takes another signal
            continue
        own_part = left[users] + weights[:, None] * dictionary[atom]
        direction = weights @ own_part
        norm = torch.linalg.vector_norm(direction)
        if norm > 0:
            dictionary[atom] = direction / norm
        weights = own_part @ dictionary[atom]
        left[users] = own_part - weights[:, None] * dictionary[atom]
    return dictionary


_BINS = 36
_STEEPEST = math.pi / 4
"""Rain falls: its streaks lie no further than this from the vertical, so their gradients from the horizontal."""


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and downwards, of all inner pixels: (..., H - 2, W - 2) each."""
    right = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    return right, down


def across_streaks(detail: Tensor) -> float:
    """The direction across the streaks of an image: an angle from the horizontal, in [-pi / 4, pi / 4].

    The highest bin of a histogram of gradient directions, weighted by the gradients' energy. Two circular passes of a
    (1, 2, 1) kernel make it smooth.

    Args:
        detail: (H, W), what of an image may be rain, at least 3 px a side.
    """
    right, down = gradients(detail)
    angle = torch.atan2(down, right) % math.pi
    energy = right.square() + down.square()
    bins = (angle / math.pi * _BINS).long() % _BINS
    histogram = torch.bincount(bins.flatten().cpu(), energy.flatten().double().cpu(), _BINS)
    for _ in range(2):
        histogram = (histogram.roll(1) + 2 * histogram + histogram.roll(-1)) / 4
    centres = (torch.arange(_BINS) + 0.5) * math.pi / _BINS
    centres = torch.where(centres > math.pi / 2, centres - math.pi, centres)
    allowed = histogram.where(centres.abs() <= _STEEPEST, -1.0)
    return float(centres[allowed.argmax()])


def rain_scores(dictionary: Tensor, side: int, across: float) -> Tensor:
    """How much atoms look like rain: the share of gradient energy across the streaks, times the contrast.

    Contrast is the root of the mean gradient energy, relative to that of the strongest atom.

    Args:
        dictionary: atoms of unit norm, (K, side * side).
        side: of a patch, at least 3.
        across: see `across_streaks`.

    Returns:
        (K,), in [0, 1].
    """
    right, down = gradients(dictionary.unflatten(1, (side, side)))
    energy = (right.square() + down.square()).mean((1, 2))
    along_angle = (right * math.cos(across) + down * math.sin(across)).square().mean((1, 2))
    tiny = torch.finfo(dictionary.dtype).tiny
    contrast = (energy / energy.max().clamp(min=tiny)).sqrt()
    return along_angle / energy.clamp(min=tiny) * contrast


def split_atoms(dictionary: Tensor, side: int, across: float, rain_atoms: int) -> tuple[Tensor, Tensor]:
    """The atoms of the background and the `rain_atoms` of the rain, no atom in both."""
    order = rain_scores(dictionary, side, across).argsort(descending=True, stable=True)
    rain = torch.zeros(len(dictionary), dtype=torch.bool, device=dictionary.device)
    rain[order[:rain_atoms]] = True
    return dictionary[~rain], dictionary[rain]


_LARGEST_RAIN = 1 - 1e-3


def update_layer(observed: Tensor, other: Tensor, coded: Tensor, weight: float) -> Tensor:
    """The layer that, with the other one fixed, explains the image and lies close to what was coded of it.

    The minimiser over [0, 1], pixel by pixel, of (O - X - L + X * L)^2 + weight * (X - C)^2 over the layer X, where L
    is the other layer and C what was coded: a parabola in X, so clipping its vertex is exact. The blend is symmetric,
    and the same update is for both layers.

    Args:
        observed: O, in [0, 1].
        other: L, in [0, 1].
        coded: C, of any value.
        weight: above 0.
    """
    free = 1 - other
    return ((free * (observed - other) + weight * coded) / (free.square() + weight)).clamp(0, 1)


def unblend(observed: Tensor, rain: Tensor) -> tuple[Tensor, Tensor]:
    """The background that, with this rain, gives exactly the image, and the rain, no stronger than the image.

    Args:
        observed: O, in [0, 1].
        rain: R, in [0, 1].

    Returns:
        B = (O - R) / (1 - R) in [0, 1], and R, which is at most O and 0.999; O = B + R - B * R holds up to rounding.
    """
    rain = rain.minimum(observed).clamp(max=_LARGEST_RAIN)
    return ((observed - rain) / (1 - rain)).clamp(0, 1), rain


SIDE = 16
"""Of a patch, px."""

SAMPLE_STEP = 3
"""Between the possible places of patches that dictionaries are learned from, px."""


class Layers(NamedTuple):
    """Background and rain, (H, W) in [0, 1] each, and the two dictionaries, (K, side * side)."""

    background: Tensor
    rain: Tensor
    background_atoms: Tensor
    rain_atoms: Tensor


LUMA = (0.299, 0.587, 0.114)  # BT.601


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
        atoms, rain_atoms: non-rain and rain atoms of 16x16 px, the sizes of the two dictionaries.
        sparsity, rain_sparsity: atoms of a patch of the background, and of the rain.
        samples: patches that dictionaries are learned from, at most.
        sweeps: of K-SVD for the first dictionary, before the first round.
        rounds: of coding, pixel update and fitting of both dictionaries.
        step: between the patches that are coded, px.
        weight: of the distance to what was coded, for both layers, against the squared error of the blend; our choice.
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
        check_sizes(sparsity=sparsity, rain_sparsity=rain_sparsity, samples=samples, radius=radius, rounds=rounds)
        check_sizes(sweeps=sweeps)
        check_positive(weight=weight, smoothing=smoothing)
        if atoms < sparsity:
            raise SlackoffError(f"network.atoms={atoms} must be at least sparsity={sparsity}")
        if rain_atoms < rain_sparsity:
            raise SlackoffError(f"network.rain_atoms={rain_atoms} must be at least rain_sparsity={rain_sparsity}")
        if step not in (1, 2, 4, 8, 16):
            raise SlackoffError(f"network.step={step} must be 1, 2, 4, 8 or 16")
        self.atoms, self.rain_atoms, self.sparsity, self.rain_sparsity = atoms, rain_atoms, sparsity, rain_sparsity
        self.samples, self.sweeps, self.rounds, self.step, self.weight = samples, sweeps, rounds, step, weight
        self.radius, self.smoothing, self.seed = radius, smoothing, seed
        self.register_buffer("luma", torch.tensor(LUMA)[:, None, None], persistent=False)  # so it has a device

    @torch.no_grad()
    def derain(self, rainy: Tensor, advance: Callable[[float], object] = lambda share: None) -> Tensor:
        image = rainy.float().clamp(0, 1)
        luminance = (image * self.luma).sum(0)
        # What is smaller than a patch, or has odd sides, is continued first.
        observed = mirror_to_multiple(luminance, self.step)
        if min(observed.shape) < SIDE:
            observed = mirror_to_multiple(observed, SIDE)
        base = guided_smooth(observed[None, None], self.radius, self.smoothing)[0, 0]
        generator = torch.Generator().manual_seed(self.seed)
        background = self.separate(observed, base, generator, advance).background
        change = background[: luminance.shape[0], : luminance.shape[1]] - luminance
        return (image + change).clamp(0, 1).to(rainy.dtype)

    def separate(
        self,
        observed: Tensor,
        base: Tensor,
        generator: torch.Generator,
        advance: Callable[[float], object] = lambda share: None,
    ) -> Layers:
        """Take the luminance of a rainy image apart: O = B + R - B * R.

        Args:
            observed: O, float, (H, W), in [0, 1]; at least `SIDE` a side, and `step` divides what is more than that.
            base: O without what may be rain, such as a smoothed O, (H, W); R is first taken to be what exceeds it.
            generator: on the CPU; decides which patches dictionaries are learned from.
            advance: told the share of the work that has been done since it was last told; the shares add up to 1. The
                work is counted in atoms that are looked for.
        """
        sample_count = min(self.samples, count_patches(observed.shape, SIDE, SAMPLE_STEP))
        patches = count_patches(observed.shape, SIDE, self.step)
        in_rounds = self.rounds * patches + max(0, self.rounds - 1) * sample_count
        total = self.sweeps * sample_count * self.sparsity
        total += in_rounds * (self.sparsity + self.rain_sparsity)

        def progress(count: int, sparsity: int) -> None:
            advance(count * sparsity / total)

        def sampled(layer: Tensor) -> Tensor:
            """Patches to learn from, without their means."""
            patches = sample_patches(layer, SIDE, SAMPLE_STEP, self.samples, generator)
            return patches - patches.mean(1, keepdim=True)

        def coded(layer: Tensor, atoms: Tensor, sparsity: int) -> Tensor:
            """A layer as its atoms give it: (H, W)."""

            def code(patches: Tensor) -> Tensor:
                mean = patches.mean(1, keepdim=True)
                return pursue(patches - mean, atoms, sparsity).signals(atoms) + mean

            return average_patches(layer, SIDE, self.step, code, lambda done: progress(done, sparsity))

        def refitted(layer: Tensor, atoms: Tensor, sparsity: int) -> Tensor:
            """A dictionary after one sweep of K-SVD on its own layer."""
            samples = sampled(layer)
            progress(len(samples), sparsity)
            return sweep_atoms(samples, atoms, pursue(samples, atoms, sparsity))

        background, rain = unblend(observed, (observed - base).clamp(min=0))
        dictionary = learn_dictionary(
            sampled(observed),
            self.atoms + self.rain_atoms,
            self.sparsity,
            self.sweeps,
            generator,
            lambda sweep: progress(sample_count, self.sparsity),
        )
        atoms, rain_atoms = split_atoms(dictionary, SIDE, across_streaks(rain), self.rain_atoms)
        for number in range(self.rounds):
            if number:  # fitted to layers of the round before: after the last round nobody would use them
                atoms = refitted(background, atoms, self.sparsity)
                rain_atoms = refitted(rain, rain_atoms, self.rain_sparsity)
            coded_background = coded(background, atoms, self.sparsity)
            coded_rain = coded(rain, rain_atoms, self.rain_sparsity)
            rain = update_layer(observed, background, coded_rain.clamp(min=0), self.weight)
            background = update_layer(observed, rain, coded_background, self.weight)
        return Layers(*unblend(observed, rain), atoms, rain_atoms)
