"""One protocol, all columns: their names, their values, its choices, and what it refuses."""

import math

import metrics_reference as reference
import numpy as np
import pytest
import torch
from metrics_scenes import random_batch
from omegaconf import OmegaConf

from slackoff.config.validate import check_arguments
from slackoff.errors import SlackoffError
from slackoff.metrics import functional
from slackoff.metrics.columns import HEADLINE_FIDELITY, headline_channel, measure_columns
from slackoff.metrics.protocol import Protocol

RECORD_COLUMNS = [
    *(f"{name}_t{t}" for name in ("e_r", "e_b", "e_r_oracle") for t in (0, 10, 20, 50)),
    *("e_r", "e_b", "e_r_oracle"),
    *("residual_rms", "removal_share", "removal_share_oracle", "leftover_rms"),
    *("psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y", "psnr_rgb_input", "ssim_rgb_input"),
]

CLIPPED = Protocol("menet_crop_rgb", quantise=False, clip=True, images="five")
ON_Y = Protocol("full_y", channel="y", images="whole")


def test_every_column_has_the_value_of_its_definition(batch):
    figures = Protocol().measure(*batch)
    assert list(figures) == RECORD_COLUMNS == list(Protocol().columns())
    assert all(values.shape == (4,) and values.dtype == torch.float32 for values in figures.values())
    for index in range(4):
        output, background, rain, rainy = scene = batch.arrays(index)
        perfect = background, background, rain, rainy
        expected = {}
        for t in (0, 10, 20, 50):
            found, oracle = reference.figures(scene, t), reference.figures(perfect, t)
            at_threshold = {"e_r": found["e_r"], "e_b": found["e_b"], "e_r_oracle": oracle["e_r"]}
            expected |= {f"{name}_t{t}": value for name, value in at_threshold.items()}
            if t == 10:
                expected |= found | at_threshold | {"removal_share_oracle": oracle["removal_share"]}
        expected |= {
            "psnr_rgb": reference.psnr(output, background),
            "psnr_y": reference.psnr(reference.luma(output), reference.luma(background)),
            "psnr_rgb_input": reference.psnr(rainy, background),
        }
        assert set(RECORD_COLUMNS) - set(expected) == {"ssim_rgb", "ssim_y", "ssim_rgb_input"}
        for name, value in expected.items():
            assert figures[name][index].item() == pytest.approx(value, rel=1e-4), name
    assert torch.equal(figures["ssim_rgb"], functional.ssim(batch.output, batch.background))
    assert torch.equal(figures["ssim_y"], functional.ssim(batch.output, batch.background, "y"))
    assert torch.equal(figures["ssim_rgb_input"], functional.ssim(batch.rainy, batch.background))


def test_identity_and_perfect_output(batch):
    untouched = Protocol().measure(batch.rainy, batch.background, batch.rain, batch.rainy)
    perfect = Protocol().measure(batch.background, batch.background, batch.rain, batch.rainy)
    for t in (0, 10, 20, 50):
        assert (untouched[f"e_r_t{t}"] == 0).all()
        assert (untouched[f"e_b_t{t}"] <= t).all()
        assert (perfect[f"e_b_t{t}"] == 0).all()
        assert torch.equal(perfect[f"e_r_t{t}"], perfect[f"e_r_oracle_t{t}"])
    assert torch.equal(untouched["psnr_rgb"], untouched["psnr_rgb_input"])
    assert (untouched["removal_share"] == 0).all()
    assert torch.equal(perfect["removal_share"], perfect["removal_share_oracle"])
    assert perfect["psnr_rgb"].tolist() == [math.inf] * 4


