"""DSC and what it is made of: pursuit, dictionaries, patches, screen blending. The authors' code is obfuscated."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import OrthogonalMatchingPursuit, orthogonal_mp_gram

from slackoff.networks import DSC, dsc
from slackoff.networks.dsc import (
    Codes,
    across_streaks,
    learn_dictionary,
    pursue,
    rain_scores,
    split_atoms,
    sweep_atoms,
    unblend,
    update_layer,
)
from slackoff.networks.layers import guided_smooth

SMALL = {"atoms": 96, "rain_atoms": 32, "samples": 600, "rounds": 2, "sweeps": 2}


def smooth_image(side: int = 64) -> torch.Tensor:
    down, right = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    grey = 0.45 + 0.25 * (3 * right + down).sin() * (2 * down).cos()
    return torch.stack([grey, grey * 0.8, grey * 0.6 + 0.2])


def rainy_image(side: int = 64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth image and nearly vertical bright streaks of 12 px over it."""
    clean, rain = smooth_image(side), torch.zeros(side, side)
    for top, left in np.random.default_rng(seed).integers(0, side - 13, (40, 2)):
        for step in range(12):
            rain[top + step, left + step // 6] = 0.35
    return clean, clean + rain - clean * rain


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


def test_streaks_are_taken_out_of_a_smooth_image():
    clean, rainy = rainy_image()
    output = DSC(**SMALL)(rainy[None])[0]
    assert psnr(output, clean) > psnr(rainy, clean) + 1
    assert output.min() >= 0
    assert output.max() <= 1


def test_an_image_without_rain_is_nearly_unchanged():
    clean = smooth_image()
    assert psnr(DSC(**SMALL)(clean[None])[0], clean) > 35


def test_layers_blend_to_the_image_and_share_no_atom():
    observed = rainy_image()[1].mean(0)
    network = DSC(**SMALL | {"rounds": 3})
    base = guided_smooth(observed[None, None], 7, 1.0)[0, 0]
    shares: list[float] = []
    layers = network.separate(observed, base, torch.Generator().manual_seed(0), shares.append)
    blended = layers.background + layers.rain - layers.background * layers.rain
    torch.testing.assert_close(blended, observed, atol=1e-6, rtol=0)
    assert layers.rain.min() >= 0
    assert layers.rain.max() > 0.1
    assert layers.background.min() >= 0
    assert (len(layers.background_atoms), len(layers.rain_atoms)) == (96, 32)
    assert (layers.background_atoms @ layers.rain_atoms.T).abs().max() < 1 - 1e-4
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_chroma_is_kept():
    rainy = rainy_image()[1]
    change = DSC(**SMALL)(rainy[None])[0] - rainy
    assert change.abs().max() > 0.03
    torch.testing.assert_close(change[0], change[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(change[0], change[2], atol=1e-6, rtol=0)


def test_equal_for_a_seed_and_for_images_side_by_side():
    torch.manual_seed(1)
    first, second = rainy_image(40, 1)[1], rainy_image(40, 2)[1]
    both = DSC(**SMALL)(torch.stack([first, second]))
    torch.manual_seed(2)
    assert torch.equal(DSC(**SMALL)(second[None])[0], both[1])
    assert not torch.equal(DSC(**SMALL, seed=1)(first[None])[0], both[0])


def test_black_and_white_stay():
    for value in (0.0, 1.0):
        image = torch.full((1, 3, 20, 20), value)
        torch.testing.assert_close(DSC(**SMALL)(image), image, atol=1e-6, rtol=0)


def test_nothing_to_train_and_nothing_to_count():
    network = DSC()
    assert list(network.parameters()) == []
    assert network.state_dict() == {}
    assert network.to("meta")(torch.empty(2, 3, 9, 9, device="meta")).shape == (2, 3, 9, 9)


def stripes(angle: float, size: int, period: float = 6.0) -> torch.Tensor:
    """A wave whose values change in a direction of so many radians from the horizontal, downwards."""
    down, right = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (2 * math.pi / period * (right * math.cos(angle) + down * math.sin(angle))).sin()


@pytest.mark.parametrize("degrees", [-40, -20, 0, 10, 33])
def test_the_direction_across_streaks_is_found_beside_a_horizon(degrees):
    detail = stripes(math.radians(degrees), 96, period=20.0)
    detail[40:] += 5 * (torch.arange(96) >= 0)  # a strong horizontal edge is no rain
    assert math.degrees(across_streaks(detail)) == pytest.approx(degrees, abs=2.6)


def test_atoms_of_the_streaks_direction_score_highest():
    across = math.radians(15)
    waves = [stripes(math.radians(degrees), 16) for degrees in (15, 60, -75)]
    weak = stripes(across, 16, period=30.0)
    atoms = torch.stack([wave - wave.mean() for wave in (*waves, weak)]).flatten(1)
    atoms /= atoms.norm(dim=1, keepdim=True)
    scores = rain_scores(atoms, 16, across)
    expected = [math.cos(math.radians(degrees - 15)) ** 2 for degrees in (15, 60, -75)]
    assert scores[0] > 0.9
    assert (scores[:3] / scores[0]).tolist() == pytest.approx(expected, abs=0.08)
    assert scores[3] < 0.4 * scores[0]
    background, rain = split_atoms(atoms, 16, across, 1)
    assert torch.equal(rain, atoms[:1])
    assert torch.equal(background, atoms[1:])


def planted(signals: int, atoms: int, size: int, sparsity: int, seed: int):
    """A dictionary, and signals that are sums of a few of its atoms."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(atoms, size, generator=generator, dtype=torch.float64)
    dictionary /= dictionary.norm(dim=1, keepdim=True)
    chosen = torch.rand(signals, atoms, generator=generator).topk(sparsity).indices
    weights = torch.randn(signals, sparsity, generator=generator, dtype=torch.float64)
    return dictionary, Codes(chosen, weights).signals(dictionary)


def error(signals: torch.Tensor, dictionary: torch.Tensor, codes: Codes) -> float:
    return float((signals - codes.signals(dictionary)).square().sum())


def test_a_planted_dictionary_is_found_again():
    truth, signals = planted(1500, 30, 20, 3, 0)
    found = learn_dictionary(signals, 30, 3, 40, torch.Generator().manual_seed(1))
    assert torch.allclose(found.norm(dim=1), torch.ones(30, dtype=torch.float64))
    nearest = (truth @ found.T).abs().max(1).values
    assert (nearest > 0.99).double().mean() >= 0.9


def test_one_atom_becomes_the_singular_vector():
    """With an atom alone, sweeps are power iterations."""
    signals = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signals += 3 * torch.randn(50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    atom = learn_dictionary(signals, 1, 1, 60, torch.Generator().manual_seed(2))
    first = torch.linalg.svd(signals).Vh[0]
    assert abs(float(atom[0] @ first)) > 1 - 1e-9


def test_a_sweep_fits_atoms_and_weights_to_what_the_others_leave():
    """Two atoms on signals of their own: each becomes its signals' direction in one step from rank-one data."""
    directions = torch.eye(4, dtype=torch.float64)[:2]
    signals = torch.tensor([[2.0], [-3.0]], dtype=torch.float64) * directions
    start = torch.tensor([[0.8, 0.0, 0.6, 0.0], [0.0, 0.6, 0.0, 0.8]], dtype=torch.float64)
    after = sweep_atoms(signals, start, pursue(signals, start, 1))
    torch.testing.assert_close(after.abs(), directions)


def test_an_unused_atom_becomes_the_signal_that_is_coded_worst():
    signals = torch.tensor([[1.0, 0, 0], [0, 5.0, 0.0], [0, 0, 2.0]])
    start = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])
    after = sweep_atoms(signals, start, pursue(signals, start, 1))
    torch.testing.assert_close(after, torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))


