"""Tasks that train on images without a truth beside pairs: semi_supervised, sirr and syn2real against bare loops."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_problem import (
    BATCH,
    Gated,
    Pixel,
    WithUnlabelled,
    bare_loop,
    network,
    semi_supervised,
    sirr,
    syn2real,
    train,
)
from torch import Tensor, nn

from slackoff.config import build
from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError
from slackoff.networks import DDN, Syn2Real
from slackoff.tasks.sirr import maximised


def semi_supervised_loop(net: nn.Module, steps: int, switch: int, unlabelled: int) -> tuple[list[float], nn.Module]:
    """Algorithms 1 and 2 of the supplement without Lightning, task or the functions it calls."""
    teacher = net

    def loss_of(step: int, batch: RainyBatch, x_u: Tensor) -> Tensor:
        nonlocal teacher
        x_l, y_l = batch.rainy, batch.background
        loss = 10 * (net(x_l) - y_l).abs().mean()
        if step < switch:
            return loss
        if step == switch:
            teacher = copy.deepcopy(net)
        with torch.no_grad():
            y_p = teacher.eval()(x_u).clamp(0, 1)
        r_l, r_u = x_l - y_l, x_u - y_p
        order = torch.randperm(2 * len(x_l) + 2 * len(x_u))
        scale = 0.5 + 0.6 * torch.rand(len(order), 1, 1, 1)
        rain = torch.cat([r_l, r_l, r_u, r_u])[order] * scale
        y_n = net((torch.cat([x_u, y_p, x_l, y_l]) + rain).clamp(0, 1))
        loss = loss + (y_n - torch.cat([y_p, y_p, y_l, y_l])).abs().mean()
        squares = ((y_n[:, :, 1:] - y_n[:, :, :-1]) ** 2).mean() + ((y_n[..., 1:] - y_n[..., :-1]) ** 2).mean()
        return loss + 0.002 * squares / 2

    @torch.no_grad()
    def follow(step: int) -> None:
        if step >= switch:
            for own, other in zip(teacher.parameters(), net.parameters(), strict=True):
                own.copy_(0.8 * own + 0.2 * other)

    return bare_loop(net, steps, loss_of, unlabelled, after=follow), teacher


@pytest.mark.parametrize("unlabelled", [BATCH, 2 * BATCH + 1, 1])
def test_semi_supervised_training_equals_a_bare_loop(unlabelled):
    task = semi_supervised()
    witness, _ = train(task, 8, unlabelled=unlabelled)
    net = network()
    losses, teacher = semi_supervised_loop(net, 8, 4, unlabelled)
    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-5)
    for trained, expected in ((task.network, net), (task.teacher, teacher)):
        for own, other in zip(trained.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-5)
    assert max((a - b).abs().max() for a, b in zip(net.parameters(), teacher.parameters(), strict=True)) > 1e-4


def test_without_self_training_there_is_neither_teacher_nor_need_of_unlabelled_images():
    task = semi_supervised(self_training=False)
    witness, _ = train(task, 8)
    assert len(witness.losses) == 8
    assert task.teacher is None
    assert task.teachers == {}
    assert not any(name.startswith("teacher") for name in task.state_dict())
    net = network()
    losses, _ = semi_supervised_loop(net, 8, 99, 1)
    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-5)


def test_the_teacher_is_measured_only_once_it_teaches():
    for steps in (4, 5):
        task = semi_supervised()
        train(task, steps, unlabelled=2)
        assert task.teachers == ({"teacher": task.teacher} if steps == 5 else {})


def random_batch() -> RainyBatch:
    rainy, background, photos = torch.rand(3, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return RainyBatch(background, rainy[:, :1], rainy, photos)


def test_the_parts_of_the_semi_supervised_loss_add_up():
    task = semi_supervised(labelled_weight=3.0, unlabelled_weight=0.5, tv_weight=0.25)
    batch = random_batch()
    first, second = (task.losses(batch, step) for step in (3, 4))
    assert set(first) == {"loss", "labelled"}
    assert first["loss"].item() == pytest.approx(3 * first["labelled"].item())
    parts = 3 * second["labelled"] + 0.5 * second["unlabelled"] + 0.25 * second["total_variation"]
    assert second["loss"].item() == pytest.approx(parts.item(), rel=1e-6)
    assert second["total_variation"] > 0


def test_no_gradient_reaches_the_teacher_and_its_norms_stay_in_evaluation_mode():
    task = semi_supervised(Gated())
    before = copy.deepcopy(task.teacher.state_dict())
    task.train()
    batch = random_batch()
    task.losses(batch, 5)["loss"].backward()
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
    assert all(parameter.grad is not None for parameter in task.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.state_dict().items())


def test_rain_of_labelled_images_may_be_what_the_network_took_away():
    batch = random_batch()

    def unlabelled(residue: str, net: nn.Module) -> float:
        torch.manual_seed(1)
        return semi_supervised(net, labelled_residue=residue).losses(batch, 5)["unlabelled"].item()

    class Perfect(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            return batch.background if torch.equal(rainy, batch.rainy) else rainy

    assert unlabelled("prediction", Perfect()) == unlabelled("background", Perfect())
    assert unlabelled("prediction", network()) != unlabelled("background", network())


def test_the_first_stage_may_be_counted_in_epochs():
    task = semi_supervised(supervised="2epochs")  # six images, four a step: 1.5 steps each
    train(task, 8, unlabelled=2)
    assert task.switch == 3


def sirr_loop(net: nn.Module, steps: int, unlabelled: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """The method in NumPy float64 but for the network: losses, weights and variances of the mixture."""
    weights, variances = np.full(3, 1 / 3), np.array([1e-4, 1e-3, 1e-2])

    def shares_of(e: np.ndarray) -> np.ndarray:
        density = weights * np.exp(-(e[:, None] ** 2) / (2 * variances)) / np.sqrt(variances)
        return density / density.sum(1, keepdims=True)

    def loss_of(step: int, batch: RainyBatch, photos: Tensor) -> Tensor:
        nonlocal weights, variances
        output = net(photos)
        residue = photos - output
        e = residue.detach().double().numpy().ravel()
        shares = shares_of(e)
        weights, variances = shares.mean(0), (shares * e[:, None] ** 2).sum(0) / shares.sum(0) + 1e-6
        scale = torch.from_numpy((shares_of(e) / (2 * variances)).sum(1)).view_as(residue)
        variation = sum((output[:, :, 1:] - output[:, :, :-1]).abs().sum((1, 2, 3))) / len(output)
        variation = variation + sum((output[..., 1:] - output[..., :-1]).abs().sum((1, 2, 3))) / len(output)
        loss = (net(batch.rainy) - batch.background).square().mean()
        return loss + 0.5 * (scale * residue**2).mean() + 1e-5 * variation

    return bare_loop(net, steps, loss_of, unlabelled, rate=lambda step: 1e-3), weights, variances


@pytest.mark.parametrize("unlabelled", [BATCH, 2 * BATCH + 1])
def test_sirr_training_equals_a_bare_loop(unlabelled):
    task = sirr(steps=6)
    witness, _ = train(task, 6, unlabelled=unlabelled)
    losses, weights, variances = sirr_loop(network(), 6, unlabelled)
    np.testing.assert_allclose(witness.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(task.mixture_weights, weights, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(task.mixture_variances, variances, rtol=2e-3)


def test_norms_of_their_own_in_sirr_are_trained_beside_and_start_alike():
    net = DDN(channels=4, pairs=1, norm="batch")
    task = sirr(net, 6, shared_norm=False, learning_rate=1e-2)
    small = [parameter for parameter in net.parameters() if parameter.dim() == 1]
    assert len(task.own) == len(small) == 3 * 4
    assert all(torch.equal(own, other) for own, other in zip(task.own, small, strict=True))
    assert len(list(task.trained_parameters())) == len(list(net.parameters())) + len(small)
    shared = sirr(copy.deepcopy(net), 6, learning_rate=1e-2)
    first = [train(each, 6, unlabelled=3)[0].losses for each in (task, shared)]
    assert first[0][0] == pytest.approx(first[1][0], rel=1e-6)
    assert abs(first[0][-1] - first[1][-1]) > 1e-5
    assert max((own - other).abs().max() for own, other in zip(task.own, small, strict=True)) > 1e-3


def explicit_gp(u: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The loss of one latent with the cosine kernel and a noise of 0.01, by an inverse matrix, in float64."""
    u, z = u.double(), z.double()
    unit, units = u / u.norm(), z / z.norm(dim=1, keepdim=True)
    inverse = torch.inverse(units @ units.T + 0.01 * torch.eye(len(z), dtype=torch.float64))
    across = units @ unit
    variance = 1 - across @ inverse @ across + 0.01
    return ((u - z.T @ inverse @ across) ** 2).mean() / variance + 0.33 * variance.log()


