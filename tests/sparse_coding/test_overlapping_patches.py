import numpy as np
import pytest
import torch

from slackoff.networks import sparse_coding


def by_hand(image: np.ndarray, side: int, step: int, make) -> np.ndarray:
    total, holders = np.zeros_like(image), np.zeros_like(image)
    for top in range(0, image.shape[0] - side + 1, step):
        for left in range(0, image.shape[1] - side + 1, step):
            place = np.s_[top : top + side, left : left + side]
            total[place] += make(image[place])
            holders[place] += 1
    return total / holders


@pytest.mark.parametrize(("size", "side", "step"), [((16, 16), 16, 2), ((18, 40), 16, 2), ((13, 10), 4, 3)])
@pytest.mark.parametrize("band", [1, 10, 10_000])
def test_patches_come_apart_and_together_again(monkeypatch, size, side, step, band):
    monkeypatch.setattr(sparse_coding, "BAND_PATCHES", band)
    image = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    told: list[int] = []
    same = sparse_coding.average_patches(image, side, step, lambda rows: rows, told.append)
    torch.testing.assert_close(same, image, atol=1e-12, rtol=0)
    assert sum(told) == sparse_coding.count_patches(size, side, step)
    centred = sparse_coding.average_patches(image, side, step, lambda rows: rows.square() - rows.mean(1, keepdim=True))
    expected = by_hand(image.numpy(), side, step, lambda patch: patch**2 - patch.mean())
    np.testing.assert_allclose(centred.numpy(), expected, atol=1e-12)


def test_sampled_patches_are_different_places_of_the_grid():
    image = torch.arange(20 * 30.0).view(20, 30)
    found = sparse_coding.sample_patches(image, 4, 3, 40, torch.Generator().manual_seed(0)).view(-1, 4, 4)
    corners = found[:, 0, 0].int().tolist()
    assert len(set(corners)) == 40
    for patch, corner in zip(found, corners, strict=True):
        top, left = divmod(corner, 30)
        assert (top % 3, left % 3) == (0, 0)
        assert torch.equal(patch, image[top : top + 4, left : left + 4])
    assert len(sparse_coding.sample_patches(image, 4, 3, 10_000, torch.Generator())) == 6 * 9
