import numpy as np
import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.losses import Texture
from slackoff.losses.terms import gram_frobenius_error, gram_mean_error, patches


def gram(image):
    """Patch by patch, in float64: (48, 48)."""
    channels, height, width = image.shape
    columns = [
        image[:, top : top + 4, left : left + 4].astype(np.float64).ravel()
        for top in range(0, height - 3, 4)
        for left in range(0, width - 3, 4)
    ]
    assert all(len(column) == 16 * channels for column in columns)
    matrix = np.array(columns).T
    return matrix @ matrix.T


def gram_means(output, background):
    return np.mean([(gram(o).mean() - gram(b).mean()) ** 2 for o, b in zip(output, background, strict=True)])


def gram_frobenius(output, background):
    return np.mean([np.sum((gram(o) - gram(b)) ** 2) for o, b in zip(output, background, strict=True)])


REFERENCES = {"gram_mean": gram_means, "gram_frobenius": gram_frobenius}


def images_of(*shape, seed=4):
    rng = np.random.default_rng(seed)
    return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)


def value(kind, output, background):
    return Texture(kind)(torch.from_numpy(output), torch.from_numpy(background)).item()


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("size", [(4, 4), (12, 8), (9, 15), (7, 4)])
def test_it_is_the_error_of_gram_matrices_cut_to_whole_patches(kind, size):
    output, background = images_of(3, 3, *size)
    expected = REFERENCES[kind](255.0 * output, 255.0 * background)
    assert value(kind, output, background) == pytest.approx(expected, rel=1e-4)


def test_columns_are_patches_in_reading_order():
    image = torch.arange(3 * 8 * 12.0).view(1, 3, 8, 12)
    found = patches(image)
    assert found.shape == (1, 48, 6)
    assert found[0, :, 4].tolist() == image[0, :, 4:8, 4:8].flatten().tolist()


def test_the_coded_form_compares_sums_of_patches():
    """The mean of all entries of P P^T is the sum of the squared column sums of P, over 48^2."""
    output, background = (255.0 * images.astype(np.float64) for images in images_of(2, 3, 8, 8))
    energies = [
        np.sum(images.reshape(2, 3, 2, 4, 2, 4).sum(axis=(1, 3, 5)) ** 2, axis=(1, 2)) / 2304
        for images in (output, background)
    ]
    expected = np.mean((energies[0] - energies[1]) ** 2)
    found = gram_mean_error(torch.from_numpy(output), torch.from_numpy(background))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_coded_form_is_blind_to_texture_and_the_written_one_is_not():
    """Pixels that change places inside each patch leave the sums of the patches as they are."""
    background, _ = images_of(1, 3, 16, 16)
    columns = patches(torch.from_numpy(background))
    order = torch.from_numpy(np.random.default_rng(0).permutation(48))
    shuffled = torch.nn.functional.pixel_shuffle(columns[:, order].unflatten(2, (4, 4)), 4).numpy()
    assert value("gram_mean", shuffled, background) < 1e-6 * value("gram_mean", 0.99 * background, background)
    assert value("gram_frobenius", shuffled, background) > value("gram_frobenius", 0.99 * background, background)


@pytest.mark.parametrize(
    ("error", "reference"), [(gram_mean_error, gram_means), (gram_frobenius_error, gram_frobenius)]
)
def test_small_errors_of_bright_images_are_not_lost_to_rounding(error, reference):
    """Subtracting one Gram matrix from the other in float32 is off by 1 % as written and by half as coded."""
    rng = np.random.default_rng(1)
    background = (200 + 25 * rng.random((1, 3, 64, 64))).astype(np.float32)
    output = (background + 0.0025 * rng.standard_normal(background.shape)).astype(np.float32)
    found = error(torch.from_numpy(output), torch.from_numpy(background)).item()
    assert found == pytest.approx(reference(output, background), rel=1e-3)


@pytest.mark.parametrize("error", [gram_mean_error, gram_frobenius_error])
def test_gradients_are_right(error):
    images = torch.rand(2, 2, 3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    output = images[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: error(x, images[1]), (output,))


def test_an_unknown_kind_is_refused():
    with pytest.raises(SlackoffError, match=r"Texture: kind=gram is not known: choose gram_mean or gram_frobenius"):
        Texture("gram")