def test_identity_bounds_also_hold_off_the_8_bit_grid():
    """B and R that were never rounded: both pictures are, the rain layer is not."""
    generator = torch.Generator().manual_seed(3)
    background = torch.rand(2, 3, 30, 30, generator=generator)
    rain = torch.rand(2, 1, 30, 30, generator=generator).pow(4)
    rain[..., ::3] = 0
    rainy = (background + rain).clamp(0, 1)
    figures = Protocol().measure(rainy, background, rain, rainy)
    for t in (0, 10, 20, 50):
        assert (figures[f"e_r_t{t}"] == 0).all()
        assert (figures[f"e_b_t{t}"] <= t).all()


def test_pictures_are_rounded_as_if_saved(batch):
    nudged = batch.output + 0.4 / 255
    rounded, as_is = Protocol(), Protocol(quantise=False)
    others = batch[1:]
    assert torch.equal(rounded.measure(nudged, *others)["e_b"], rounded.measure(batch.output, *others)["e_b"])
    assert not torch.equal(as_is.measure(nudged, *others)["e_b"], as_is.measure(batch.output, *others)["e_b"])


def test_image_without_rain_has_nan_only_where_rain_is_needed(batch):
    rain = batch.rain.clone()
    rain[0] = 0
    figures = Protocol().measure(batch.output, batch.background, rain, batch.rainy)
    undefined = {name for name, values in figures.items() if values[0].isnan()}
    assert undefined == {name for name in RECORD_COLUMNS if name.startswith(("e_r", "removal", "residual", "leftover"))}
    assert not any(values[1:].isnan().any() for values in figures.values())


def test_other_thresholds_rename_the_columns(batch):
    protocol = Protocol(name="mine", thresholds=(30, 2.5), headline=2.5)
    figures = protocol.measure(*batch)
    assert list(figures)[:6] == [f"{name}_t{t}" for name in ("e_r", "e_b", "e_r_oracle") for t in (2.5, 30)]
    assert torch.equal(figures["e_r"], figures["e_r_t2.5"])
    mask = functional.rain_mask(batch.rain, 2.5)
    torch.testing.assert_close(figures["residual_rms"], functional.residual_rms(batch.output, batch.background, mask))


def test_description_is_stable_and_says_what_is_different():
    assert Protocol().describe() == (
        "slackoff-v1: rain R > 0, 10, 20, 50 of 255 (headline 10); 8-bit images; "
        "all figures per image, then mean; PSNR peak 255, no crop, on RGB and on BT.601 Y (16..235); "
        "SSIM 11x11 Gaussian, sigma 1.5, where the window fits"
    )
    others = [Protocol(quantise=False), Protocol(headline=20), Protocol(thresholds=(10,)), Protocol(name="v2")]
    assert len({protocol.describe() for protocol in [Protocol(), *others]}) == 5
    assert Protocol(thresholds=(50, 10, 0, 20)) == Protocol()
    assert "float, clipped images" in CLIPPED.describe()
    assert CLIPPED.describe().endswith("; for five crops of each pair and of its mirror image")
    assert ON_Y.describe().endswith("; for whole images; PSNR and SSIM in tables are those on Y")


def test_thresholds_come_from_a_config_list():
    assert Protocol(thresholds=OmegaConf.create([0, 10])).thresholds == (0, 10)


@pytest.mark.parametrize("thresholds", [(), (10, 10), (10, 10.0), (-1, 10), (10, 255), (10, math.nan)])
def test_bad_thresholds_name_the_key(thresholds):
    with pytest.raises(SlackoffError, match=r"^evaluation\.protocol\.thresholds "):
        Protocol(thresholds=thresholds)


def test_headline_must_be_among_the_thresholds():
    with pytest.raises(SlackoffError, match=r"^evaluation\.protocol\.headline is 15,.*\(0, 10, 20, 50\)"):
        Protocol(headline=15)


def test_wrong_shapes_are_refused(batch):
    with pytest.raises(ValueError, match="rain is"):
        Protocol().measure(batch.output, batch.background, batch.rainy, batch.rainy)
    with pytest.raises(ValueError, match="all \\(N, 3, H, W\\)"):
        Protocol().measure(batch.output[..., 1:], batch.background, batch.rain, batch.rainy)


