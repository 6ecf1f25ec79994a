import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch.distributions import Normal, kl_divergence

from slackoff.tasks.sirr import VARIANCE_FLOOR, Mixture, least_divergence, maximised, mixture_loss, responsibilities

MIXTURE = Mixture(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([1e-4, 1e-3, 2e-2]))


def residues(count: int = 4000) -> torch.Tensor:
    """Of three widths; what a few drops and much noise leave."""
    generator = np.random.default_rng(4)
    widths = generator.choice([0.01, 0.05, 0.2], count, p=[0.6, 0.3, 0.1])
    return torch.from_numpy(np.float32(generator.normal(0, widths)))


def sklearn_mixture(mixture: Mixture, **options) -> GaussianMixture:
    made = GaussianMixture(3, covariance_type="diag", reg_covar=VARIANCE_FLOOR, **options)
    made.weights_ = mixture.weights.double().numpy()
    made.means_ = np.zeros((3, 1))
    made.covariances_ = mixture.variances.double().numpy()[:, None]
    made.precisions_cholesky_ = 1 / np.sqrt(made.covariances_)
    return made


def test_the_e_step_is_that_of_scikit_learn():
    values = residues()
    expected = sklearn_mixture(MIXTURE).predict_proba(values.double().numpy()[:, None])
    np.testing.assert_allclose(responsibilities(values, MIXTURE), expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("iterations", [1, 12])
def test_em_is_that_of_scikit_learn_on_values_whose_means_stay_at_0(iterations):
    """Each value and its opposite: there no mean moves, and pinning them changes nothing."""
    values = residues()
    both = torch.cat([values, -values]).double().numpy()[:, None]
    weights, variances = MIXTURE.weights.double().numpy(), MIXTURE.variances.double().numpy()
    weights = weights / weights.sum()
    options = {"weights_init": weights, "means_init": np.zeros((3, 1)), "precisions_init": 1 / variances[:, None]}
    peer = GaussianMixture(
        3, covariance_type="diag", reg_covar=VARIANCE_FLOOR, max_iter=iterations, tol=0, **options
    ).fit(both)
    assert np.abs(peer.means_).max() < 1e-12
    mixture = MIXTURE
    for _ in range(iterations):
        mixture = maximised(values, responsibilities(values, mixture))
    np.testing.assert_allclose(mixture.weights, peer.weights_, rtol=2e-4)
    np.testing.assert_allclose(mixture.variances, peer.covariances_[:, 0], rtol=2e-4)


def test_a_gaussian_without_values_stays_finite():
    values = torch.zeros(50)
    shares = torch.tensor([1.0, 0.0, 0.0]).expand(50, 3)
    mixture = maximised(values, shares)
    assert mixture.variances.tolist() == pytest.approx([VARIANCE_FLOOR] * 3)
    assert mixture.weights.tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    assert torch.isfinite(responsibilities(values, mixture)).all()


def test_the_loss_is_the_weighted_square_and_pulls_towards_0():
    values = residues(30).requires_grad_()
    shares = responsibilities(values.detach(), MIXTURE)
    loss = mixture_loss(values, shares, MIXTURE)
    e, r, v = (x.detach().double().numpy() for x in (values, shares, MIXTURE.variances))
    assert loss.item() == pytest.approx(np.mean([sum(r[i] * e[i] ** 2 / (2 * v)) for i in range(30)]), rel=1e-5)
    loss.backward()
    assert (values.grad.sign() == values.detach().sign()).all()


def test_the_divergence_is_that_to_the_nearest_gaussian():
    rain = residues().abs()
    own = Normal(rain.mean(), rain.std(correction=0))
    others = [kl_divergence(own, Normal(0.0, variance.sqrt())) for variance in MIXTURE.variances]
    assert least_divergence(rain, MIXTURE).item() == pytest.approx(min(others).item(), rel=1e-3)
