import copy

import pytest
import torch
import torch.nn.functional as F
from small_problem import BATCH, SEED, Pixel, SaveAt, WithUnlabelled, network, train
from torch import nn

from slackoff.config import build
from slackoff.data import BatchStream
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.networks import Syn2Real
from slackoff.tasks import Steps, Syn2RealTask

CONSTANT = Steps([], 1.0)
SMALL = {"neighbours": 3, "bank_size": 6}


def small(seed: int = 1) -> Syn2Real:
    torch.manual_seed(seed)
    return Syn2Real(8, 1)


def make(net: nn.Module | None = None, steps: int = 5, **options) -> Syn2RealTask:
    return Syn2RealTask(net or small(), steps, **{"decay": CONSTANT, "gp_weight": 0.1, **SMALL, **options})


def explicit_gp(u: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The loss of one latent with the cosine kernel and a noise of 0.01, by an inverse matrix, in float64."""
    u, z = u.double(), z.double()
    unit, units = u / u.norm(), z / z.norm(dim=1, keepdim=True)
    inverse = torch.inverse(units @ units.T + 0.01 * torch.eye(len(z), dtype=torch.float64))
    across = units @ unit
    variance = 1 - across @ inverse @ across + 0.01
    return ((u - z.T @ inverse @ across) ** 2).mean() / variance + 0.33 * variance.log()


def bare_loop(net: Syn2Real, steps: int, unlabelled: int) -> tuple[list[float], torch.Tensor]:
    data = WithUnlabelled(unlabelled)
    stream = BatchStream(torch.from_numpy(data.bank).permute(0, 3, 1, 2), **data.options)
    optimizer = torch.optim.Adam(net.parameters(), 2e-4)
    seen, losses = [], []
    for step in range(steps):
        torch.manual_seed(derive_seed(SEED, "step", step, 0))
        batch, photos = stream.batch(step), data.other.batch(step).rainy
        image, latent = net.restored(batch.rainy)
        seen = (seen + list(latent.detach().reshape(BATCH, -1)))[-6:]
        loss = F.smooth_l1_loss(image, batch.background) + 0.04 * (image - batch.background).square().mean()
        for u in net.latent(photos).reshape(unlabelled, -1):
            distances = torch.stack([(z - u.detach()).norm() for z in seen])
            near = [seen[number] for number in distances.argsort()[:3]]
            loss = loss + 0.1 * explicit_gp(u, torch.stack(near)) / unlabelled
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, torch.stack(seen)


def test_training_equals_a_bare_loop():
    task = make(terms={"pixel": Pixel(1.0)})
    witness, _ = train(task, 5, unlabelled=3)
    losses, seen = bare_loop(small(), 5, 3)
    assert witness.losses == pytest.approx(losses, rel=1e-3, abs=1e-5)
    assert task.bank.shape == (6, 16 * 4 * 4)
    torch.testing.assert_close(task.bank, seen, rtol=1e-2, atol=1e-3)


def test_killed_and_resumed_is_bit_equal(tmp_path):
    whole = make(steps=4)
    start = copy.deepcopy(whole.network)
    train(whole, 4, unlabelled=3, save=SaveAt(tmp_path / "at2.ckpt", 2))
    resumed = make(start, steps=4)
    train(resumed, 4, unlabelled=3, ckpt_path=tmp_path / "at2.ckpt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert whole.bank.untyped_storage().nbytes() == 4 * whole.bank.numel()


def test_the_bank_keeps_the_latest_latents():
    task = make().train()
    banks = [task._banked(torch.full((count, 2, 1, 1), float(count))) for count in (2, 3, 4)]
    assert [bank[:, 0].tolist() for bank in banks] == [[2, 2], [2, 2, 3, 3, 3], [3, 3, 4, 4, 4, 4]]
    assert task._banked(torch.arange(9.0).view(9, 1, 1, 1))[:, 0].tolist() == [3, 4, 5, 6, 7, 8]
    task.eval()
    assert len(task._banked(torch.zeros(1, 1, 1, 1))) == 6
    assert task.bank[:, 0].tolist() == [3, 4, 5, 6, 7, 8]


def test_the_photos_move_the_encoder_alone():
    task = make(gp_weight=1.0, steps=1)
    batch = WithUnlabelled(3)
    photos = batch.other.batch(0).rainy
    bank = torch.randn(6, 256, generator=torch.Generator().manual_seed(1))
    task._unlikely(task.network.latent(photos), bank).backward()
    moved = {name.split(".")[0] for name, p in task.network.named_parameters() if p.grad is not None}
    assert moved == {"head", *(f"encoder{number}" for number in range(1, 7)), "to_latent"}


def test_the_labelled_images_alone_need_no_photos():
    witness, _ = train(make(gp_weight=0.0), 1)
    assert witness.losses[0] > 0
    with pytest.raises(SlackoffError, match=r"task=syn2real has no unlabelled images: .*task\.gp_weight=0"):
        train(make(), 1)


def test_the_preset_is_built(composed):
    config = composed("network=syn2real_small", "task=syn2real", "unlabelled=folder", "unlabelled.root=photos")
    task = build.build_task(config, build.build_network(config))
    assert (task.neighbours, task.bank_size, task.noise) == (16, 128, 0.01)
    assert (task.gp_weight, task.term_weight, len(task.terms)) == (0.0015, 0.04, 0)
    given = composed("network=syn2real_small", "task=syn2real", "+terms@task.terms=vgg16", "roots.vgg16=nowhere")
    with pytest.raises(SlackoffError, match=r"VGG-16 are not on disk .*nowhere.*roots\.vgg16=PATH"):
        build.build_task(given, build.build_network(given))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": network()}, "task=syn2real compares latents, and UNet gives none: choose network=syn2real"),
        ({"kernel": "cubic"}, "task.kernel=cubic is not known: choose one of linear"),
        ({"neighbours": 7}, "task.neighbours=7 must be at least 1 and at most task.bank_size=6"),
        ({"noise": 0.0}, "task.noise=0.0 must be a finite variance above 0"),
        ({"gp_weight": -1.0}, "task.gp_weight=-1.0 must be a finite weight"),
        ({"term_weight": float("nan")}, "task.term_weight=nan must be a finite weight"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(SlackoffError, match=message):
        make(**options)
