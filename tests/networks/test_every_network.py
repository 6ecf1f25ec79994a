"""What every network promises, and the figures that other builds of it gave."""

import copy
import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from network_tester import CASES, count_parameters, figures, fill, formula_input, gradients, rainy_pair
from torch import nn
from torch.nn.functional import cosine_similarity, pad

from slackoff.config import build, config_folder
from slackoff.data import RainyBatch
from slackoff.errors import SlackoffError
from slackoff.losses import L1, MSE, EdgeAware, GradientBalancing, PixelMSE
from slackoff.networks import (
    DDN,
    DSC,
    JORDERE,
    MENET,
    MOSS,
    RESCAN,
    DRDNet,
    PReNet,
    RCDNet,
    ResNet,
    SPDNet,
    SwinIR,
    Syn2Real,
    UNet,
)
from slackoff.tasks import MultitaskTask

FALL = 1e-4
"""The share of the loss by which a step is to lower it: small for calculus, large beside float32's 1e-7."""


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


class TestEveryNetwork:
    @torch.no_grad()
    def test_any_size_is_kept_by_every_estimate(self, case):
        network = case.build().eval()
        for height, width in ((1, 1), (1, 9), (7, 5), (33, 18)):
            height, width = max(height, case.least), max(width, case.least)
            rainy = torch.rand(2, 3, height, width)
            found = network(rainy)
            assert (found.shape, found.dtype) == (rainy.shape, torch.float32)
            assert found.isfinite().all()
            if case.bounded:
                assert 0 <= found.min() <= found.max() <= 1
            if case.estimates:
                stages = network.stages(rainy)
                assert (len(stages.backgrounds), len(stages.rains)) == case.estimates
                assert {image.shape for image in (*stages.backgrounds, *stages.rains)} == {rainy.shape}
                assert torch.equal(stages.backgrounds[-1], found)

    @torch.no_grad()
    def test_a_seed_decides_the_weights_which_are_all_that_is_saved(self, case):
        first, again, other = case.build(3), case.build(3), case.build(4)
        state = first.state_dict()
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in state.items())
        rainy = rainy_pair()[0].float()
        assert not torch.equal(other.eval()(rainy), first.eval()(rainy))
        other.load_state_dict(state)
        assert torch.equal(other(rainy), first(rainy))

    @torch.no_grad()
    def test_in_evaluation_no_image_depends_on_another_and_nothing_is_stored(self, case):
        network, rainy = case.disturbed(), rainy_pair()[0]
        before = copy.deepcopy(network.state_dict())
        torch.testing.assert_close(network(rainy)[:1], network(rainy[:1]))
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    @torch.no_grad()
    def test_padding_mirrors_the_right_and_lower_border(self, case):
        network, rainy = case.disturbed(), formula_input()[..., :30, :41].double()
        mirrored = pad(rainy, (0, -41 % case.multiple, 0, -30 % case.multiple), mode="reflect")
        torch.testing.assert_close(network(rainy), network(mirrored)[..., :30, :41])

    @torch.no_grad()
    def test_channels_last_gives_the_same(self, case):
        network, rainy = case.disturbed(), formula_input().double()
        last = copy.deepcopy(network).to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(rainy.to(memory_format=torch.channels_last)), network(rainy))

    @pytest.mark.parametrize("own", [False, True])
    def test_gradients_reach_every_parameter(self, case, own):
        network = case.disturbed().train()
        _, found = gradients(network, case.loss if own else L1(), *rainy_pair())
        largest = max(gradient.abs().max() for gradient in found.values())
        reached = {name for name, gradient in found.items() if gradient.abs().max() > 1e-12 * largest}
        dead = {name for name, _ in network.named_parameters()} - reached
        assert dead == {name for name, _ in network.named_parameters() if re.fullmatch(case.idle, name)}

    @pytest.mark.parametrize("own", [False, True])
    def test_a_step_against_the_gradient_lowers_the_loss_by_as_much_as_calculus_says(self, case, own):
        """To first order L(w - s g) = L(w) - s |g|^2: true on any processor, unlike a loss after many steps.

        Both passes see the same draws and begin with the same buffers, which a pass in training moves.
        """
        loss, network = case.loss if own else L1(), case.build().double()
        stepped = copy.deepcopy(network)
        before, found = gradients(network, loss, *rainy_pair())
        square = sum(part.square().sum() for part in found.values())
        with torch.no_grad():
            for name, part in found.items():
                stepped.get_parameter(name).sub_(FALL * before / square * part)
        after, _ = gradients(stepped, loss, *rainy_pair())
        assert 1 - after / before == pytest.approx(FALL, rel=0.05)

    def test_under_autocast_output_and_gradient_stay_close(self, case):
        """In channels last, as the trainer lays out memory; the output has the type of the images."""
        network = case.build().to(memory_format=torch.channels_last)
        exact, rainy = copy.deepcopy(network).double(), rainy_pair()[0].float().to(memory_format=torch.channels_last)
        _, expected = gradients(exact, case.loss, *rainy_pair())
        with torch.autocast("cpu", torch.bfloat16):
            _, found = gradients(network, case.loss, rainy, rainy_pair()[1].float())
        assert found.keys() == expected.keys()
        a, b = (torch.cat([part.double().flatten() for part in parts.values()]) for parts in (found, expected))
        assert cosine_similarity(a, b, dim=0) > case.alignment
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            output = network.eval()(rainy)
        assert output.dtype == (torch.bfloat16 if case.half else torch.float32)
        error = (output - network(rainy)).abs().max().item()
        assert 0 < error < case.rounding


