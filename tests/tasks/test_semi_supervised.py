import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_problem import BATCH, SEED, SaveAt, WithUnlabelled, golden_semi_supervised_losses, network, train
from torch import nn

from slackoff.data import BatchStream, RainyBatch
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.tasks import SemiSupervisedTask, Steps

# Written by: python tests/tasks/small_problem.py semi_supervised > tests/tasks/golden/semi_supervised.txt
GOLDEN = Path(__file__).parent / "golden" / "semi_supervised.txt"
CONSTANT = Steps([], 1.0)


class Gated(nn.Module):
    """A network with all that makes a resume hard: running statistics, and randomness of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head, self.norm, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1)

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        return rainy - self.tail(nn.functional.dropout(self.norm(self.head(rainy)), 0.3, self.training))


def make(net: nn.Module | None = None, steps: int = 8, supervised: str = "4steps", **options) -> SemiSupervisedTask:
    options = {"learning_rate": 2e-3, "decay": CONSTANT, "teacher_decay": 0.8, **options}
    return SemiSupervisedTask(net or network(), steps, supervised, **options)


def bare_loop(net: nn.Module, steps: int, switch: int, unlabelled: int) -> tuple[list[float], nn.Module]:
    """Algorithms 1 and 2 of the supplement without Lightning, task or the functions it calls."""
    data = WithUnlabelled(unlabelled)
    bank = torch.from_numpy(data.bank).permute(0, 3, 1, 2)
    stream = BatchStream(bank, **data.options)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3, betas=(0.9, 0.999))
    teacher, losses = net, []
    for step in range(steps):
        torch.manual_seed(derive_seed(SEED, "step", step, 0))
        x_l, y_l = stream.batch(step).rainy, stream.batch(step).background
        x_u = data.other.batch(step).rainy
        restored = net(x_l)
        loss = 10 * (restored - y_l).abs().mean()
        if step == switch:
            teacher = copy.deepcopy(net)
        if step >= switch:
            with torch.no_grad():
                y_p = teacher.eval()(x_u).clamp(0, 1)
            r_l, r_u = x_l - y_l, x_u - y_p
            order = torch.randperm(2 * len(x_l) + 2 * len(x_u))
            scale = 0.5 + 0.6 * torch.rand(len(order), 1, 1, 1)
            rain = torch.cat([r_l, r_l, r_u, r_u])[order] * scale
            x_n = (torch.cat([x_u, y_p, x_l, y_l]) + rain).clamp(0, 1)
            y_n = net(x_n)
            loss = loss + (y_n - torch.cat([y_p, y_p, y_l, y_l])).abs().mean()
            squares = ((y_n[:, :, 1:] - y_n[:, :, :-1]) ** 2).mean() + ((y_n[..., 1:] - y_n[..., :-1]) ** 2).mean()
            loss = loss + 0.002 * squares / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step >= switch:
            with torch.no_grad():
                for own, other in zip(teacher.parameters(), net.parameters(), strict=True):
                    own.copy_(0.8 * own + 0.2 * other)
    return losses, teacher


@pytest.mark.parametrize("unlabelled", [BATCH, 2 * BATCH + 1, 1])
def test_training_equals_a_bare_loop(unlabelled):
    task = make()
    witness, _ = train(task, 8, unlabelled=unlabelled)
    net = network()
    losses, teacher = bare_loop(net, 8, 4, unlabelled)
    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-5)
    for trained, expected in ((task.network, net), (task.teacher, teacher)):
        for own, other in zip(trained.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(own, other, rtol=0, atol=1e-5)
    assert max((a - b).abs().max() for a, b in zip(net.parameters(), teacher.parameters(), strict=True)) > 1e-4


def test_without_self_training_there_is_neither_teacher_nor_need_of_unlabelled_images():
    task = make(self_training=False)
    witness, _ = train(task, 8)
    assert len(witness.losses) == 8
    assert task.teacher is None
    assert task.teachers == {}
    assert not any(name.startswith("teacher") for name in task.state_dict())
    net = network()
    losses, _ = bare_loop(net, 8, 99, 1)
    np.testing.assert_allclose(witness.losses, losses, rtol=0, atol=1e-5)


def test_the_teacher_is_measured_only_once_it_teaches():
    task = make()
    _, trainer = train(task, 4, unlabelled=2)
    assert trainer.global_step == 4
    assert task.teachers == {}
    task = make()
    train(task, 5, unlabelled=2)
    assert task.teachers == {"teacher": task.teacher}


def test_the_parts_of_the_loss_add_up():
    task = make(labelled_weight=3.0, unlabelled_weight=0.5, tv_weight=0.25)
    g = torch.Generator().manual_seed(0)
    x, y, u = (torch.rand(2, 3, 16, 16, generator=g) for _ in range(3))
    first, second = (task.losses(RainyBatch(y, x[:, :1], x, u), step) for step in (3, 4))
    assert set(first) == {"loss", "labelled"}
    assert first["loss"].item() == pytest.approx(3 * first["labelled"].item())
    parts = 3 * second["labelled"] + 0.5 * second["unlabelled"] + 0.25 * second["total_variation"]
    assert second["loss"].item() == pytest.approx(parts.item(), rel=1e-6)
    assert second["total_variation"] > 0


def test_no_gradient_reaches_the_teacher_and_its_norms_stay_in_evaluation_mode():
    task = make(Gated())
    before = copy.deepcopy(task.teacher.state_dict())
    task.train()
    g = torch.Generator().manual_seed(0)
    x, y, u = (torch.rand(2, 3, 16, 16, generator=g) for _ in range(3))
    task.losses(RainyBatch(y, x[:, :1], x, u), 5)["loss"].backward()
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
    assert all(parameter.grad is not None for parameter in task.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.state_dict().items())


def test_rain_of_labelled_images_may_be_what_the_network_took_away():
    g = torch.Generator().manual_seed(0)
    x, y, u = (torch.rand(2, 3, 16, 16, generator=g) for _ in range(3))
    batch = RainyBatch(y, x[:, :1], x, u)

    def unlabelled(residue: str, net: nn.Module) -> float:
        torch.manual_seed(1)
        return make(net, labelled_residue=residue).losses(batch, 5)["unlabelled"].item()

    class Perfect(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            return y if torch.equal(rainy, x) else rainy

    assert unlabelled("prediction", Perfect()) == unlabelled("background", Perfect())
    assert unlabelled("prediction", network()) != unlabelled("background", network())


@pytest.mark.parametrize("stop", [2, 4, 5, 7], ids=["first stage", "switch", "after the switch", "second stage"])
def test_a_resumed_run_ends_bit_by_bit_as_an_undisturbed_one(tmp_path, stop):
    whole = make(Gated())
    undisturbed, whole_trainer = train(whole, 8, unlabelled=3, save=SaveAt(tmp_path / "stopped.ckpt", stop))
    going_on = make(Gated())
    resumed, resumed_trainer = train(going_on, 8, unlabelled=3, ckpt_path=tmp_path / "stopped.ckpt", weights_only=True)
    assert resumed.losses == undisturbed.losses[stop:]
    assert any(name.startswith("teacher.norm.running") for name in whole.state_dict())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, going_on.state_dict()[name]), name
    for a, b in zip(
        whole_trainer.optimizers[0].state.values(), resumed_trainer.optimizers[0].state.values(), strict=True
    ):
        assert all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)


def test_the_first_stage_may_be_counted_in_epochs():
    task = make(supervised="2epochs")  # six images, four a step: 1.5 steps each
    train(task, 8, unlabelled=2)
    assert task.switch == 3


def test_the_loss_curve_is_the_recorded_one():
    recorded = np.loadtxt(GOLDEN)
    assert len(recorded) == 50
    np.testing.assert_allclose(golden_semi_supervised_losses(), recorded, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"supervised": "8steps"}, "task.supervised takes 8 of the 8 steps and leaves none for self-training"),
        ({"teacher_decay": 1.5}, "task.teacher_decay=1.5 must lie between 0 and 1"),
        ({"tv_weight": -1.0}, "task.tv_weight=-1.0 must be a finite weight"),
        ({"labelled_weight": float("nan")}, "task.labelled_weight=nan must be a finite weight"),
        ({"teacher_buffers": "stale"}, "task.teacher_buffers=stale is not known: choose one of copy, average, keep"),
        ({"labelled_residue": "x"}, "task.labelled_residue=x is not known: choose one of background, prediction"),
        ({"mixing_strength": (1.0, 0.5)}, r"task.mixing_strength=[1.0, 0.5] must be [low, high]"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        make(**options)


def test_a_second_stage_without_unlabelled_images_is_refused():
    with pytest.raises(SlackoffError, match="no unlabelled images: name a folder of rainy photos with unlabelled=fol"):
        train(make(), 8)
