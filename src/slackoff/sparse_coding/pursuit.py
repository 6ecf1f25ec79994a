"""Orthogonal matching pursuit of many signals at once."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Codes(NamedTuple):
    """Sparse codes: each signal is a weighted sum of a few atoms.

    ``atoms``: int64, (N, T), the chosen atoms of each signal; ``weights``: float, (N, T). An atom that a signal had no
    need of has weight 0.
    """

    atoms: Tensor
    weights: Tensor

    def signals(self, dictionary: Tensor) -> Tensor:
        """The weighted sums: (N, d), for a dictionary (K, d)."""
        return _weighted_rows(self, dictionary)


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
        row = _solve_lower(factor[:, :size, :size], gram[best[:, None], codes.atoms])
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
            torch.sub(start, _weighted_rows(codes, gram), out=left)
    return codes


def _solve_lower(factor: Tensor, right: Tensor) -> Tensor:
    if right.shape[1] == 0:
        return right
    return torch.linalg.solve_triangular(factor, right[..., None], upper=False)[..., 0]


def _weighted_rows(codes: Codes, rows: Tensor) -> Tensor:
    """Sums of a matrix's rows, which never gathers them all: (N, columns)."""
    return F.embedding_bag(codes.atoms, rows, per_sample_weights=codes.weights, mode="sum")
