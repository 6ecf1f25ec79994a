import numpy as np
import pytest

from slackoff.images.bank import hash_uint64, splitmix64

# First outputs of the generator started at 1234567, as published for checking implementations of splitmix64.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_splitmix64_gives_the_published_numbers():
    step = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * step) % 2**64 for k in range(5)], np.uint64)
    assert splitmix64(states).tolist() == PUBLISHED


def test_a_chain_of_parts_is_a_chain_of_steps_in_plain_integers():
    def step(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        return state ^ (state >> 31)

    expected = [step(step(step(0 ^ 7) ^ 11) ^ part) for part in range(4)]
    assert hash_uint64(7, 11, np.arange(4)).tolist() == expected


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**64 + 5, 10**30])
def test_any_integer_is_a_seed(seed):
    assert hash_uint64(seed).tolist() == hash_uint64(seed % 2**64).tolist()


def test_parts_broadcast_and_their_order_matters():
    assert hash_uint64(1, np.arange(3)[:, None], np.arange(5)[None]).shape == (3, 5)
    assert hash_uint64(1, 2).tolist() != hash_uint64(2, 1).tolist()


def test_bits_are_balanced():
    words = hash_uint64(3, np.arange(20_000))
    share = [(np.count_nonzero((words >> np.uint64(bit)) & np.uint64(1)) / words.size) for bit in range(64)]
    assert np.abs(np.array(share) - 0.5).max() < 5 * 0.5 / np.sqrt(words.size)
