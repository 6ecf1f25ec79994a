import numpy as np
import pytest
import torch

from slackoff.tasks.semi_supervised import mix_residues


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


def mix(labelled: int, unlabelled: int, strength=(0.5, 1.1), seed: int = 0):
    given = [images(labelled, 1), images(labelled, 2), images(labelled, 3) - 0.5]
    given += [images(unlabelled, 4), images(unlabelled, 5)]
    return given, mix_residues(*given, strength, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("labelled", "unlabelled"), [(3, 3), (4, 1), (1, 5)])
def test_every_image_gets_one_residue_of_a_shuffled_list(labelled, unlabelled):
    """Against Eq. 9 in NumPy, given the draws; also where there are more of the one than of the other."""
    (x_l, y_l, r_l, x_u, y_p), mixed = mix(labelled, unlabelled)
    generator = torch.Generator().manual_seed(0)
    total = 2 * (labelled + unlabelled)
    order = torch.randperm(total, generator=generator).numpy()
    scale = 0.5 + 0.6 * torch.rand(total, 1, 1, 1, generator=generator).numpy()
    x_l, y_l, r_l, x_u, y_p = (each.numpy() for each in (x_l, y_l, r_l, x_u, y_p))
    residues = np.concatenate([r_l, r_l, x_u - y_p, x_u - y_p])
    expected = np.clip(np.concatenate([x_u, y_p, x_l, y_l]) + scale * residues[order], 0, 1)
    np.testing.assert_allclose(mixed.rainy.numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(mixed.target.numpy(), np.concatenate([y_p, y_p, y_l, y_l]))


def test_strengths_are_uniform_between_their_ends_and_one_for_each_image():
    count = 400
    zeros, ones = torch.zeros(count, 3, 2, 2), torch.full((count, 3, 2, 2), 0.5)
    mixed = mix_residues(zeros, zeros, ones, zeros, zeros - ones, (0.5, 1.1), torch.Generator().manual_seed(1))
    dark = mixed.rainy[2 * count :] / 0.5  # what lies on zeros is the strength alone
    assert torch.equal(dark.amin((1, 2, 3)), dark.amax((1, 2, 3)))
    values = dark[:, 0, 0, 0].double().numpy()
    assert 0.5 <= values.min() < 0.51
    assert 1.09 < values.max() <= 1.1
    assert values.mean() == pytest.approx(0.8, abs=0.02)


def test_residues_cross_from_labelled_to_unlabelled_images_and_back():
    count = 50
    black = torch.zeros(count, 1, 1, 1)
    mixed = mix_residues(black, black, black + 0.25, black + 0.5, black, (1.0, 1.0), torch.Generator().manual_seed(2))
    pseudo, background = mixed.rainy[count : 2 * count].unique(), mixed.rainy[3 * count :].unique()
    assert pseudo.tolist() == background.tolist() == [0.25, 0.5]


def test_the_same_generator_state_gives_the_same_mixture():
    assert torch.equal(mix(2, 3)[1].rainy, mix(2, 3)[1].rainy)
    assert not torch.equal(mix(2, 3)[1].rainy, mix(2, 3, seed=1)[1].rainy)