PRESETS = sorted(path.stem for path in (config_folder() / "network").glob("*.yaml"))
TRAINED = [preset for preset in PRESETS if preset != "dsc"]  # it has no layers


def built(preset):
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", [f"network={preset}"])
    assert config.network.name == preset
    torch.manual_seed(0)
    return build.build_network(config)


class TestEveryPreset:
    @torch.no_grad()
    @pytest.mark.parametrize("preset", PRESETS)
    def test_it_has_the_parameters_that_its_comment_states_and_takes_images_of_an_odd_size(self, preset):
        comment = (config_folder() / "network" / f"{preset}.yaml").read_text().splitlines()[0]
        stated = re.match(r"#.*?([\d,]+) parameters", comment)
        assert stated, f"the first line of {preset}.yaml states no number of parameters"
        network = built(preset)
        assert count_parameters(network) == int(stated[1].replace(",", ""))
        assert network(torch.rand(1, 3, 33, 47)).shape == (1, 3, 33, 47)

    @pytest.mark.parametrize("preset", TRAINED)
    def test_its_shared_layer_is_its_last_convolution_and_has_gradients(self, preset):
        terms, network = {"pixel": PixelMSE(1.0), "edge": EdgeAware(scale=1.0)}, built(preset)
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        assert network.get_submodule(network.shared_layer) is convolutions[-1]
        task = MultitaskTask(network, terms, GradientBalancing(), 8)
        rainy, background = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        assert 1e-4 < task.losses(RainyBatch(background, rainy[:, :1], rainy), 0)["gradient_norm/pixel"] < 1e10

    @pytest.mark.slow  # bf16 is emulated on many processors
    @pytest.mark.parametrize("preset", [name for name in TRAINED if not name.endswith(("_small", "_tiny"))])
    def test_a_training_step_in_bf16_has_a_finite_gradient(self, preset):
        network = built(preset).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            _, found = gradients(network, MSE(), *torch.rand(2, 2, 3, 32, 32))
        assert found
        assert [name for name, gradient in found.items() if not gradient.isfinite().all()] == []


SWINIR_LIGHT = {"channels": 60, "depths": [6] * 4}