def test_too_few_signals_leave_random_unit_atoms():
    signals = torch.cat([torch.zeros(3, 5), torch.eye(5)[:2]])
    found = learn_dictionary(signals, 7, 2, 2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(7))
    assert found.isfinite().all()


def by_hand(image: np.ndarray, side: int, step: int, make) -> np.ndarray:
    total, holders = np.zeros_like(image), np.zeros_like(image)
    for top in range(0, image.shape[0] - side + 1, step):
        for left in range(0, image.shape[1] - side + 1, step):
            place = np.s_[top : top + side, left : left + side]
            total[place] += make(image[place])
            holders[place] += 1
    return total / holders


@pytest.mark.parametrize(("size", "side", "step"), [((16, 16), 16, 2), ((18, 40), 16, 2), ((13, 10), 4, 3)])
@pytest.mark.parametrize("band", [1, 10, 10_000])
def test_patches_come_apart_and_together_again(monkeypatch, size, side, step, band):
    monkeypatch.setattr(dsc, "BAND_PATCHES", band)
    image = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    told: list[int] = []
    same = dsc.average_patches(image, side, step, lambda rows: rows, told.append)
    torch.testing.assert_close(same, image, atol=1e-12, rtol=0)
    assert sum(told) == dsc.count_patches(size, side, step)
    centred = dsc.average_patches(image, side, step, lambda rows: rows.square() - rows.mean(1, keepdim=True))
    expected = by_hand(image.numpy(), side, step, lambda patch: patch**2 - patch.mean())
    np.testing.assert_allclose(centred.numpy(), expected, atol=1e-12)


