"""MOSS and its memory against NumPy, written from the paper's description."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from network_tester import fill, formula_input
from torch import Tensor

from slackoff.networks import MOSS
from slackoff.networks.moss import ConditionalFusion, Memory, assign, read, updated


def cosines(encodings: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(n, C) and (K, C) to (n, K)."""
    lengths = np.linalg.norm(encodings, axis=1)[:, None] * np.linalg.norm(table, axis=1)[None]
    return encodings @ table.T / np.maximum(lengths, 1e-300)


def nearest_items(encodings: np.ndarray, table: np.ndarray) -> list[int]:
    return [int(np.argmax(row)) for row in cosines(encodings, table)]


def update_by_hand(table: np.ndarray, encodings: np.ndarray, decay: float, unassigned: str = "shrink") -> np.ndarray:
    chosen = np.array(nearest_items(encodings, table))
    result = table.copy()
    for item in range(len(table)):
        given = encodings[chosen == item]
        if len(given) == 0 and unassigned == "freeze":
            continue
        mean = given.sum(axis=0) / (len(given) + 1e-6)
        result[item] = decay * table[item] + (1 - decay) * mean
    return result


def read_by_hand(encodings: np.ndarray, table: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    powers = np.exp(cosines(encodings, table) / temperature)
    return powers / powers.sum(axis=1, keepdims=True) @ table


def convolve_by_hand(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(C, H, W) with (D, C, k, k), zeros around the image: (D, H, W)."""
    side = kernel.shape[-1]
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
    taps = [(i, j) for i in range(side) for j in range(side)]
    return sum(np.tensordot(kernel[:, :, i, j], padded[:, i : i + height, j : j + width], 1) for i, j in taps)


def halve(image: np.ndarray) -> np.ndarray:
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def double(image: np.ndarray) -> np.ndarray:
    """Bilinear: each new pixel centre lies a quarter of a pixel from an old one."""
    for axis in (1, 2):
        last = image.shape[axis] - 1
        before = np.take(image, np.maximum(np.arange(last + 1) - 1, 0), axis)
        after = np.take(image, np.minimum(np.arange(last + 1) + 1, last), axis)
        pairs = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis + 1)
        image = pairs.reshape([n * 2 if k == axis else n for k, n in enumerate(image.shape)])
    return image


def residual_block(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    inner = convolve_by_hand(x, state[f"{name}.conv1.weight"])
    inner = convolve_by_hand(np.where(inner > 0, inner, 0.02 * inner), state[f"{name}.conv2.weight"])
    shortcut = state.get(f"{name}.shortcut.weight")
    return inner + (x if shortcut is None else convolve_by_hand(x, shortcut))


def fuse(encoded: np.ndarray, decoded: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    mean, variance = (state[f"{name}.norm.{kind}"][:, None, None] for kind in ("running_mean", "running_var"))
    normed = (encoded - mean) / np.sqrt(variance + 1e-5)
    gamma, beta = (convolve_by_hand(decoded, state[f"{name}.{kind}.weight"]) for kind in ("gamma", "beta"))
    conditioned = normed * (1 + gamma) + beta
    if f"{name}.gate.weight" not in state:
        return conditioned
    alpha = 1 / (1 + np.exp(-convolve_by_hand(normed, state[f"{name}.gate.weight"])))
    unconditioned = normed * (1 + state[f"{name}.scale"][0]) + state[f"{name}.shift"][0]
    return (1 - alpha) * conditioned + alpha * unconditioned


def remember(z: np.ndarray, table: np.ndarray, decay: float | None) -> np.ndarray:
    """(C, h, w); a decay: read_by_hand the table that z has updated."""
    encodings = z.reshape(len(z), -1).T
    if decay is not None:
        table = update_by_hand(table, encodings, decay)
    return read_by_hand(encodings, table).T.reshape(z.shape)


def moss(
    rainy: np.ndarray,
    state: dict[str, np.ndarray],
    stages: int = 5,
    blocks: int = 4,
    downscalings: int = 3,
    skip: bool = True,
    decay: float | None = None,
) -> np.ndarray:
    """A rainy image (3, H, W) in [0, 1], sides multiples of 2^downscalings, to the background.

    Args:
        rainy: the image.
        state: the network's state dict.
        stages, blocks, downscalings, skip: as the network's.
        decay: of the memory where the network updates it in evaluation, else None.
    """
    head = x = convolve_by_hand(2 * rainy - 1, state["head.weight"])
    features = []
    for stage in range(stages):
        for number in range(blocks):
            x = residual_block(x, state, f"encoder.{stage}.blocks.{number}")
            if number == 0 and stage < downscalings:
                x = halve(x)
        features.append(x)
    if "memory.table" in state:
        x = remember(x, state["memory.table"], decay)
    for stage in range(stages):
        if stage >= stages - downscalings:
            x = double(x)
        for number in range(blocks):
            x = residual_block(x, state, f"decoder.{stage}.blocks.{number}")
        if stage < stages - 1:
            x = fuse(features[stages - 2 - stage], x, state, f"fusions.{stage}")
    tail = convolve_by_hand(head - x if skip else x, state["tail.weight"]) + state["tail.bias"][:, None, None]
    return (np.tanh(tail) + 1) / 2


ITEMS, CHANNELS = 9, 5


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made_memory(seed: int = 1, **options) -> Memory:
    """In float64, as the reference is."""
    made = Memory(ITEMS, CHANNELS, **options).double()
    made.table.data.copy_(numbers(ITEMS, CHANNELS, seed=seed))
    return made


def flat(images: Tensor) -> np.ndarray:
    """(N, C, h, w) to (N h w, C), image by image and row by row."""
    return np.concatenate([image.reshape(len(image), -1).T for image in images.detach().numpy()])


TABLE, ENCODED = numbers(ITEMS, CHANNELS), numbers(6, CHANNELS, seed=2)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("unassigned", ["shrink", "freeze"])
def test_the_update_is_that_of_the_reference(decay, unassigned):
    found = updated(TABLE, *assign(ENCODED, TABLE), decay, unassigned)
    expected = update_by_hand(TABLE.numpy(), ENCODED.numpy(), decay, unassigned)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_the_reading_is_that_of_the_reference(temperature):
    expected = read_by_hand(ENCODED.numpy(), TABLE.numpy(), temperature)
    np.testing.assert_allclose(read(ENCODED, TABLE, temperature), expected, rtol=1e-12)


def test_training_updates_first_and_reads_the_new_table():
    module, z = made_memory(decay=0.4).train(), numbers(3, CHANNELS, 2, 4, seed=3)
    table = update_by_hand(module.table.numpy(), flat(z), 0.4)
    found = module(z)
    assert found.shape == z.shape
    np.testing.assert_allclose(module.table, table, rtol=1e-12)
    np.testing.assert_allclose(flat(found), read_by_hand(flat(z), table), rtol=1e-12)


@pytest.mark.parametrize("update_in_eval", [False, True])
def test_evaluation_stores_nothing(update_in_eval):
    module, z = made_memory(decay=0.4, update_in_eval=update_in_eval).eval(), numbers(3, CHANNELS, 2, 4, seed=3)
    before = module.table.numpy().copy()
    found = module(z)
    assert np.array_equal(module.table.numpy(), before)
    table = update_by_hand(before, flat(z), 0.4) if update_in_eval else before
    np.testing.assert_allclose(flat(found), read_by_hand(flat(z), table), rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_the_softmax_alone(training):
    """Against differences of the reference that reads one table, whatever the encodings."""
    module, z = made_memory(decay=0.4).train(training), numbers(1, CHANNELS, 2, 3, seed=3).requires_grad_()
    slope = numbers(6, CHANNELS, seed=4).numpy()
    table = update_by_hand(module.table.numpy(), flat(z), 0.4) if training else module.table.numpy().copy()
    (torch.from_numpy(slope.T.reshape(1, CHANNELS, 2, 3)) * module(z)).sum().backward()
    expected = np.zeros((6, CHANNELS))
    for n in range(6):
        for c in range(CHANNELS):
            step = np.zeros((6, CHANNELS))
            step[n, c] = 1e-6
            ends = [(slope * read_by_hand(flat(z) + sign * step, table)).sum() for sign in (1, -1)]
            expected[n, c] = (ends[0] - ends[1]) / 2e-6
    assert np.abs(expected).min() > 1e-4
    np.testing.assert_allclose(flat(z.grad), expected, atol=1e-8)
    assert module.table.grad is None
    assert not module.table.requires_grad


@pytest.mark.parametrize("modes", [(True, True), (False, True)])
def test_a_reading_keeps_its_table_until_its_backward_pass(modes):
    first, second = (numbers(2, CHANNELS, 2, 2, seed=seed).requires_grad_() for seed in (3, 4))
    together, apart = made_memory(decay=0.4), made_memory(decay=0.4)
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
        half, full = made_memory(decay=0.4).float(), made_memory(decay=0.4).float()
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
    module = made_memory(decay=0.4, update_in_eval=True)
    table = trained(module, [numbers(5, CHANNELS, 3, 3, seed=seed)[shares[rank]] for seed in range(3)])
    if rank == 0:  # measures alone; waits for nobody
        module.eval()(numbers(1, CHANNELS, 3, 3))
    torch.save(table, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()
    os._exit(0)  # as a cell leaves: threads of gloo can abort Python's own way out


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_hold_the_table_of_one(tmp_path):
    """They share the images unequally, and three updates follow one another."""
    shares = [[0, 1, 2], [3, 4]]
    rendezvous = (tmp_path / "rendezvous").as_uri()
    torch.multiprocessing.spawn(run_rank, (rendezvous, shares, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    alone = trained(made_memory(decay=0.4), [numbers(5, CHANNELS, 3, 3, seed=seed) for seed in range(3)])
    torch.testing.assert_close(first, alone, rtol=1e-12, atol=1e-14)


@torch.no_grad()
def test_fusion_starts_as_the_normalised_encoder_feature():
    fusion = ConditionalFusion(4).double().train()
    encoded, decoded = 3 + 2 * numbers(3, 4, 6, 6), numbers(3, 4, 6, 6, seed=1)
    expected = (encoded - encoded.mean((0, 2, 3), keepdim=True)) / (
        encoded.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(fusion(encoded, decoded), expected)


@torch.no_grad()
def test_the_gate_is_closed_for_a_fifth_of_the_training_images_and_for_none_in_evaluation():
    """An image with a closed gate is that of a fusion without one, and any other that of the reference."""
    count = 2000
    fusion, without = (fill(ConditionalFusion(4, gate), gain=0.8).double() for gate in (True, False))
    encoded, decoded = numbers(count, 4, 1, 2), numbers(count, 4, 1, 2, seed=1)
    for module in (fusion, without):  # evaluation must normalise by what training does
        module.norm.running_mean.copy_(encoded.mean((0, 2, 3)))
        module.norm.running_var.copy_(encoded.var((0, 2, 3), correction=0))
    evaluated, conditioned = fusion(encoded, decoded), without(encoded, decoded)
    state = {f"f.{name}": value.numpy() for name, value in fusion.state_dict().items()}
    np.testing.assert_allclose(evaluated[7], fuse(encoded[7].numpy(), decoded[7].numpy(), state, "f"))
    torch.manual_seed(0)
    trained = fusion.train()(encoded, decoded)
    closed = (trained - conditioned).abs().amax((1, 2, 3)) < 1e-9
    assert closed.float().mean().item() == pytest.approx(0.2, abs=0.03)
    torch.testing.assert_close(trained[~closed], evaluated[~closed], rtol=0, atol=1e-9)
    torch.manual_seed(0)
    assert torch.equal(fusion(encoded, decoded), trained)


SMALL = {"width": 4, "growth": 3, "stages": 3, "blocks": 2, "downscalings": 2, "memory_items": 7}


@torch.no_grad()
def drawn(**options) -> MOSS:
    """Seeded weights by which every layer counts; float64, since so deep a network magnifies rounding."""
    network = MOSS(**options).double().eval()
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name == "memory.table":
            tensor.add_(1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.8 / max(tensor[0].numel(), 9) ** 0.5)
    return network


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"memory_update_in_eval": True, "memory_decay": 0.3},
        {"memory_items": 0},
        {"skip": False},
        {"cbn_gate": False},
        {"wide_width": False},
        SMALL,
        SMALL | {"downscalings": 0},
        SMALL | {"downscalings": 3, "blocks": 1},
    ],
)
def test_the_output_is_that_of_the_numpy_reference(options):
    network = drawn(**options)
    rainy = formula_input()[..., :24, :32].double()
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    shape = {name: options[name] for name in ("stages", "blocks", "downscalings", "skip") if name in options}
    decay = options.get("memory_decay")
    expected = moss(rainy[0].numpy(), state, **shape, decay=decay)
    assert expected.std() > 0.05
    assert np.median(expected * (1 - expected)) > 0.01
    np.testing.assert_allclose(network(rainy)[0].numpy(), expected, atol=1e-8)


def test_with_and_without_memory_a_seed_gives_the_same_weights():
    states = []
    for items in (7, 0):
        torch.manual_seed(3)
        states.append(MOSS(**(SMALL | {"memory_items": items})).state_dict())
    assert set(states[0]) - set(states[1]) == {"memory.table"}
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