@pytest.mark.parametrize(
    ("network", "options", "count"),
    [
        (DDN, {"channels": 4, "pairs": 2}, 861),
        (DRDNet, {"channels": 4, "blocks": 3}, 4_774),
        (JORDERE, {"channels": 5, "blocks": 1}, 15_056),
        (MENET, {"width": 12, "blocks": 1, "attention": False}, 6_021),
        (MOSS, {"memory_items": 0}, 2_806_787),
        (MOSS, {"cbn_gate": False}, 2_855_267),
        (MOSS, {"wide_width": False}, 2_775_299),
        (MOSS, {"width": 5, "growth": 3, "stages": 2, "blocks": 1, "memory_items": 11, "downscalings": 2}, 6_436),
        (RCDNet, {"stages": 1, "blocks": 1, "maps": 2, "dual_channels": 1}, 2_023),
        (RESCAN, {"width": 24, "depth": 7, "stages": 1, "unit": "conv"}, 28_695),
        (RESCAN, {"width": 8, "depth": 4, "unit": "rnn"}, 2_917),
        (RESCAN, {"width": 5, "depth": 3, "unit": "gru"}, 1_500),
        (RESCAN, {"width": 24, "depth": 7, "unit": "lstm"}, 197_367),
        (ResNet, {"channels": 1, "blocks": 1}, 88),
        (SPDNet, {"channels": 8, "blocks": 1}, 112_373),
        (SPDNet, {"channels": 16, "blocks": 2}, 595_861),
        (SwinIR, {"channels": 12, "depths": [2, 2], "heads": 2, "window": 4}, 10_163),
        (Syn2Real, {"width": 7, "groups": 3}, 198_766),
        (UNet, {"width": 64, "levels": 5}, 31_031_875),
        (UNet, {"width": 32, "levels": 4}, 1_925_667),
        (UNet, {"width": 4, "levels": 1}, 275),
    ],
)
def test_other_sizes_have_the_parameters_that_were_added_up_by_hand(network, options, count):
    """Layer by layer from the papers' tables, beside this code; those of the presets stand in their comments."""
    with torch.device("meta"):
        assert count_parameters(network(**options)) == count


def test_norms_keep_the_published_number_of_averages():
    with torch.device("meta"):
        averages = [
            sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
            for network in (DDN(), DRDNet())
        ]
    assert averages == [58_175 - 57_369, 8_448]


SWIN_96 = {"channels": 96, "depths": [2], "heads": 6}
SWIN_LAYER = "layers.0.residual_group.blocks.0"
CUT = 0.8796256610342398  # standard deviation of a standard normal that is cut at -2 and 2


@pytest.mark.parametrize(
    ("network", "weight", "deviation", "largest"),
    [
        (ResNet, "body.3.0.weight", 0.1 * (2 / (9 * 64)) ** 0.5, None),
        (ResNet, "conv_first.weight", 0.1 * (2 / 27) ** 0.5, None),
        (DDN, "layers.3.0.weight", (2 / (2 * 9 * 16)) ** 0.5, (6 / (2 * 9 * 16)) ** 0.5),
        (lambda: DRDNet(32, 1), "detail.blocks.0.0.branches.2.weight", (2 / (9 * 32)) ** 0.5, None),
        (lambda: DRDNet(32, 1), "rain.blocks.0.5.squeeze.weight", (2 / 32) ** 0.5, None),
        (MENET, "layer1.0.weight", CUT * 0.0962250, 2 * 0.0962250),  # the number in the authors' graph
        (MENET, "blocks.7.2.0.weight", CUT * (9 * 64) ** -0.5, 2 * (9 * 64) ** -0.5),
        (MOSS, "encoder.2.blocks.1.conv2.weight", 0.02, None),
        (MOSS, "tail.weight", 0.02, None),
        (MOSS, "memory.table", 1.0, None),
        (lambda: MOSS(initial_std=None), "head.weight", (27 * 3) ** -0.5, 27**-0.5),
        (lambda: SwinIR(**SWIN_96), f"{SWIN_LAYER}.attn.qkv.weight", 0.02, None),
        (lambda: SwinIR(**SWIN_96), f"{SWIN_LAYER}.attn.relative_position_bias_table", 0.02, None),
        (lambda: SwinIR(**SWIN_96), "conv_after_body.weight", (3 * 9 * 96) ** -0.5, (9 * 96) ** -0.5),
    ],
)
def test_first_weights_are_drawn_as_the_authors_draw_them(network, weight, deviation, largest):
    torch.manual_seed(0)
    values = network().get_parameter(weight).detach()
    sampling = 5 / (2 * values.numel()) ** 0.5  # five standard errors of a deviation, relative
    assert values.std().item() == pytest.approx(deviation, rel=sampling)
    assert values.mean().abs().item() < 5 * deviation / values.numel() ** 0.5
    if largest is None:  # a normal law, not a uniform one: 4.6 % lie beyond two deviations
        assert 0.02 < (values.abs() > 2 * deviation).double().mean().item() < 0.08
    else:
        assert values.abs().max().item() == pytest.approx(largest, rel=0.02)


