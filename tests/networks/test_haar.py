import numpy as np
import pytest
import torch

from slackoff.networks.spdnet import haar, inverse_haar


def in_order_of_inverse(bands):
    """From four blocks of C channels, the mean last, to C groups of four, the mean first."""
    return bands.unflatten(1, (4, -1)).roll(1, dims=1).transpose(1, 2).flatten(1, 2)


def one_dimensional(size):
    """Orthonormal Haar matrix: rows of sums, then rows of differences, of neighbours."""
    pairs = np.eye(size // 2)
    return np.concatenate([np.kron(pairs, [1, 1]), np.kron(pairs, [1, -1])]) / np.sqrt(2)


def test_a_cell_becomes_the_recorded_bands():
    cell = torch.tensor([[1.0, 2.0], [5.0, 11.0]])[None, None]
    assert haar(cell).flatten().tolist() == [-6.5, -3.5, 2.5, 9.5]


def test_the_inverse_reads_the_mean_first():
    bands = torch.tensor([9.5, -6.5, -3.5, 2.5]).view(1, 4, 1, 1)
    assert inverse_haar(bands).flatten().tolist() == [1.0, 2.0, 5.0, 11.0]


def test_bands_are_those_of_a_haar_matrix():
    """Rows and columns times the matrix give the four bands as quadrants."""
    picture = np.random.default_rng(0).normal(size=(6, 10))
    quadrants = one_dimensional(6) @ picture @ one_dimensional(10).T
    mean, across, down, both = quadrants[:3, :5], quadrants[:3, 5:], quadrants[3:, :5], quadrants[3:, 5:]
    found = haar(torch.from_numpy(picture)[None, None])[0].numpy()
    np.testing.assert_allclose(found, [down, across, both, mean], atol=1e-12)


def test_the_transform_is_orthonormal():
    basis = torch.eye(3 * 4 * 6, dtype=torch.float64).view(-1, 3, 4, 6)
    matrix = haar(basis).flatten(1).numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(72), atol=1e-12)


def test_the_inverse_is_the_transposed_transform_in_the_order_of_the_original():
    basis = torch.eye(2 * 4 * 4, dtype=torch.float64).view(-1, 2, 4, 4)
    forward = in_order_of_inverse(haar(basis)).flatten(1)
    backward = inverse_haar(torch.eye(32, dtype=torch.float64).view(-1, 8, 2, 2)).flatten(1)
    np.testing.assert_allclose(backward.numpy(), forward.T.numpy(), atol=1e-12)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_even_sizes_come_back(memory_format):
    x = torch.rand(2, 5, 8, 14, dtype=torch.float64).to(memory_format=memory_format)
    torch.testing.assert_close(inverse_haar(in_order_of_inverse(haar(x))), x)


def test_channels_stay_apart_in_each_block():
    x = torch.zeros(1, 3, 2, 2)
    x[0, 1] = 1.0
    assert haar(x).flatten().nonzero().flatten().tolist() == [9 + 1]


def test_odd_sizes_get_a_row_or_column_of_zeros_at_the_end():
    x = torch.rand(1, 2, 5, 7)
    extended = torch.zeros(1, 2, 6, 8)
    extended[..., :5, :7] = x
    assert haar(x).shape == (1, 8, 3, 4)
    torch.testing.assert_close(haar(x), haar(extended))
