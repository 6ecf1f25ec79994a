"""What is particular to RCDNet, SPDNet and JORDER-E, which estimate a background in stages."""

import copy

import numpy as np
import pytest
import torch
from network_tester import fill, formula_input, rainy_pair
from torch import nn

from slackoff.losses import L1, RCDNetLoss
from slackoff.networks import JORDERE, RCDNet, SPDNet
from slackoff.networks.rcdnet import STREAKS, rain_kernels
from slackoff.networks.spdnet import _nearest, residue_channel


@torch.no_grad()
def test_under_autocast_images_of_rcdnet_stay_exact_to_a_fraction_of_a_grey_level():
    """0.38 at most; it is 0.89 where the dictionary convolutions run in bfloat16 too."""
    network, rainy = RCDNet().eval(), formula_input()
    for part in (network.first_image_net, *network.image_nets, network.last_image_net):
        fill(part, gain=0.05)
    for part in network.map_nets:
        fill(part.blocks, gain=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        found = network.stages(rainy)
    assert {image.dtype for image in (*found.backgrounds, *found.rains)} == {torch.float32}
    assert 0 < 255 * (found.backgrounds[-1] - network(rainy)).abs().max().item() < 0.6


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


def test_the_last_layers_of_rcdnet_are_trained_where_they_make_the_image():
    torch.manual_seed(1)
    network = RCDNet(3, 2, 8, 8).double()
    rainy, background = (images.double() for images in rainy_pair())
    L1()(network, rainy, background).backward()
    convolution, norm = network.last_image_net[-1][0][2]
    for learned in (convolution.weight, norm.weight, norm.bias):
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


def test_kernels_are_the_tables_gaussians():
    """Each value from the formula, pixel by pixel, in NumPy; offsets beyond the flat centre count."""
    kernels = rain_kernels()
    assert (kernels.shape, kernels.dtype) == ((3, 32, 9, 9), torch.float32)
    for n, streak in enumerate(STREAKS, start=1):
        assert streak.stretch == (2.5 if n <= 16 else 2.0) + 0.25 * n
        expected = np.zeros((9, 9))
        for y, x in np.ndindex(9, 9):
            down, across = (max(abs(v - 4) - streak.flat, 0) for v in (y, x))
            expected[y, x] = np.exp(-(across**2 + (down / streak.stretch) ** 2) / (2 * streak.deviation**2))
        expected *= streak.total / expected.sum()
        for colour in kernels[:, n - 1].numpy():
            np.testing.assert_allclose(colour, expected, rtol=1e-5, atol=1e-30)


def test_no_figure_of_the_table_is_mistyped():
    """Sums of its columns, plain and weighted by the row's number, added up from its text and not from the code."""
    columns = np.array(STREAKS)
    rows = np.arange(1, 33)
    np.testing.assert_allclose(columns.sum(axis=0), [18.0, 11.785436, 204.0, 14.461709], atol=1e-6)
    np.testing.assert_allclose(rows @ columns, [364.0, 228.002519, 3984.0, 230.246], atol=1e-6)


def test_fewer_maps_take_kernels_from_the_whole_table():
    every = rain_kernels()
    assert torch.equal(rain_kernels(2), every[:, [0, 31]])
    assert torch.equal(rain_kernels(1), every[:, :1])
    assert len({tuple(kernel.flatten().tolist()) for kernel in rain_kernels(16)[0]}) == 16


def test_residue_channel_is_the_spread_of_the_colours_and_blind_to_grey_rain():
    pixels = torch.tensor([[0.1, 0.5, 0.3], [0.8, 0.8, 0.2]]).T.reshape(1, 3, 1, 2)
    expected = torch.tensor([0.4, 0.6]).expand(1, 3, 1, 2)
    torch.testing.assert_close(residue_channel(pixels), expected)
    torch.testing.assert_close(residue_channel(pixels + 0.15), expected)


@torch.no_grad()
def test_small_images_are_extended_by_their_last_row_and_column():
    network = fill(SPDNet(4, 1), gain=1.0)
    rainy = torch.rand(1, 3, 3, 6)
    extended = torch.cat([rainy, rainy[:, :, -1:], rainy[:, :, -1:]], dim=2)
    torch.testing.assert_close(network(rainy), network(extended)[:, :, :3])


@torch.no_grad()
def test_image_range_255_is_the_network_on_grey_levels():
    plain, grey = (fill(SPDNet(4, 1, image_range=scale), gain=0.5) for scale in (1.0, 255.0))
    rainy = torch.rand(1, 3, 12, 14)
    expected = [y / 255 for y in plain.stages(255 * rainy).backgrounds]
    for found, y in zip(grey.stages(rainy).backgrounds, expected, strict=True):
        torch.testing.assert_close(found, y)
    assert not torch.allclose(grey(rainy), plain(rainy), rtol=0.1)


@torch.no_grad()
def test_global_residual_starts_each_stage_from_the_rainy_image():
    """With output convolutions of zero every stage is the rainy image, at both ranges."""
    rainy = torch.rand(2, 3, 12, 12)
    for image_range in (1.0, 255.0):
        network = SPDNet(4, 1, image_range, global_residual=True)
        for output in (network.output1, network.output2, network.output3):
            for parameter in output.parameters():
                parameter.zero_()
        for y in network.stages(rainy).backgrounds:
            torch.testing.assert_close(y, rainy)


@torch.no_grad()
def test_a_side_of_five_pixels_is_not_extended():
    network = SPDNet(4, 1)
    seen = seen_by(network, "head")
    network(torch.rand(1, 3, 5, 6))
    assert seen["head"][0].shape == (1, 3, 5, 6)


def seen_by(network, *names):
    """What goes into and comes out of modules at the next call: name to (input, output), filled by the call."""
    seen = {}
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _, x, y, name=name: seen.__setitem__(name, (x[0], y)))
    return seen