def syn2real_loop(net: Syn2Real, steps: int, unlabelled: int) -> tuple[list[float], torch.Tensor]:
    seen: list[Tensor] = []

    def loss_of(step: int, batch: RainyBatch, photos: Tensor) -> Tensor:
        image, latent = net.restored(batch.rainy)
        seen[:] = (seen + list(latent.detach().reshape(BATCH, -1)))[-6:]
        loss = F.smooth_l1_loss(image, batch.background) + 0.04 * (image - batch.background).square().mean()
        for u in net.latent(photos).reshape(unlabelled, -1):
            distances = torch.stack([(z - u.detach()).norm() for z in seen])
            near = [seen[number] for number in distances.argsort()[:3]]
            loss = loss + 0.1 * explicit_gp(u, torch.stack(near)) / unlabelled
        return loss

    return bare_loop(net, steps, loss_of, unlabelled, rate=lambda step: 2e-4), torch.stack(seen)


def test_syn2real_training_equals_a_bare_loop():
    task = syn2real(steps=5, terms={"pixel": Pixel(1.0)})
    net = copy.deepcopy(task.network)
    witness, _ = train(task, 5, unlabelled=3)
    losses, seen = syn2real_loop(net, 5, 3)
    assert witness.losses == pytest.approx(losses, rel=1e-3, abs=1e-5)
    assert task.bank.shape == (6, 16 * 4 * 4)
    torch.testing.assert_close(task.bank, seen, rtol=1e-2, atol=1e-3)


