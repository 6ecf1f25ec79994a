import pytest
import torch
from descent import check_descent
from formula_weights import count_parameters, fill, formula_input

from slackoff.errors import SlackoffError
from slackoff.losses import L1, SPDNetLoss
from slackoff.networks import SPDNet
from slackoff.networks.spdnet import _nearest, residue_channel


def closed_form_count(channels, blocks):
    """Parameters, added up by hand: k is a 3x3 convolution of the features."""
    k = 9 * channels**2 + channels
    block = 2 * k + 2 * channels**2
    chain = blocks * block + k
    half = channels // 2
    entrance = 28 * half + 9 * half * channels + channels
    gates = 2 * (2 * 9 * 2 * channels + 2)
    wider = 9 * 4 * channels**2
    sub = 2 * k + gates + (2 * 9 * channels**2 + channels) + 2 * (wider + channels) + 9 * chain
    sub += 2 * (wider + 4 * channels) + 2 * (k + block)
    merges = 10 * 9 * channels**2 + 4 * channels
    return 3 * (entrance + chain + sub) + entrance + merges + 3 * (27 * channels + 3)


@pytest.mark.parametrize(("channels", "blocks"), [(32, 3), (8, 1), (16, 2)])
def test_parameter_counts(channels, blocks):
    with torch.device("meta"):
        assert count_parameters(SPDNet(channels, blocks)) == closed_form_count(channels, blocks)


def test_the_published_network_has_the_recorded_number_of_parameters():
    with torch.device("meta"):
        assert count_parameters(SPDNet()) == 2_981_525


@pytest.fixture(scope="module")
def filled() -> SPDNet:
    network = fill(SPDNet(image_range=1.0), gain=0.2)
    assert isinstance(network, SPDNet)
    return network


@torch.no_grad()
def test_formula_weights_give_the_recorded_stages(filled):
    recorded = [
        [0.0399699, 0.0167574, -0.0206186, 0.0505175, -0.0127438],
        [0.0415586, 0.00683123, 0.0325041, 0.0497442, 0.0271001],
        [0.0415520, 0.00685747, 0.0323594, 0.0497445, 0.0272506],
    ]
    stages = filled.stages(formula_input())
    assert stages.rains == ()
    for y, expected in zip(stages.backgrounds, recorded, strict=True):
        assert y.shape == (1, 3, 40, 56)
        found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
        assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_formula_weights_give_the_recorded_output_at_an_odd_size(filled):
    y = filled(formula_input()[:, :, :39, :53])
    assert y.shape == (1, 3, 39, 53)
    assert [y[0, 0, 0, 0].item(), y[0, 1, 20, 30].item()] == pytest.approx([0.0323594, 0.0497535], rel=1e-4)


def test_residue_channel_is_the_spread_of_the_colours_and_blind_to_grey_rain():
    pixels = torch.tensor([[0.1, 0.5, 0.3], [0.8, 0.8, 0.2]]).T.reshape(1, 3, 1, 2)
    expected = torch.tensor([0.4, 0.6]).expand(1, 3, 1, 2)
    torch.testing.assert_close(residue_channel(pixels), expected)
    torch.testing.assert_close(residue_channel(pixels + 0.15), expected)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (4, 5), (6, 7), (33, 18)])
def test_any_size_is_kept(height, width):
    stages = SPDNet(4, 1).stages(torch.rand(2, 3, height, width))
    assert [y.shape for y in stages.backgrounds] == [(2, 3, height, width)] * 3


@torch.no_grad()
def test_small_images_are_extended_by_their_last_row_and_column():
    network = fill(SPDNet(4, 1), gain=1.0)
    rainy = torch.rand(1, 3, 3, 6)
    extended = torch.cat([rainy, rainy[:, :, -1:], rainy[:, :, -1:]], dim=2)
    torch.testing.assert_close(network(rainy), network(extended)[:, :, :3])


@torch.no_grad()
def test_the_result_is_the_last_stage():
    network = fill(SPDNet(4, 1), gain=1.0)
    rainy = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(network(rainy), network.stages(rainy).backgrounds[-1], rtol=0, atol=0)


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


def test_each_stage_is_guided_by_the_prior_of_the_stage_before():
    """The last output changes with the first two output convolutions, which only the priors can carry to it."""
    torch.manual_seed(0)
    network = SPDNet(8, 1)
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    for output in (network.output1, network.output2):
        assert output.weight.grad is not None
        assert output.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [L1(), SPDNetLoss()])
def test_gradients_reach_every_parameter(loss):
    torch.manual_seed(0)
    network = SPDNet(8, 1)
    loss(network, torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@pytest.mark.parametrize("image_range", [1.0, 255.0])
@pytest.mark.parametrize("loss", [L1(), SPDNetLoss()])
def test_training_lowers_the_loss(loss, image_range):
    torch.manual_seed(0)
    network = SPDNet(8, 1, image_range)
    background = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (12, 12), mode="bilinear")
    rainy = (background + 0.3 * torch.rand(2, 1, 12, 1)).clamp(max=1.0)
    check_descent(network, loss, rainy, background)


@pytest.mark.parametrize("image_range", [1.0, 255.0])
def test_it_trains_in_bf16_and_channels_last(image_range):
    torch.manual_seed(0)
    network = SPDNet(8, 1, image_range).to(memory_format=torch.channels_last)
    rainy = torch.rand(2, 3, 19, 22).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(rainy)
        loss = SPDNetLoss()(network, rainy, rainy)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    torch.testing.assert_close(output.float(), network(rainy), atol=0.02, rtol=0.05)


@pytest.mark.parametrize(("key", "value"), [("channels", 0), ("blocks", -3), ("chains", 0)])
def test_sizes_below_one_are_refused(key, value):
    with pytest.raises(SlackoffError, match=rf"network\.{key}={value} must be at least 1"):
        SPDNet(**{key: value})


def test_each_wavelet_level_has_so_many_chains():
    network = SPDNet(4, 1, chains=2)
    assert [len(level) for level in network.sub2.levels] == [2, 2, 2]
    assert network(torch.rand(1, 3, 9, 7)).shape == (1, 3, 9, 7)


@pytest.mark.parametrize("image_range", [0, 2.0, -255, float("nan")])
def test_another_image_range_is_refused(image_range):
    with pytest.raises(SlackoffError, match=r"network\.image_range=.* must be 1 or 255"):
        SPDNet(image_range=image_range)


def test_an_exported_graph_resizes_to_the_very_pixels_of_pytorch(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for size in range(3, 90):
        doubled = torch.rand(1, 1, 2 * size + 5, 2 * (size + 1) + 5)
        expected = torch.nn.functional.interpolate(doubled, (size, size + 2), mode="nearest")
        assert torch.equal(_nearest(doubled, size, size + 2), expected)
