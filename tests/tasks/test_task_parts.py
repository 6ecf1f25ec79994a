"""The parts of tasks: mixing, teacher, mixture of residues, latent Gaussian process, length, decay, optimiser."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, RationalQuadratic
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.distributions import Normal, kl_divergence

from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.tasks import SGD, Cosine, Steps, StepSeed
from slackoff.tasks.semi_supervised import count_steps, mix_residues
from slackoff.tasks.sirr import VARIANCE_FLOOR, Mixture, least_divergence, maximised, mixture_loss, responsibilities
from slackoff.tasks.syn2real import KERNELS, latent_loss, linear, nearest, posterior
from slackoff.tasks.task import follow


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
    assert not torch.equal(mix(labelled, unlabelled, seed=1)[1].rainy, mixed.rainy)


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


def teacher_and_student() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
    student.register_parameter("memory", nn.Parameter(torch.randn(5, 2), requires_grad=False))
    teacher = copy.deepcopy(student)
    for value in student.state_dict().values():
        value.copy_(torch.randint(1, 9, value.shape) if value.dtype == torch.int64 else torch.randn(value.shape))
    return teacher, student


def state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy().copy() for name, value in network.state_dict().items()}


BUFFERS = ("1.running_mean", "1.running_var")


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("buffers", ["copy", "average", "keep"])
def test_a_teacher_is_the_moving_average_of_its_student(decay, buffers):
    teacher, student = teacher_and_student()
    before, new = state(teacher), state(student)
    follow(teacher, student, decay, buffers)
    assert all(np.array_equal(value, new[name]) for name, value in state(student).items())
    for name, value in state(teacher).items():
        averaged = decay * before[name] + (1 - decay) * new[name]
        if name.startswith("1.") and name not in ("1.weight", "1.bias"):
            floating = name in BUFFERS
            averaged = {"copy": new[name], "average": averaged if floating else new[name], "keep": before[name]}[
                buffers
            ]
        np.testing.assert_allclose(value, averaged, rtol=0, atol=1e-6, err_msg=name)


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


def rates_of(decay: Cosine | Steps, steps: int) -> list[float]:
    """The learning rate of each step, starting at 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = decay.schedule(optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        (Cosine(0.01), [0.01 + 0.99 * (1 + math.cos(math.pi * step / 20)) / 2 for step in range(20)]),
        (Steps([0.25, 0.5], 0.2), [1.0] * 5 + [0.2] * 5 + [0.04] * 10),
        (Steps([0.25, 0.5], [0.5, 0.8]), [1.0] * 5 + [0.5] * 5 + [0.4] * 10),
    ],
)
def test_a_rate_falls_by_half_a_wave_or_at_parts_of_the_run(decay, expected):
    assert rates_of(decay, 20) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("40%", 400), ("0.1%", 1), ("2000steps", 2000), ("1 step", 1), ("10epochs", 75), ("0.5 epochs", 4), ("0%", 0)],
)
def test_lengths_in_steps_of_a_run_of_1000_with_7_and_a_half_steps_an_epoch(text, steps):
    assert count_steps(text, "task.supervised", 1000, 7.5) == steps


def test_steps_have_the_momentum_of_those_before():
    """v = 0.9 v + g, w = w - rate v, as TensorFlow's and torch's momentum have it."""
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = SGD(0.9).optimizer([weight], 0.1)
    expected, velocity = 2.0, 0.0
    for gradient in (1.0, -0.5, 0.25):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        expected -= 0.1 * velocity
        assert weight.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Steps([0.25, 0.5], [0.2]), r"task\.decay\.factor has 1 factors for the 2 parts"),
        *((lambda part=part: Steps([0.5, part], 0.2), r"task\.decay\.at=\[0\.5, ") for part in (0, 1, 25)),
        *((lambda share=share: SGD(share), r"task\.optimizer\.momentum=") for share in (1.0, -0.1, math.nan)),
        *((lambda text=text: count_steps(text, "task.supervised", 1000, 7.5), r"task.supervised=.* write it as 2000s")
          for text in ("40", "half", "-3 steps", "ten epochs", "", "5%%")),
    ],
)  # fmt: skip
def test_parts_of_a_recipe_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        make()


def test_on_a_cpu_the_draws_are_those_of_torch_without_a_note_for_gpus(monkeypatch):
    torch.manual_seed(derive_seed(3, "step", 5, 1))
    expected = torch.rand(4)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: 1 / 0)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    StepSeed(3).on_train_batch_start(SimpleNamespace(global_step=5, global_rank=1, strategy=strategy))
    assert torch.equal(torch.rand(4), expected)
