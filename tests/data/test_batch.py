import hashlib
from itertools import product

import torch

from slackoff.data.streams import derive_seed


def test_seeds_are_the_recorded_ones():
    """Another value would change every cell that was ever trained."""
    assert derive_seed(0, "batch", 17) == 7908145371716167208
    assert derive_seed(0, "network") == 715385884120655211


def test_a_seed_is_the_first_63_bits_of_a_digest():
    for seed, step in product((0, 1, 12345), (0, 1, 250_000)):
        bits = bin(int(hashlib.sha256(f"{seed}/batch/{step}".encode()).hexdigest(), 16))[2:].zfill(256)
        assert derive_seed(seed, "batch", step) == int(bits[:63], 2)


def test_every_use_has_its_own_seed_and_torch_takes_it():
    seeds = {
        derive_seed(seed, *path) for seed in range(20) for path in [("network",), *(("batch", k) for k in range(50))]
    }
    assert len(seeds) == 20 * 51
    assert 0 <= min(seeds) < max(seeds) < 2**63
    for seed in (min(seeds), max(seeds)):
        assert torch.Generator().manual_seed(seed).initial_seed() == seed