def test_the_bank_of_syn2real_keeps_the_latest_latents():
    task = syn2real().train()
    banks = [task._banked(torch.full((count, 2, 1, 1), float(count))) for count in (2, 3, 4)]
    assert [bank[:, 0].tolist() for bank in banks] == [[2, 2], [2, 2, 3, 3, 3], [3, 3, 4, 4, 4, 4]]
    assert task._banked(torch.arange(9.0).view(9, 1, 1, 1))[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
    task.eval()
    assert len(task._banked(torch.zeros(1, 1, 1, 1))) == 6
    assert task.bank[:, 0].tolist() == [3, 4, 5, 6, 7, 8]


def test_ranks_have_one_bank_and_one_mixture_of_all_their_images(monkeypatch):
    monkeypatch.setattr("slackoff.tasks.syn2real.of_all_ranks", lambda own: torch.cat([own, own + 1]))
    latent = torch.rand(2, 3, 1, 1)
    assert torch.equal(syn2real()._banked(latent), torch.cat([latent, latent + 1]).flatten(1))

    generator = torch.Generator().manual_seed(0)
    residues = torch.randn(40, generator=generator)
    shares = torch.rand(40, 3, generator=generator).softmax(dim=1)
    whole, told = maximised(residues, shares), []
    monkeypatch.setattr("slackoff.tasks.sirr.mean_over_ranks", lambda own: told.append(own) or own)
    for rank in range(2):
        maximised(residues[rank::2], shares[rank::2])
    means = iter([(one + other) / 2 for one, other in zip(told[:2], told[2:], strict=True)])
    monkeypatch.setattr("slackoff.tasks.sirr.mean_over_ranks", lambda own: next(means))
    for found, expected in zip(maximised(residues[::2], shares[::2]), whole, strict=True):
        torch.testing.assert_close(found, expected)
    assert list(means) == []


def test_the_photos_of_syn2real_move_the_encoder_alone():
    task = syn2real(gp_weight=1.0, steps=1)
    batch = WithUnlabelled(3)
    photos = batch.other.batch(0).rainy
    bank = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    task._unlikely(task.network.latent(photos), bank).backward()
    moved = {name.split(".")[0] for name, p in task.network.named_parameters() if p.grad is not None}
    assert moved == {"head", *(f"encoder{number}" for number in range(1, 7)), "to_latent"}


def test_syn2real_on_labelled_images_alone_needs_no_photos():
    witness, _ = train(syn2real(gp_weight=0.0), 1)
    assert witness.losses[0] > 0


def test_the_preset_of_syn2real_is_built(composed):
    config = composed("network=syn2real_small", "task=syn2real", "unlabelled=folder", "unlabelled.root=photos")
    task = build.build_task(config, build.build_network(config))
    assert (task.neighbours, task.bank_size, task.noise) == (16, 128, 0.01)
    assert (task.gp_weight, task.term_weight, len(task.terms)) == (0.0015, 0.04, 0)
    given = composed("network=syn2real_small", "task=syn2real", "+terms@task.terms=vgg16", "roots.vgg16=nowhere")
    with pytest.raises(SlackoffError, match=r"VGG-16 are not on disk .*nowhere.*roots\.vgg16=PATH"):
        build.build_task(given, build.build_network(given))
