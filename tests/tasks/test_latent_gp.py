import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, RationalQuadratic

from slackoff.tasks.syn2real import KERNELS, latent_loss, length_scale, linear, nearest, posterior

NOISE = 0.01


def latents(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.2, 0.5, shape))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def sklearn_posterior(name: str, u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, float]:
    length = z.std(axis=0).max()
    kernel = {
        "linear": DotProduct(sigma_0=0.0, sigma_0_bounds="fixed"),
        "squared_exponential": RBF(length),
        "rational_quadratic": RationalQuadratic(length, alpha=0.5),
    }[name]
    process = GaussianProcessRegressor(kernel, alpha=NOISE, optimizer=None)
    seen = (unit(u[None]), unit(z)) if name == "linear" else (u[None], z)
    mean, deviation = process.fit(seen[1], z).predict(seen[0], return_std=True)
    return mean[0], deviation[0, 0] ** 2 + NOISE


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("count", "size"), [(6, 4), (16, 40)])
def test_the_posterior_is_that_of_scikit_learn(name, count, size):
    u, z = latents(3, size), latents(3, count, size, seed=8)
    found = posterior(u, z, KERNELS[name], NOISE)
    assert (found.mean.shape, found.variance.shape) == ((3, size), (3,))
    for number in range(3):
        mean, variance = sklearn_posterior(name, u[number].numpy(), z[number].numpy())
        np.testing.assert_allclose(found.mean[number], mean, rtol=1e-6, atol=1e-9)
        assert found.variance[number].item() == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_float32_keeps_its_digits_for_latents_that_are_near_each_other(name):
    z = 3 + 1e-2 * latents(16, 512)
    u = 3 + 1e-2 * latents(512, seed=9)
    exact, single = (posterior(u.to(kind), z.to(kind), KERNELS[name], NOISE) for kind in (torch.float64, torch.float32))
    torch.testing.assert_close(single.mean.double(), exact.mean, rtol=1e-3, atol=1e-3)
    assert single.variance.item() == pytest.approx(exact.variance.item(), rel=1e-3)


@pytest.mark.parametrize("name", KERNELS)
def test_the_gradient_is_that_of_finite_differences(name):
    u, z = latents(2, 6).requires_grad_(), latents(2, 5, 6, seed=8)
    torch.autograd.gradcheck(lambda x: latent_loss(x, posterior(x, z, KERNELS[name], NOISE)), u)


def test_neighbours_are_constants():
    u, z = latents(6).requires_grad_(), latents(5, 6, seed=8).requires_grad_()
    latent_loss(u, posterior(u, z, KERNELS["squared_exponential"], NOISE)).backward()
    assert z.grad is None
    assert u.grad.abs().min() > 0


def test_the_loss_is_the_scaled_error_and_the_logarithm():
    u, z = latents(2, 6), latents(2, 5, 6, seed=8)
    expected = posterior(u, z, KERNELS["linear"], NOISE)
    mean, variance = (x.numpy() for x in expected)
    wanted = ((u.numpy() - mean) ** 2).mean(1) / variance + 0.33 * np.log(variance)
    np.testing.assert_allclose(latent_loss(u, expected), wanted, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_equal_neighbours_stay_finite(name):
    z = latents(1, 6).expand(4, 6)
    same = posterior(z[0], z, KERNELS[name], NOISE)
    np.testing.assert_allclose(same.mean, z[0] * 4 / (4 + NOISE), rtol=1e-6)
    assert same.variance.item() == pytest.approx(1 - 4 / (4 + NOISE) + NOISE, rel=1e-6)


def test_the_length_scale_is_the_largest_deviation():
    z = latents(2, 5, 6)
    np.testing.assert_allclose(length_scale(z)[:, 0, 0], z.numpy().std(axis=1).max(axis=1), rtol=1e-12)


def test_the_nearest_are_those_of_a_full_search():
    u, bank = latents(4, 7), latents(30, 7, seed=8)
    distances = np.linalg.norm(u.numpy()[:, None] - bank.numpy(), axis=-1)
    np.testing.assert_array_equal(nearest(u, bank, 6), distances.argsort(axis=1)[:, :6])
    assert nearest(u, bank[:3], 6).shape == (4, 3)


def test_a_kernel_matrix_that_rounding_spoils_gives_no_number():
    """So that the watch for losses that are not finite sees it; the other latents of the batch keep theirs."""
    torch.manual_seed(0)
    latent, same, different = torch.rand(2, 6), torch.ones(1, 4, 6), torch.rand(1, 4, 6)
    found = posterior(latent, torch.cat([same, different]), linear, noise=1e-12)
    loss = latent_loss(latent, found)
    assert loss[0].isnan()
    assert loss[1].isfinite()
    torch.testing.assert_close(found.mean[1], posterior(latent[1], different[0], linear, 1e-12).mean)
