import pytest
import torch
from descent import check_descent
from drd_net_reference import restore
from formula_weights import count_parameters, fill, formula_input
from torch import nn

from slackoff.errors import SlackoffError
from slackoff.losses import DRDNetLoss
from slackoff.networks import DRDNet


def counted(channels: int, blocks: int) -> tuple[int, int]:
    """Parameters of the rain and of the detail network, added up by hand."""
    k = 9 * channels**2 + channels
    frame = (27 * channels + channels) + channels + k + 2 * channels + (27 * channels + 3)
    norms_and_slopes = 5 * channels
    excitation = 2 * channels * max(1, channels // 16)
    aggregation = 3 * k + 3 * channels**2 + channels
    return frame + blocks * (2 * k + norms_and_slopes + excitation), frame + blocks * (
        2 * aggregation + norms_and_slopes
    )


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [((64, 16), (1_235_651, 3_986_115)), ((16, 2), counted(16, 2)), ((4, 3), counted(4, 3))],
)
def test_parameter_counts(sizes, counts):
    with torch.device("meta"):
        network = DRDNet(*sizes)
    assert (count_parameters(network.rain), count_parameters(network.detail)) == counts == counted(*sizes)


def test_norms_of_the_published_size_keep_the_recorded_number_of_averages():
    with torch.device("meta"):
        averages = [buffer for name, buffer in DRDNet().named_buffers() if "running" in name]
    assert sum(buffer.numel() for buffer in averages) == 8_448


@torch.no_grad()
def test_formula_weights_give_the_recorded_backgrounds():
    stages = fill(DRDNet(), gain=0.2).stages(formula_input())
    recorded = [
        [0.458535, 0.275869, 0.648493, 0.652290, 0.050873],
        [0.497991, 0.265194, 0.608622, 0.687704, 0.0826017],
    ]
    for y, expected in zip(stages.backgrounds, recorded, strict=True):
        found = [y.mean(), y.std(correction=0), y[0, 0, 0, 0], y[0, 1, 20, 30], y[0, 2, 39, 55]]
        assert [value.item() for value in found] == pytest.approx(expected, rel=1e-4)


def disturbed(network: DRDNet) -> DRDNet:
    """With slopes, gates, biases and averages that are all different, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in network.named_parameters():
        if tensor.dim() == 1 or ".excite." in name:
            nn.init.uniform_(tensor, -1.0, 1.5, generator=generator)
    for name, tensor in network.named_buffers():
        if "running" in name:
            nn.init.uniform_(tensor, 0.2, 2.0, generator=generator)
    return network.double()


@torch.no_grad()
@pytest.mark.parametrize("detail_input", ["sum", "rainy"])
@pytest.mark.parametrize("training", [False, True])
def test_it_equals_another_build(detail_input, training):
    torch.manual_seed(0)
    network = disturbed(DRDNet(6, 2, detail_input)).train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    rainy = torch.rand(2, 3, 13, 17, dtype=torch.float64)
    found = network.stages(rainy)
    expected = restore(rainy, state, detail_input, training)
    for y, reference in zip(found.backgrounds, expected, strict=True):
        torch.testing.assert_close(y, reference, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.rains[0], rainy - expected[0], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_result_is_the_background_with_the_repaired_detail():
    network = disturbed(DRDNet(4, 1)).eval()
    rainy = torch.rand(1, 3, 12, 12, dtype=torch.float64)
    first, repaired = network.stages(rainy).backgrounds
    torch.testing.assert_close(network(rainy), repaired, rtol=0, atol=0)
    assert (repaired - first).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 5), (33, 18)])
def test_any_size_is_kept(height, width):
    stages = DRDNet(4, 1).eval().stages(torch.rand(2, 3, height, width))
    assert [image.shape for image in (*stages.backgrounds, *stages.rains)] == [(2, 3, height, width)] * 3


def test_it_starts_from_hes_normal_distribution_with_rectifiers():
    torch.manual_seed(0)
    network = DRDNet(32, 1)
    kernel = network.detail.blocks[0].body[0].branches[2].weight
    assert kernel.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)
    slopes = [module.weight for module in network.modules() if isinstance(module, nn.PReLU)]
    assert [len(slope) for slope in slopes] == [32] * 4
    assert all((slope == 0).all() for slope in slopes)


def test_gradients_reach_every_kernel_of_both_networks():
    torch.manual_seed(0)
    network = DRDNet(16, 2)
    DRDNetLoss()(network, torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)).backward()
    kernels = {name: p for name, p in network.named_parameters() if p.dim() > 1 and "squeeze" not in name}
    assert len(kernels) == 3 + 2 * 3 + 3 + 2 * 2 * 4
    assert [name for name, p in kernels.items() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    network = DRDNet(8, 1)
    background = nn.functional.interpolate(torch.rand(2, 3, 4, 4), (12, 12), mode="bilinear")
    rainy = (background + 0.3 * torch.rand(2, 1, 12, 1)).clamp(max=1.0)
    check_descent(network, DRDNetLoss(), rainy, background)


def test_it_trains_in_bf16_and_channels_last():
    torch.manual_seed(0)
    network = DRDNet(16, 1).to(memory_format=torch.channels_last)
    rainy = torch.rand(2, 3, 19, 22).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = DRDNetLoss()(network, rainy, rainy)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(DRDNetLoss()(network, rainy, rainy).item(), rel=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": 0}, r"network\.channels=0 must be at least 1"),
        ({"blocks": 0}, r"network\.blocks=0 must be at least 1"),
        ({"detail_input": "product"}, r"network\.detail_input=product is not known: choose sum or rainy"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(SlackoffError, match=sentence):
        DRDNet(**options)