@pytest.mark.parametrize(
    ("network", "zeros"),
    [
        (ResNet, r".*bias"),
        (DDN, r".*bias"),
        (lambda: DRDNet(8, 1), r".*bias|.*(head\.1|\.2)\.weight(?<!branches\.2\.weight)"),  # slopes too: rectifiers
        (MOSS, r"tail\.bias|.*(gamma|beta)\.weight|.*\.(scale|shift)"),
        (lambda: MOSS(initial_std=None), r".*(gamma|beta)\.weight|.*\.(scale|shift)"),
        (lambda: SwinIR(**SWIN_96), r".*(qkv|proj|fc\d|norm\d?)\.bias"),
    ],
)
def test_biases_and_what_shall_do_nothing_at_first_start_at_zero(network, zeros):
    found = {name for name, parameter in network().named_parameters() if not parameter.any()}
    assert found == {name for name, _ in network().named_parameters() if re.fullmatch(zeros, name)}


def moss_by_formula(decay):
    """With running averages from a formula too, and a memory that is updated in evaluation."""
    network = fill(MOSS(memory_update_in_eval=True, memory_decay=decay), gain=1.2).double()
    for name, buffer in network.named_buffers():
        number = torch.arange(buffer.numel(), dtype=torch.float64)
        if name.endswith("running_mean"):
            buffer.copy_(0.1 * torch.sin(2 + 0.3 * number))
        if name.endswith("running_var"):
            buffer.copy_(1 + 0.5 * torch.sin(3 + 0.3 * number))
    return [network(formula_input().double())]


def rcdnet_by_formula():
    """In the residual networks alone, thresholds left out."""
    network = RCDNet().eval()
    for net in (network.first_image_net, *network.image_nets, network.last_image_net):
        fill(net, gain=0.05)
    for net in network.map_nets:
        fill(net.blocks, gain=0.05)
    found = network.stages(formula_input())
    assert (len(found.backgrounds), len(found.rains)) == (19, 17)
    return [*(255 * found.backgrounds[number] for number in (0, 1, 17, 18)), 255 * found.rains[16]]


def syn2real_by_formula():
    """Recorded without the mapping to [-1, 1], which ``restored`` has."""
    network, images = fill(Syn2Real(), gain=1.0), formula_input()
    features = network.encoded(images)
    mapped = network.restored((images + 1) / 2)
    torch.testing.assert_close(mapped.latent, features[-1])
    assert mapped.latent.shape == (1, 32, 5, 7)
    latent = [mapped.latent.mean().item(), mapped.latent.std(correction=0).item()]
    assert latent == pytest.approx([0.00300372, 0.0587675], rel=1e-4)
    return [mapped.image]


def jorder_e_by_formula():
    """Recorded with 0..1 inside the network, which is an image of 0..1 / 255 here."""
    found = fill(JORDERE(), gain=0.1).estimates(formula_input() / 255)
    means = [found.mask.mean().item(), 255 * found.level.mean().item()]
    assert means == pytest.approx([0.0922716, 0.0842434], rel=1e-4)
    return [255 * background for background in found.backgrounds]


def rescan_by_formula(mode):
    found = fill(RESCAN(mode=mode), gain=1.0).stages(formula_input())
    for rain, background in zip(found.rains, found.backgrounds, strict=True):
        torch.testing.assert_close(background + rain, formula_input())
    return found.rains if mode == "full" else found.rains[-1:]


