"""Clipping, the headline channel, and the images that a protocol is for."""

import metrics_reference as reference
import numpy as np
import pytest
import torch
from metrics_scenes import random_batch

from slackoff.metrics.columns import HEADLINE_FIDELITY, headline_channel, measure_columns
from slackoff.metrics.protocol import Protocol

CLIPPED = Protocol("menet_crop_rgb", quantise=False, clip=True, images="five")
ON_Y = Protocol("full_y", channel="y", images="whole")


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


def test_the_descriptions_say_what_is_different():
    assert "float, clipped images" in CLIPPED.describe()
    assert CLIPPED.describe().endswith("; for five crops of each pair and of its mirror image")
    assert "8-bit images" in ON_Y.describe()
    assert ON_Y.describe().endswith("; for whole images; PSNR and SSIM in tables are those on Y")