@torch.no_grad()
def test_features_are_joined_newest_first_as_in_the_original():
    """The recorded figures are too even to show the order of what is joined."""
    network = SPDNet(4, 1)
    merges = ["merge_input2", "merge_output2", "merge_input3", "merge_output3"]
    seen = seen_by(network, "head", "sub1", "sub2", "sub3", "sub1.fusion", "sub1.merge", *merges)
    network(torch.rand(1, 3, 8, 8))
    start, s1, s2, s3 = (seen[name][1] for name in ("head", "sub1", "sub2", "sub3"))
    joined = dict(zip(merges, [(s1, start), (s2, s1), (s2, s1, start), (s3, s2, s1)], strict=True))
    joined["sub1.merge"] = seen["sub1.fusion"][1]
    for name, features in joined.items():
        torch.testing.assert_close(seen[name][0], torch.cat(features, dim=1), rtol=0, atol=0, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("global_residual", [False, True])
def test_priors_are_those_of_the_image_and_of_the_first_two_stages(global_residual):
    network = SPDNet(4, 1, 255.0, global_residual)
    seen = seen_by(network, "prior1", "prior2", "prior3")
    rainy = torch.rand(1, 3, 8, 8)
    first, second, _ = network.stages(rainy).backgrounds
    for name, image in zip(("prior1", "prior2", "prior3"), (rainy, first, second), strict=True):
        torch.testing.assert_close(seen[name][0], residue_channel(255 * image), rtol=1e-5, atol=1e-4)


def test_an_exported_graph_resizes_to_the_very_pixels_of_pytorch(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for size in range(3, 90):
        doubled = torch.rand(1, 1, 2 * size + 5, 2 * (size + 1) + 5)
        expected = torch.nn.functional.interpolate(doubled, (size, size + 2), mode="nearest")
        assert torch.equal(_nearest(doubled, size, size + 2), expected)


@torch.no_grad()
def test_mask_and_level_scale_nothing_at_the_start():
    network = JORDERE(6, 1)
    for stage in (network.stage1, network.stage2):
        assert torch.equal(stage.mask_scale(torch.randn(1, 2, 5, 5)), torch.ones(1, 6, 5, 5))
        assert torch.equal(stage.level_scale(torch.randn(1, 3, 5, 5)), torch.ones(1, 6, 5, 5))


@torch.no_grad()
def test_without_a_decoder_the_result_is_the_rainy_image():
    network = JORDERE(6, 1)
    for stage in (network.stage1, network.stage2):
        for parameter in stage.decoder[1].parameters():
            parameter.zero_()
    rainy = torch.rand(2, 3, 6, 7)
    for background in network.stages(rainy).backgrounds:
        torch.testing.assert_close(background, rainy)
