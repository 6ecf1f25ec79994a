from pathlib import Path

import moss_reference as reference
import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

from slackoff.errors import SlackoffError
from slackoff.networks.moss import Memory, assign, cosine_scores, read, updated

ITEMS, CHANNELS = 9, 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def memory(seed: int = 1, **options) -> Memory:
    """In float64, as the reference is."""
    made = Memory(ITEMS, CHANNELS, **options).double()
    made.table.data.copy_(numbers(ITEMS, CHANNELS, seed=seed))
    return made


def flat(images: Tensor) -> np.ndarray:
    """(N, C, h, w) to (N h w, C), image by image and row by row."""
    return np.concatenate([image.reshape(len(image), -1).T for image in images.detach().numpy()])


TABLE, ENCODINGS = numbers(ITEMS, CHANNELS), numbers(6, CHANNELS, seed=2)


def test_cosines_and_assignments_are_those_of_the_reference():
    expected = reference.cosines(ENCODINGS.numpy(), TABLE.numpy())
    np.testing.assert_allclose(cosine_scores(ENCODINGS, TABLE), expected, atol=1e-14)
    assigned = assign(ENCODINGS, TABLE)
    chosen = reference.assignments(ENCODINGS.numpy(), TABLE.numpy())
    assert assigned.counts.tolist() == [chosen.count(item) for item in range(ITEMS)]
    for item in range(ITEMS):
        given = ENCODINGS[[n for n, to in enumerate(chosen) if to == item]]
        torch.testing.assert_close(assigned.sums[item], given.sum(dim=0))


def test_an_encoding_goes_to_the_item_of_its_direction_whatever_their_lengths():
    table = torch.tensor([[100.0, 1.0], [0.0, 0.01], [-1.0, 0.0]])
    encodings = torch.tensor([[1e-3, 1e-5], [3.0, 50.0], [-40.0, 1.0], [0.5, 0.4]])
    assert assign(encodings, table).counts.tolist() == [2, 1, 1]


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("unassigned", ["shrink", "freeze"])
def test_the_update_is_that_of_the_reference(decay, unassigned):
    found = updated(TABLE, assign(ENCODINGS, TABLE), decay, unassigned)
    expected = reference.update(TABLE.numpy(), ENCODINGS.numpy(), decay, unassigned)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("unassigned", "factor"), [("shrink", 0.9), ("freeze", 1.0)])
def test_items_without_an_encoding_shrink_or_stay(unassigned, factor):
    assigned = assign(ENCODINGS, TABLE)
    empty = assigned.counts == 0
    assert 0 < empty.sum() < ITEMS
    moved = updated(TABLE, assigned, 0.9, unassigned)
    torch.testing.assert_close(moved[empty], factor * TABLE[empty])
    assert (moved[~empty] != TABLE[~empty]).all()


def test_decay_0_puts_the_means_in_the_place_of_the_items_and_1_keeps_them():
    assigned = assign(ENCODINGS, TABLE)
    taken = assigned.counts > 0
    replaced = updated(TABLE, assigned, 0.0)
    means = assigned.sums[taken] / assigned.counts[taken, None]
    torch.testing.assert_close(replaced[taken], means, rtol=2e-6, atol=0)
    assert (replaced[~taken] == 0).all()
    assert torch.equal(updated(TABLE, assigned, 1.0), TABLE)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_the_reading_is_that_of_the_reference(temperature):
    expected = reference.read(ENCODINGS.numpy(), TABLE.numpy(), temperature)
    np.testing.assert_allclose(read(ENCODINGS, TABLE, temperature), expected, rtol=1e-12)


def test_no_weight_is_more_than_e_squared_times_another():
    """Read from a table of unit vectors, whose mean is the weights themselves; encodings along +1 and -1 items."""
    table = torch.eye(4, dtype=torch.float64)
    weights = read(torch.tensor([[1.0, 0, 0, 0], [-3.0, 0, 0, 0]]).double(), table)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2).double())
    assert (weights[0, 0] / weights[0, 1]).item() == pytest.approx(np.e)
    opposite = torch.cat([table, -table])
    spread = torch.softmax(cosine_scores(table, opposite), dim=1)
    assert (spread.amax(dim=1) / spread.amin(dim=1)).tolist() == pytest.approx([np.e**2] * 4)
    drawn = reference.weights(numbers(500, CHANNELS, seed=5).numpy(), TABLE.numpy())
    assert (drawn.max(axis=1) / drawn.min(axis=1)).max() <= np.e**2


def test_training_updates_first_and_reads_the_new_table():
    module, z = memory(decay=0.4).train(), numbers(3, CHANNELS, 2, 4, seed=3)
    table = reference.update(module.table.numpy(), flat(z), 0.4)
    found = module(z)
    assert found.shape == z.shape
    np.testing.assert_allclose(module.table, table, rtol=1e-12)
    np.testing.assert_allclose(flat(found), reference.read(flat(z), table), rtol=1e-12)


