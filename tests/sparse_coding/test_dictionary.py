import torch

from slackoff.networks.sparse_coding import Codes, learn_dictionary, pursue, sweep_atoms


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


def test_the_error_falls_from_sweep_to_sweep():
    _, signals = planted(400, 40, 16, 4, 3)
    dictionaries = [learn_dictionary(signals, 40, 4, sweeps, torch.Generator().manual_seed(5)) for sweeps in range(6)]
    errors = [error(signals, one, pursue(signals, one, 4)) for one in dictionaries]
    assert errors[5] < 0.5 * errors[0]
    assert sorted(errors, reverse=True) == errors


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