def test_sampled_patches_are_different_places_of_the_grid():
    image = torch.arange(20 * 30.0).view(20, 30)
    found = dsc.sample_patches(image, 4, 3, 40, torch.Generator().manual_seed(0)).view(-1, 4, 4)
    corners = found[:, 0, 0].int().tolist()
    assert len(set(corners)) == 40
    for patch, corner in zip(found, corners, strict=True):
        top, left = divmod(corner, 30)
        assert (top % 3, left % 3) == (0, 0)
        assert torch.equal(patch, image[top : top + 4, left : left + 4])
    assert len(dsc.sample_patches(image, 4, 3, 10_000, torch.Generator())) == 6 * 9


def unit_rows(count: int, size: int, seed: int) -> torch.Tensor:
    rows = torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True)


def dense(codes, atoms: int) -> np.ndarray:
    return torch.zeros(len(codes.atoms), atoms, dtype=codes.weights.dtype).scatter_add(1, *codes).numpy()


@pytest.mark.parametrize(("size", "atoms", "sparsity"), [(16, 40, 1), (16, 40, 5), (30, 24, 8)])
def test_codes_are_those_of_scikit_learn(size, atoms, sparsity):
    dictionary, signals = unit_rows(atoms, size, 1), 3 * unit_rows(60, size, 2)
    found = dense(pursue(signals, dictionary, sparsity), atoms)
    gram, products = (dictionary @ dictionary.T).numpy(), (dictionary @ signals.T).numpy()
    np.testing.assert_allclose(found, orthogonal_mp_gram(gram, products, n_nonzero_coefs=sparsity).T, atol=1e-9)
    plain = OrthogonalMatchingPursuit(n_nonzero_coefs=sparsity, fit_intercept=False)
    plain.fit(dictionary.T.numpy(), signals.T.numpy())
    np.testing.assert_allclose(found, plain.coef_, atol=1e-9)


def test_what_is_coded_wholly_or_is_nothing_takes_no_further_atoms():
    dictionary = unit_rows(10, 12, 5)
    signals = torch.stack([2 * dictionary[7], torch.zeros(12, dtype=torch.float64), dictionary[1] - 4 * dictionary[2]])
    codes = pursue(signals, dictionary, 4)
    assert [(row != 0).sum().item() for row in codes.weights][:2] == [1, 0]
    assert dense(codes, 10)[0, 7] == pytest.approx(2)
    torch.testing.assert_close(codes.signals(dictionary)[:2], signals[:2])


def test_atoms_that_are_equal_do_no_harm():
    dictionary = unit_rows(3, 6, 6).repeat(3, 1)
    signals = unit_rows(20, 6, 7)
    codes = pursue(signals, dictionary, 6)
    best = torch.linalg.lstsq(dictionary[:3].T, signals.T).solution.T @ dictionary[:3]
    torch.testing.assert_close(codes.signals(dictionary), best, atol=1e-9, rtol=0)
    assert codes.weights.isfinite().all()


def test_an_atom_that_is_refused_is_not_tried_again():
    """The first two atoms differ by less than rounding allows, and what is left is nearer to them than to the third."""
    dictionary = torch.eye(3, dtype=torch.float64)
    dictionary[1] = torch.tensor([1.0, 1e-7, 0.0])
    signal = torch.tensor([[5.0, 0.1, 1e-9]], dtype=torch.float64)
    assert dense(pursue(signal, dictionary, 3), 3)[0, 2] == pytest.approx(1e-9, rel=1e-6)


@pytest.mark.parametrize("weight", [0.01, 1.0, 3.0])
def test_updates_are_the_minimisers_over_the_unit_interval(weight):
    draw = np.random.default_rng(0).uniform
    observed, other, coded = draw(0, 1, 60), draw(0, 1, 60), draw(-1, 2, 60)
    found = update_layer(*(torch.from_numpy(values) for values in (observed, other, coded)), weight).numpy()
    for o, b, c, r in zip(observed, other, coded, found, strict=True):

        def cost(x: float, o=o, b=b, c=c) -> float:
            return (o - (b + x - b * x)) ** 2 + weight * (x - c) ** 2

        best = minimize_scalar(cost, bounds=(0, 1), method="bounded", options={"xatol": 1e-10})
        nearest = min((0.0, 1.0, best.x), key=cost)
        assert r == pytest.approx(nearest, abs=1e-6)


def test_unblended_layers_blend_to_the_image():
    grid = torch.linspace(0, 1, 41, dtype=torch.float64)
    observed, rain = (values.contiguous() for values in torch.meshgrid(grid, grid, indexing="ij"))
    background, kept = unblend(observed, rain)
    torch.testing.assert_close(background + kept - background * kept, observed, atol=1e-12, rtol=0)
    assert background.min() >= 0
    assert background.max() <= 1
    assert torch.equal(kept, rain.minimum(observed).clamp(max=0.999))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50), (17, 31)])
def test_any_size_is_kept_by_dsc(height, width):
    output = DSC(**SMALL)(torch.rand(1, 3, height, width))
    assert output.shape == (1, 3, height, width)
    assert output.isfinite().all()
