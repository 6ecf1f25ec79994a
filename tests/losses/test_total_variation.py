import numpy as np
import pytest
import torch

from slackoff.losses.terms import total_variation


def test_it_is_half_the_mean_squared_differences_of_columns_and_of_rows():
    images = np.random.default_rng(0).random((3, 2, 5, 7))
    expected = (np.square(np.diff(images, axis=2)).mean() + np.square(np.diff(images, axis=3)).mean()) / 2
    assert total_variation(torch.from_numpy(images)).item() == pytest.approx(expected, rel=1e-6)


def test_a_flat_image_has_none_and_an_edge_what_its_height_says():
    image = torch.zeros(1, 1, 4, 5)
    assert total_variation(image).item() == 0
    image[..., 2:] = 0.5  # one of four differences in each row: (1/4) * 0.25 / 2
    assert total_variation(image).item() == pytest.approx(1 / 32)


def test_half_precision_images_are_reckoned_in_float32():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = total_variation(images)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(total_variation(images.double()).item(), rel=1e-6)
