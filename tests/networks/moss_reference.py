"""MOSS in NumPy, written from the paper's description: float64, one image or one set of encodings, evaluation mode."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cosines(encodings: Array, table: Array) -> Array:
    """(n, C) and (K, C) to (n, K)."""
    lengths = np.linalg.norm(encodings, axis=1)[:, None] * np.linalg.norm(table, axis=1)[None]
    return encodings @ table.T / np.maximum(lengths, 1e-300)


def assignments(encodings: Array, table: Array) -> list[int]:
    return [int(np.argmax(row)) for row in cosines(encodings, table)]


def update(table: Array, encodings: Array, decay: float, unassigned: str = "shrink") -> Array:
    chosen = np.array(assignments(encodings, table))
    result = table.copy()
    for item in range(len(table)):
        given = encodings[chosen == item]
        if len(given) == 0 and unassigned == "freeze":
            continue
        mean = given.sum(axis=0) / (len(given) + 1e-6)
        result[item] = decay * table[item] + (1 - decay) * mean
    return result


def weights(encodings: Array, table: Array, temperature: float = 1.0) -> Array:
    powers = np.exp(cosines(encodings, table) / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def read(encodings: Array, table: Array, temperature: float = 1.0) -> Array:
    return weights(encodings, table, temperature) @ table


def convolve(image: Array, kernel: Array) -> Array:
    """(C, H, W) with (D, C, k, k), zeros around the image: (D, H, W)."""
    side = kernel.shape[-1]
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
    taps = [(i, j) for i in range(side) for j in range(side)]
    return sum(np.tensordot(kernel[:, :, i, j], padded[:, i : i + height, j : j + width], 1) for i, j in taps)


def halve(image: Array) -> Array:
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).mean(axis=(2, 4))


def double(image: Array) -> Array:
    """Bilinear: each new pixel centre lies a quarter of a pixel from an old one."""
    for axis in (1, 2):
        last = image.shape[axis] - 1
        before = np.take(image, np.maximum(np.arange(last + 1) - 1, 0), axis)
        after = np.take(image, np.minimum(np.arange(last + 1) + 1, last), axis)
        pairs = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis + 1)
        image = pairs.reshape([n * 2 if k == axis else n for k, n in enumerate(image.shape)])
    return image


def block(x: Array, state: dict[str, Array], name: str) -> Array:
    inner = convolve(x, state[f"{name}.conv1.weight"])
    inner = convolve(np.where(inner > 0, inner, 0.02 * inner), state[f"{name}.conv2.weight"])
    shortcut = state.get(f"{name}.shortcut.weight")
    return inner + (x if shortcut is None else convolve(x, shortcut))


def fuse(encoded: Array, decoded: Array, state: dict[str, Array], name: str) -> Array:
    mean, variance = (state[f"{name}.norm.{kind}"][:, None, None] for kind in ("running_mean", "running_var"))
    normed = (encoded - mean) / np.sqrt(variance + 1e-5)
    gamma, beta = (convolve(decoded, state[f"{name}.{kind}.weight"]) for kind in ("gamma", "beta"))
    conditioned = normed * (1 + gamma) + beta
    if f"{name}.gate.weight" not in state:
        return conditioned
    alpha = 1 / (1 + np.exp(-convolve(normed, state[f"{name}.gate.weight"])))
    unconditioned = normed * (1 + state[f"{name}.scale"][0]) + state[f"{name}.shift"][0]
    return (1 - alpha) * conditioned + alpha * unconditioned


def remember(z: Array, table: Array, decay: float | None) -> Array:
    """(C, h, w); a decay: read the table that z has updated."""
    encodings = z.reshape(len(z), -1).T
    if decay is not None:
        table = update(table, encodings, decay)
    return read(encodings, table).T.reshape(z.shape)


def restore(
    rainy: Array,
    state: dict[str, Array],
    stages: int = 5,
    blocks: int = 4,
    downscalings: int = 3,
    skip: bool = True,
    decay: float | None = None,
) -> Array:
    """A rainy image (3, H, W) in [0, 1], sides multiples of 2^downscalings, to the background.

    Args:
        rainy: the image.
        state: the network's state dict.
        stages, blocks, downscalings, skip: as the network's.
        decay: of the memory where the network updates it in evaluation, else None.
    """
    head = x = convolve(2 * rainy - 1, state["head.weight"])
    features = []
    for stage in range(stages):
        for number in range(blocks):
            x = block(x, state, f"encoder.{stage}.blocks.{number}")
            if number == 0 and stage < downscalings:
                x = halve(x)
        features.append(x)
    if "memory.table" in state:
        x = remember(x, state["memory.table"], decay)
    for stage in range(stages):
        if stage >= stages - downscalings:
            x = double(x)
        for number in range(blocks):
            x = block(x, state, f"decoder.{stage}.blocks.{number}")
        if stage < stages - 1:
            x = fuse(features[stages - 2 - stage], x, state, f"fusions.{stage}")
    tail = convolve(head - x if skip else x, state["tail.weight"]) + state["tail.bias"][:, None, None]
    return (np.tanh(tail) + 1) / 2
