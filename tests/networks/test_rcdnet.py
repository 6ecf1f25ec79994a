import copy

import pytest
import torch
import torch.nn.functional as F
from descent import check_bf16_gradients, check_descent
from formula_weights import count_parameters, fill, formula_input
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import L1, RCDNetLoss
from slackoff.networks import RCDNet


def filled(network: RCDNet) -> RCDNet:
    """Formula weights as the figures were recorded with: in the residual networks alone, thresholds left out."""
    for net in (network.first_image_net, *network.image_nets, network.last_image_net):
        fill(net, gain=0.05)
    for net in network.map_nets:
        fill(net.blocks, gain=0.05)
    return network.eval()


def rainy_pair(seed: int = 0, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth backgrounds with sparse vertical streaks."""
    g = torch.Generator().manual_seed(seed)
    background = F.interpolate(torch.rand(4, 3, 4, 4, generator=g), size=(size, size), mode="bilinear") * 0.7
    drops = (torch.rand(4, 1, size, size, generator=g) > 0.97).float()
    rain = F.conv2d(drops, torch.full((1, 1, 9, 1), 0.4), padding=(4, 0))
    return (background + rain).clamp(0, 1), background


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ((17, 4, 32, 32), 2_975_186),
        # Three image networks, a map network, two dictionaries, one step size, dual filter, threshold.
        ((1, 1, 2, 1), 3 * 2 * (4 * 4 * 9 + 4 + 8) + 2 * (2 * 2 * 9 + 2 + 4) + 2 + 2 * 3 * 2 * 81 + 1 + 27 + 1),
    ],
)
def test_parameter_counts(sizes, count):
    with torch.device("meta"):
        assert count_parameters(RCDNet(*sizes)) == count


@torch.no_grad()
def test_formula_weights_give_the_recorded_stages():
    found = filled(RCDNet()).stages(formula_input())
    assert (len(found.backgrounds), len(found.rains)) == (19, 17)
    recorded = [
        (found.backgrounds[0], [127.186, 68.8694, 146.139, 177.283, 15.1297]),
        (found.backgrounds[1], [127.111, 69.0255, 136.222, 177.320, 12.4095]),
        (found.backgrounds[17], [127.063, 69.2864, 126.837, 177.343, 9.84173]),
        (found.backgrounds[18], [127.009, 70.0549, 107.534, 177.410, 4.45023]),
        (found.rains[16], [0.0408471, 0.170936, 0.472286, 0, 4.8626e-08]),
    ]
    for estimate, expected in recorded:
        grey = 255 * estimate
        values = [grey.mean(), grey.std(correction=0), grey[0, 0, 0, 0], grey[0, 1, 20, 30], grey[0, 2, 39, 55]]
        assert [value.item() for value in values] == pytest.approx(expected, rel=1e-4, abs=0)


@torch.no_grad()
def test_the_result_is_the_last_background():
    network = filled(RCDNet(2, 1))
    rainy = formula_input()
    assert torch.equal(network(rainy), network.stages(rainy).backgrounds[-1])


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 5), (33, 16)])
def test_any_size_is_kept(height, width):
    network = RCDNet(2, 1, 3, 2).eval()
    stages = network.stages(torch.rand(2, 3, height, width))
    assert (len(stages.backgrounds), len(stages.rains)) == (4, 2)
    assert {tuple(image.shape) for image in (*stages.backgrounds, *stages.rains)} == {(2, 3, height, width)}


@torch.no_grad()
def test_backgrounds_and_maps_are_never_negative():
    torch.manual_seed(0)
    network = RCDNet(3, 2, 4, 4).train()
    seen: list[torch.Tensor] = []
    for net in network.map_nets:
        net.register_forward_hook(lambda *call: seen.append(call[-1]))
    stages = network.stages(torch.rand(2, 3, 12, 12))
    assert all(image.min() >= 0 for image in (*stages.backgrounds, *seen))
    assert len(seen) == 3


@torch.no_grad()
def test_channels_last_gives_the_same():
    network = filled(RCDNet(3, 2))
    rainy = formula_input()
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)(rainy.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, network(rainy), rtol=0, atol=1e-5)


@torch.no_grad()
def test_under_autocast_images_stay_exact_to_a_fraction_of_a_grey_level():
    network, rainy = filled(RCDNet()), formula_input()
    exact = network.stages(rainy)
    with torch.autocast("cpu", torch.bfloat16):
        found = network.stages(rainy)
    assert {image.dtype for image in (*found.backgrounds, *found.rains)} == {torch.float32}
    # 0.38 at most; it is 0.89 where the dictionary convolutions run in bfloat16 too.
    assert 0 < 255 * (found.backgrounds[-1] - exact.backgrounds[-1]).abs().max().item() < 0.6


@torch.no_grad()
def test_it_runs_without_data():
    """Counting operations needs no images."""
    with torch.device("meta"):
        network = RCDNet(2, 1)
        assert network(torch.rand(1, 3, 9, 9)).shape == (1, 3, 9, 9)


@pytest.mark.parametrize("loss", [RCDNetLoss(), L1()])
def test_gradients_reach_every_parameter_but_biases_before_a_norm(loss):
    torch.manual_seed(1)
    network = RCDNet(3, 2, 8, 8).double()
    rainy, background = (images.double() for images in rainy_pair())
    loss(network, rainy, background).backward()
    scale = 255.0 if isinstance(loss, RCDNetLoss) else 1.0
    dead = {name for name, p in network.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12 * scale}
    assert dead == {name for name, _ in network.named_parameters() if ".conv" in name and name.endswith(".bias")}
    last = network.last_image_net[-1]
    for learned in (last.conv2.weight, last.norm2.weight, last.norm2.bias):
        assert learned.grad is not None
        reached = learned.grad.flatten(1).abs().sum(1) if learned.dim() > 1 else learned.grad
        assert (reached != 0).tolist() == [True] * 3 + [False] * 8


def test_each_estimate_trains_the_stages_up_to_it():
    network = RCDNet(3, 1, 4, 4)
    stages = network.stages(rainy_pair()[0])
    image_nets = [network.first_image_net, *network.image_nets, network.last_image_net]
    for estimates, nets in ((stages.backgrounds, image_nets), (stages.rains, network.map_nets)):
        for number, estimate in enumerate(estimates):
            weights = [next(net.parameters()) for net in nets]
            grads = torch.autograd.grad(estimate.square().sum(), weights, retain_graph=True, allow_unused=True)
            assert [grad is not None for grad in grads] == [n <= number for n in range(len(nets))]


@pytest.mark.parametrize("loss", [RCDNetLoss(), L1()])
def test_training_lowers_the_loss(loss):
    torch.manual_seed(0)
    check_descent(RCDNet(3, 1, 8, 5), loss, *rainy_pair())


@pytest.mark.parametrize("loss", [RCDNetLoss(), L1()])
def test_bf16_gradients_point_where_exact_ones_do(loss):
    torch.manual_seed(0)
    check_bf16_gradients(RCDNet(3, 1, 8, 5), loss, *rainy_pair())


def trained_once(network: RCDNet) -> tuple[RCDNet, int]:
    """After one backward pass; with the bytes that were kept for it."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = RCDNetLoss()(network, *rainy_pair())
    loss.backward()
    return network, sum(kept.values())


@pytest.mark.parametrize("shared", [False, True], ids=["one rank", "norms of several ranks"])
def test_checkpointing_saves_memory_and_changes_nothing(shared):
    torch.manual_seed(0)
    plain = RCDNet(3, 4, 8, 5)
    if shared:
        plain = nn.SyncBatchNorm.convert_sync_batchnorm(plain)  # computes on a CPU as long as there is one rank
    frugal = copy.deepcopy(plain)
    frugal.checkpoint = True
    (plain, much), (frugal, little) = trained_once(plain), trained_once(frugal)
    assert little < 0.4 * much
    for (name, a), (_, b) in zip(plain.named_parameters(), frugal.named_parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), (_, b) in zip(plain.named_buffers(), frugal.named_buffers(), strict=True):
        assert torch.equal(a, b), name
    norm = nn.SyncBatchNorm if shared else nn.BatchNorm2d
    assert {m.momentum for m in frugal.modules() if isinstance(m, norm)} == {0.1}


def test_norms_use_the_batch_in_training_and_running_averages_in_evaluation():
    torch.manual_seed(0)
    network = RCDNet(2, 1, 4, 4)
    rainy, _ = rainy_pair()
    alone, together = (rainy[:1], rainy)
    with torch.no_grad():
        assert not torch.allclose(network(alone), network(together)[:1], atol=1e-3)
        network.eval()
        torch.testing.assert_close(network(alone), network(together)[:1])
        # The averages of two steps are far from those of the batch; after many steps on one batch they are its own.
        early = network(rainy)
        network.train()
        for _ in range(200):
            batch = network(rainy)
        network.eval()
        late = network(rainy)
    assert (early - batch).abs().mean() > 10 * (late - batch).abs().mean()


@pytest.mark.parametrize("key", ["stages", "blocks", "maps", "dual_channels"])
@pytest.mark.parametrize("value", [0, -2])
def test_sizes_below_one_are_refused(key, value):
    with pytest.raises(SlackoffError, match=rf"network\.{key}={value} must be at least 1"):
        RCDNet(**{key: value})


def test_more_maps_than_kernels_are_refused():
    with pytest.raises(SlackoffError, match=r"network\.maps=33 must be at most 32"):
        RCDNet(maps=33)
