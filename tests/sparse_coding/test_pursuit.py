"""Batched OMP against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import OrthogonalMatchingPursuit, orthogonal_mp_gram

from slackoff.networks.sparse_coding import pursue


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


def test_float32_finds_the_same_atoms():
    dictionary, signals = unit_rows(64, 256, 3), unit_rows(200, 256, 4)
    exact, single = pursue(signals, dictionary, 5), pursue(signals.float(), dictionary.float(), 5)
    assert (exact.atoms == single.atoms).all(1).float().mean() > 0.98
    torch.testing.assert_close(
        single.signals(dictionary.float()).double(), exact.signals(dictionary), atol=1e-2, rtol=0
    )


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
