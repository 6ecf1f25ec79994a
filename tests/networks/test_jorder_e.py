import pytest
import torch
from descent import check_descent
from formula_weights import count_parameters, fill, formula_input

from slackoff.errors import SlackoffError
from slackoff.losses import L1, JORDERELoss
from slackoff.networks import JORDERE


def closed_form_count(channels, blocks):
    """Parameters, added up by hand: a stage has 3x3 convolutions with biases only."""
    sizes = [(6, channels), *[(channels, channels)] * (6 * blocks)]
    sizes += [(channels, 8), (8, 2), (channels, 8), (8, 3)]
    sizes += 2 * [(2, 16), (16, channels), (3, 16), (16, channels)]
    sizes += [(channels, channels), (channels, 3)]
    return 2 * sum(9 * inputs * outputs + outputs for inputs, outputs in sizes)


@pytest.mark.parametrize("sizes", [(64, 9), (32, 3), (5, 1)])
def test_parameter_counts(sizes):
    with torch.device("meta"):
        assert count_parameters(JORDERE(*sizes)) == closed_form_count(*sizes)


@pytest.mark.parametrize(("sizes", "count"), [((), 4_169_024), ((32, 3), 406_784)])
def test_the_released_networks_have_the_recorded_numbers_of_parameters(sizes, count):
    with torch.device("meta"):
        assert count_parameters(JORDERE(*sizes)) == count


def figures(image):
    found = [image.mean(), image.std(correction=0), image[0, 0, 0, 0], image[0, 1, 20, 30], image[0, 2, 39, 55]]
    return [value.item() for value in found]


@torch.no_grad()
def test_formula_weights_give_the_recorded_estimates():
    """Recorded with 0..1 inside the network, which is an image of 0..1 / 255 here."""
    found = fill(JORDERE(), gain=0.1).estimates(formula_input() / 255)
    first, result = (255 * background for background in found.backgrounds)
    assert figures(result) == pytest.approx([0.541082, 0.269935, 0.690744, 0.744479, 0.117864], rel=1e-4)
    assert figures(first) == pytest.approx([0.541029, 0.269917, 0.691531, 0.744521, 0.114711], rel=1e-4)
    assert [found.mask.mean().item(), 255 * found.level.mean().item()] == pytest.approx(
        [0.0922716, 0.0842434], rel=1e-4
    )


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


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 5), (33, 18)])
def test_any_size_is_kept(height, width):
    network, rainy = JORDERE(6, 2), torch.rand(2, 3, height, width)
    found = network.estimates(rainy)
    assert [image.shape for image in (*found.backgrounds, found.level)] == [rainy.shape] * 3
    assert found.mask.shape == (2, 2, height, width)
    assert network.stages(rainy).rains == ()
    torch.testing.assert_close(network(rainy), found.backgrounds[-1], rtol=0, atol=0)


@pytest.mark.parametrize("loss", [L1(), JORDERELoss()])
def test_gradients_reach_every_parameter(loss):
    torch.manual_seed(0)
    network = JORDERE(8, 2).double()
    for stage in (network.stage1, network.stage2):
        for scale in (stage.mask_scale, stage.level_scale):
            torch.nn.init.normal_(scale[-1].weight, std=1e-3)  # at zero nothing goes back through them
    rainy, background = torch.rand(2, 2, 3, 12, 12, dtype=torch.float64)
    loss(network, rainy, background).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@pytest.mark.parametrize("loss", [L1(), JORDERELoss(), JORDERELoss("rain")])
def test_training_lowers_the_loss(loss):
    torch.manual_seed(0)
    network = JORDERE(8, 1)
    background = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (12, 12), mode="bilinear")
    rainy = (background + 0.3 * torch.rand(2, 1, 12, 1)).clamp(max=1.0)
    check_descent(network, loss, rainy, background)


def test_it_trains_in_bf16_and_channels_last():
    torch.manual_seed(0)
    network = JORDERE(8, 2).to(memory_format=torch.channels_last)
    rainy = torch.rand(2, 3, 19, 22).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(rainy)
        loss = JORDERELoss()(network, rainy, rainy)
    loss.backward()
    assert (output.dtype, loss.dtype) == (torch.float32, torch.float32)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    torch.testing.assert_close(output, network(rainy), atol=0.02, rtol=0)


@pytest.mark.parametrize("key", ["channels", "blocks"])
def test_sizes_below_one_are_refused(key):
    with pytest.raises(SlackoffError, match=rf"network\.{key}=0 must be at least 1"):
        JORDERE(**{key: 0})