@pytest.mark.parametrize("update_in_eval", [False, True])
def test_evaluation_stores_nothing(update_in_eval):
    module, z = memory(decay=0.4, update_in_eval=update_in_eval).eval(), numbers(3, CHANNELS, 2, 4, seed=3)
    before = module.table.numpy().copy()
    found = module(z)
    assert np.array_equal(module.table.numpy(), before)
    table = reference.update(before, flat(z), 0.4) if update_in_eval else before
    np.testing.assert_allclose(flat(found), reference.read(flat(z), table), rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_softmax_alone(training):
    """Against differences of the reference that reads one table, whatever the encodings."""
    module, z = memory(decay=0.4).train(training), numbers(1, CHANNELS, 2, 3, seed=3).requires_grad_()
    slope = numbers(6, CHANNELS, seed=4).numpy()
    table = reference.update(module.table.numpy(), flat(z), 0.4) if training else module.table.numpy().copy()
    (torch.from_numpy(slope.T.reshape(1, CHANNELS, 2, 3)) * module(z)).sum().backward()
    expected = np.zeros((6, CHANNELS))
    for n in range(6):
        for c in range(CHANNELS):
            step = np.zeros((6, CHANNELS))
            step[n, c] = 1e-6
            ends = [(slope * reference.read(flat(z) + sign * step, table)).sum() for sign in (1, -1)]
            expected[n, c] = (ends[0] - ends[1]) / 2e-6
    assert np.abs(expected).min() > 1e-4
    np.testing.assert_allclose(flat(z.grad), expected, atol=1e-8)
    assert module.table.grad is None
    assert not module.table.requires_grad


@pytest.mark.parametrize("modes", [(True, True), (False, True)])
def test_a_reading_keeps_its_table_until_its_backward_pass(modes):
    first, second = (numbers(2, CHANNELS, 2, 2, seed=seed).requires_grad_() for seed in (3, 4))
    together, apart = memory(decay=0.4), memory(decay=0.4)
    sum(together.train(mode)(z).square().sum() for mode, z in zip(modes, (first, second), strict=True)).backward()
    found = [first.grad, second.grad]
    first.grad = second.grad = None
    for mode, z in zip(modes, (first, second), strict=True):
        apart.train(mode)(z).square().sum().backward()
    assert all(torch.equal(a, z.grad) for a, z in zip(found, (first, second), strict=True))


def test_under_autocast_update_and_reading_are_in_full_precision():
    z = numbers(2, CHANNELS, 8, 8, seed=3)
    for dtype in (torch.float32, torch.bfloat16):
        given = z.to(dtype)
        half, full = memory(decay=0.4).float(), memory(decay=0.4).float()
        with torch.autocast("cpu", torch.bfloat16):
            found = half(given)
        expected = full(given.float())
        assert half.table.dtype == torch.float32
        assert torch.equal(half.table, full.table)
        assert found.dtype == dtype
        assert torch.equal(found, expected.to(dtype))


def trained(module: Memory, batches: list[Tensor]) -> Tensor:
    for batch in batches:
        module.train()(batch)
    return module.table.detach()


def run_rank(rank: int, rendezvous: str, shares: list[list[int]], folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=len(shares))
    module = memory(decay=0.4, update_in_eval=True)
    table = trained(module, [numbers(5, CHANNELS, 3, 3, seed=seed)[shares[rank]] for seed in range(3)])
    if rank == 0:  # measures alone; waits for nobody
        module.eval()(numbers(1, CHANNELS, 3, 3))
    torch.save(table, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_hold_the_table_of_one(tmp_path):
    """They share the images unequally, and three updates follow one another."""
    shares = [[0, 1, 2], [3, 4]]
    rendezvous = (tmp_path / "rendezvous").as_uri()
    torch.multiprocessing.spawn(run_rank, (rendezvous, shares, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    alone = trained(memory(decay=0.4), [numbers(5, CHANNELS, 3, 3, seed=seed) for seed in range(3)])
    torch.testing.assert_close(first, alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decay": -0.1}, "network.memory_decay=-0.1 must lie in [0, 1]"),
        ({"decay": 1.01}, "network.memory_decay=1.01 must lie in [0, 1]"),
        ({"decay": float("nan")}, "network.memory_decay=nan must lie in [0, 1]"),
        ({"temperature": 0}, "network.memory_temperature=0 must be above 0"),
        ({"unassigned": "drop"}, "network.memory_unassigned=drop is not known: choose one of shrink, freeze"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError) as refused:
        Memory(ITEMS, CHANNELS, **options)
    assert str(refused.value) == sentence