@torch.no_grad()
@pytest.mark.parametrize(
    ("restore", "recorded"),
    [
        (lambda: [fill(ResNet(), 0.3)(formula_input())], [[0.539771, 0.2700, 0.641318, 0.746285, 0.093644]]),
        (lambda: [fill(UNet(), 1.0)(formula_input())], [[0.564994, 0.282489, 0.774376, 0.660813, 0.168668]]),
        (
            lambda: [fill(SwinIR(**SWINIR_LIGHT), 1.0)(formula_input())],
            [[0.538240, 0.295667, 0.285653, 0.585068, -0.126498]],
        ),
        (lambda: [fill(SwinIR(), 1.0)(formula_input())], [[0.541469, 0.279649, 0.552735, 0.733907, 0.104422]]),
        (
            lambda: fill(DRDNet(), 0.2).stages(formula_input()).backgrounds,
            [[0.458535, 0.275869, 0.648493, 0.652290, 0.050873], [0.497991, 0.265194, 0.608622, 0.687704, 0.0826017]],
        ),
        (
            lambda: fill(SPDNet(image_range=1.0), 0.2).stages(formula_input()).backgrounds,
            [
                [0.0399699, 0.0167574, -0.0206186, 0.0505175, -0.0127438],
                [0.0415586, 0.00683123, 0.0325041, 0.0497442, 0.0271001],
                [0.0415520, 0.00685747, 0.0323594, 0.0497445, 0.0272506],
            ],
        ),
        (
            lambda: rescan_by_formula("full"),
            [
                [0.0413108, 0.0301987, 0.0822454, 0.0304698, 0.0108412],
                [0.0413126, 0.0301588, 0.0816087, 0.0304596, 0.0104851],
                [0.0413135, 0.0301457, 0.0812040, 0.0304568, 0.0103713],
                [0.0413137, 0.0301423, 0.0810045, 0.0304562, 0.0103401],
            ],
        ),
        (lambda: rescan_by_formula("add"), [[0.165251, 0.120642, 0.326063, 0.121842, 0.0420377]]),
        (
            jorder_e_by_formula,
            [[0.541029, 0.269917, 0.691531, 0.744521, 0.114711], [0.541082, 0.269935, 0.690744, 0.744479, 0.117864]],
        ),
        (
            rcdnet_by_formula,
            [
                [127.186, 68.8694, 146.139, 177.283, 15.1297],
                [127.111, 69.0255, 136.222, 177.320, 12.4095],
                [127.063, 69.2864, 126.837, 177.343, 9.84173],
                [127.009, 70.0549, 107.534, 177.410, 4.45023],
                [0.0408471, 0.170936, 0.472286, 0, 4.8626e-08],
            ],
        ),
        (syn2real_by_formula, [[0.510419, 0.00474335, 0.480362, 0.512128, 0.510931]]),
        (lambda: moss_by_formula(0.999), [[0.51017925, 0.41820676, 0.99375190, 0.42680943, 0.0027323028]]),
        (lambda: moss_by_formula(0.3), [[0.51018016, 0.41821323, 0.99375451, 0.42732370, 0.0027320285]]),
    ],
    ids=[
        "resnet",
        "unet",
        "swinir_light",
        "swinir",
        "drd_net",
        "spdnet",
        "rescan",
        "rescan_add",
        "jorder_e",
        "rcdnet",
        "syn2real",
        "moss",
        "moss_fast",
    ],
)
def test_formula_weights_give_the_figures_of_other_builds(restore, recorded):
    found = restore()
    assert len(found) == len(recorded)
    for image, expected in zip(found, recorded, strict=True):
        assert image.shape == (1, 3, 40, 56)
        tolerance = 1e-6 if image.dtype == torch.float64 else 1e-4
        assert figures(image) == pytest.approx(expected, rel=tolerance, abs=0)


@torch.no_grad()
@pytest.mark.parametrize(
    ("network", "gain", "size", "recorded"),
    [
        (lambda: UNet(), 1.0, (37, 53), [0.774376, 0.660802]),
        (lambda: SwinIR(**SWINIR_LIGHT), 1.0, (37, 53), [0.285654, 0.585069]),
        (lambda: SPDNet(image_range=1.0), 0.2, (39, 53), [0.0323594, 0.0497535]),
    ],
    ids=["unet", "swinir_light", "spdnet"],
)
def test_formula_weights_give_the_figures_of_other_builds_at_odd_sizes(network, gain, size, recorded):
    y = fill(network(), gain)(formula_input()[:, :, : size[0], : size[1]])
    assert y.shape[-2:] == size
    assert [y[0, 0, 0, 0].item(), y[0, 1, 20, 30].item()] == pytest.approx(recorded, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("network", "options", "mean"),
    [
        (ResNet, {"channels": 4, "blocks": 2}, (0, 0, 0)),
        (UNet, {"width": 4, "levels": 3}, (0, 0, 0)),
        (SwinIR, {"channels": 12, "depths": [2, 2], "heads": 2, "window": 4}, (0.4488, 0.4371, 0.4040)),
    ],
)
def test_global_residual_adds_the_input_less_what_the_network_takes_for_its_mean(network, options, mean):
    rainy = torch.rand(2, 3, 13, 16)
    residual, direct = (fill(network(**options, global_residual=flag), 1.0) for flag in (True, False))
    torch.testing.assert_close(residual(rainy) - direct(rainy), rainy - torch.tensor(mean).view(3, 1, 1))


