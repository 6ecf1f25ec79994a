"""Dictionaries learned from signals by K-SVD."""

from collections.abc import Callable

import torch
from torch import Tensor

from slackoff.sparse_coding.pursuit import Codes, pursue


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
    dictionary = _start(signals, atoms, generator)
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
    order, edges = _users(codes, len(dictionary))
    signal_of, weight_of = order // codes.atoms.shape[1], codes.weights.flatten()[order]
    for atom in range(len(dictionary)):
        own = slice(edges[atom], edges[atom + 1])
        users, weights = signal_of[own], weight_of[own]
        if len(users) == 0:
            _replace(dictionary, atom, signals, errors)
            continue
        own_part = left[users] + weights[:, None] * dictionary[atom]
        direction = weights @ own_part
        norm = torch.linalg.vector_norm(direction)
        if norm > 0:
            dictionary[atom] = direction / norm
        weights = own_part @ dictionary[atom]
        left[users] = own_part - weights[:, None] * dictionary[atom]
    return dictionary


def _users(codes: Codes, atoms: int) -> tuple[Tensor, list[int]]:
    """The places in the flat codes with a weight, by atom, and where each atom's places begin."""
    places = codes.weights.flatten().nonzero()[:, 0]
    of_place = codes.atoms.flatten()[places]
    order = places[of_place.argsort(stable=True)]
    counts = torch.bincount(of_place, minlength=atoms)
    return order, [0, *counts.cumsum(0).tolist()]


def _replace(dictionary: Tensor, atom: int, signals: Tensor, errors: Tensor) -> None:
    worst = errors.argmax()
    norm = torch.linalg.vector_norm(signals[worst])
    if norm > 0 and errors[worst] > 0:
        dictionary[atom] = signals[worst] / norm
        errors[worst] = 0  # the next one takes another signal


def _start(signals: Tensor, atoms: int, generator: torch.Generator) -> Tensor:
    norms = torch.linalg.vector_norm(signals, dim=1)
    usable = (norms > torch.finfo(signals.dtype).eps ** 0.5).nonzero()[:, 0]
    chosen = usable[torch.randperm(len(usable), generator=generator)[:atoms].to(usable.device)]
    random = torch.randn(atoms - len(chosen), signals.shape[1], generator=generator).to(signals)
    start = torch.cat([signals[chosen], random])
    return start / torch.linalg.vector_norm(start, dim=1, keepdim=True)