def test_batching_does_not_change_a_figure():
    batch = random_batch(3, seed=9)
    together = Protocol().measure(*batch)
    for index in range(3):
        alone = Protocol().measure(*(x[index : index + 1] for x in batch))
        for name, values in alone.items():
            torch.testing.assert_close(values[0], together[name][index], msg=name)


def test_an_output_is_clipped_and_not_rounded():
    """A quarter of a grey level off, and 30 levels beyond the range where the background is white."""
    background = torch.full((1, 3, 16, 16), 200 / 255)
    background[..., :4] = 1
    output = background + 0.25 / 255
    output[..., :4] = 285 / 255
    rain = torch.zeros(1, 1, 16, 16)
    found = {
        name: protocol.measure(output, background, rain, background)["psnr_rgb"].item()
        for name, protocol in {"clipped": CLIPPED, "as_is": Protocol(quantise=False), "rounded": Protocol()}.items()
    }
    assert found["clipped"] == pytest.approx(10 * np.log10(255**2 / (0.75 * 0.25**2)), abs=1e-3)
    assert found["as_is"] == pytest.approx(10 * np.log10(255**2 / (0.75 * 0.25**2 + 0.25 * 30**2)), abs=1e-3)
    assert found["rounded"] == float("inf")


def test_every_figure_is_that_of_the_clipped_output():
    batch = random_batch(2, seed=4)
    beyond = batch.output * 1.6 - 0.3
    assert beyond.max() > 1.1
    clipped, others = beyond.clamp(0, 1), batch[1:]
    found, expected = CLIPPED.measure(beyond, *others), Protocol(quantise=False).measure(clipped, *others)
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


def test_on_y_the_untouched_image_is_measured_on_y_too():
    batch = random_batch(2, seed=5)
    found = ON_Y.measure(*batch)
    assert list(found) == list(ON_Y.columns()) == [*Protocol().columns(), "psnr_y_input", "ssim_y_input"]
    for index in range(2):
        output, background, _, rainy = batch.arrays(index)
        for name, image in (("psnr_y", output), ("psnr_y_input", rainy)):
            expected = reference.psnr(reference.luma(image), reference.luma(background))
            assert found[name][index].item() == pytest.approx(expected, rel=1e-5), name
    untouched = ON_Y.measure(batch.rainy, *batch[1:])
    assert torch.equal(untouched["ssim_y"], found["ssim_y_input"])
    assert not torch.equal(found["psnr_y_input"], found["psnr_rgb_input"])


def test_a_record_tells_its_headline_channel():
    assert headline_channel(list(measure_columns(channel="y"))) == "y"
    assert headline_channel(list(measure_columns())) == "rgb"
    assert headline_channel([]) == "rgb"
    assert HEADLINE_FIDELITY == {"rgb": ("psnr_rgb", "ssim_rgb"), "y": ("psnr_y", "ssim_y")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thresholds": ["a", 10]}, r"^evaluation\.protocol\.thresholds=\[a,10\] cannot be: give a list, each item"),
        ({"thresholds": 10}, r"^evaluation\.protocol\.thresholds=10 cannot be: give a list, each item a number"),
        ({"clip": "no"}, r"^evaluation\.protocol\.clip=no is text, .*: give true or false$"),
    ],
)
def test_other_choices_are_refused(options, message):
    with pytest.raises(SlackoffError, match=message):
        check_arguments(Protocol, options, "evaluation.protocol")


@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_what_is_rounded_does_not_depend_on_the_channel_of_the_tables(channel):
    levels = torch.full((1, 3, 1, 1), 9.7 / 255)
    found = [Protocol(channel=channel, truncate=truncate).prepare(levels) for truncate in (False, True)]
    assert [round(float(output.mean()) * 255, 3) for output in found] == [10, 9]