AT_LEAST_1 = [
    (network, {key: value}, f"network.{key}={value} must be at least 1")
    for network, keys in {
        DDN: ["channels"], DRDNet: ["channels", "blocks"], JORDERE: ["channels", "blocks"], MENET: ["blocks"],
        MOSS: ["width", "stages", "blocks"], PReNet: ["stages", "channels", "blocks"], RESCAN: ["width", "stages"],
        ResNet: ["channels", "blocks"], UNet: ["width", "levels"],
        RCDNet: ["stages", "blocks", "maps", "dual_channels"], SPDNet: ["channels", "blocks", "chains"],
        Syn2Real: ["groups"], DSC: ["rounds"],
    }.items()
    for key in keys
    for value in (0, -2)
]  # fmt: skip
RANGE = "must be 1 or 255"


@pytest.mark.parametrize(
    ("network", "options", "sentence"),
    [
        *AT_LEAST_1,
        (DDN, {"pairs": -1}, "network.pairs=-1 must be at least 1"),
        (DDN, {"radius": 0}, "network.radius=0 must be at least 1"),
        (DDN, {"eps": 0.0}, "network.eps=0.0 must be above 0"),
        (DDN, {"smoothing": -1.0}, "network.smoothing=-1.0 must be above 0"),
        (DDN, {"momentum": 1.5}, "network.momentum=1.5"),
        (DSC, {"atoms": 4}, "network.atoms=4 must be at least sparsity=5"),
        (DSC, {"rain_atoms": 7}, "network.rain_atoms=7 must be at least rain_sparsity=8"),
        (DSC, {"step": 3}, "network.step=3 must be 1, 2, 4, 8 or 16"),
        (DSC, {"weight": 0.0}, "network.weight=0.0 must be above 0"),
        (MENET, {"width": 0}, "network.width=0 must be a multiple of 4 from 4 up"),
        (MENET, {"width": 30}, "network.width=30 must be a multiple of 4 from 4 up"),
        (MOSS, {"growth": -1}, "network.growth=-1 must be at least 0"),
        (MOSS, {"memory_items": -1}, "network.memory_items=-1 must be at least 0"),
        (MOSS, {"downscalings": 6}, "network.downscalings=6 must lie between 0 and network.stages=5"),
        (MOSS, {"downscalings": -1}, "network.downscalings=-1 must lie between 0 and network.stages=5"),
        (MOSS, {"initial_std": 0.0}, "network.initial_std=0.0 must be above 0"),
        (MOSS, {"memory_decay": -0.1}, "network.memory_decay=-0.1 must lie in [0, 1]"),
        (MOSS, {"memory_decay": 1.01}, "network.memory_decay=1.01 must lie in [0, 1]"),
        (MOSS, {"memory_decay": float("nan")}, "network.memory_decay=nan must lie in [0, 1]"),
        (MOSS, {"memory_temperature": 0}, "network.memory_temperature=0 must be above 0"),
        (RCDNet, {"maps": 33}, "network.maps=33 must be at most 32"),
        (RESCAN, {"depth": 2}, "network.depth=2 must be at least 3"),
        (RESCAN, {"stages": 1}, "network.stages=1 leaves unit=gru nothing to remember: choose network.unit=conv"),
        *((SPDNet, {"image_range": value}, f"network.image_range={value} {RANGE}") for value in (0, 2.0, -255)),
        (SPDNet, {"image_range": float("nan")}, f"network.image_range=nan {RANGE}"),
        (SwinIR, {"channels": 10, "heads": 3}, "network.channels=10 "),
        *((SwinIR, {key: 0}, "network.channels=") for key in ("channels", "heads")),
        *((SwinIR, {key: 0}, "network.mlp_ratio=") for key in ("mlp_ratio", "img_range")),
        *((SwinIR, {"depths": depths}, f"network.depths={depths}") for depths in ([], [2, 0])),
        (SwinIR, {"window": 1}, "network.window=1"),
        (SwinIR, {"stochastic_depth": 1.0}, "network.stochastic_depth=1.0"),
        (Syn2Real, {"width": 5}, "network.width=5 must be at least 6"),
    ],
)
def test_an_option_out_of_its_range_is_one_sentence(network, options, sentence):
    with pytest.raises(SlackoffError) as refused:
        network(**options)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value).splitlines()) == 1
