"""The torchmetrics classes against the pure functions, batch by batch and with nothing to measure."""

import math

import metrics_reference as reference
import numpy as np
import pytest
import torch
from metrics_scenes import random_batch
from torchmetrics import MetricCollection

from slackoff.metrics import classes, fidelity, functional
from slackoff.metrics.classes import (
    PSNR,
    SSIM,
    BackgroundError,
    LeftoverRMS,
    OracleRainError,
    RainError,
    RemovalShare,
    ResidualRMS,
)

MASKED = [RainError, OracleRainError, BackgroundError, ResidualRMS, RemovalShare, LeftoverRMS]


def expected_per_image(batch, threshold=10.0):
    mask = functional.rain_mask(batch.rain, threshold)
    share, leftover = functional.removal_share(batch.output, batch.rainy, batch.rain, mask)
    return {
        RainError: functional.rain_error(batch.output, batch.rainy, mask),
        OracleRainError: functional.oracle_rain_error(batch.background, batch.rainy, mask),
        BackgroundError: functional.background_error(batch.output, batch.background, mask),
        ResidualRMS: functional.residual_rms(batch.output, batch.background, mask),
        RemovalShare: share,
        LeftoverRMS: leftover,
    }


def fed(metric, *batches):
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


@pytest.mark.parametrize("metric_class", MASKED)
@pytest.mark.parametrize("threshold", [0, 10, 50])
def test_mean_over_images_of_unequal_batches(metric_class, threshold):
    first, second = random_batch(3, seed=1), random_batch(1, seed=2)
    values = torch.cat([expected_per_image(batch, threshold)[metric_class] for batch in (first, second)])
    found = fed(metric_class(threshold=threshold), first, second)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(values.mean().item(), rel=1e-5)


def test_pooled_e_r_and_e_b_weigh_images_by_their_pixels():
    first, second = random_batch(2, 20, 20, seed=1), random_batch(1, 40, 50, seed=2)
    scenes = [first.arrays(0), first.arrays(1), second.arrays(0)]
    in_rain = [(output - rainy)[rain > 10].ravel() for output, _, rain, rainy in scenes]
    outside = [(output - background)[rain <= 10].ravel() for output, background, rain, _ in scenes]
    pooled = fed(RainError(average="pooled"), first, second).item()
    assert pooled == pytest.approx(reference.rms(np.concatenate(in_rain)), rel=1e-5)
    found = fed(BackgroundError(average="pooled"), first, second).item()
    assert found == pytest.approx(reference.rms(np.concatenate(outside)), rel=1e-5)
    assert pooled != pytest.approx(fed(RainError(), first, second).item(), rel=1e-4)


def test_pooled_share_is_one_least_squares_fit_over_all_rain():
    batch = random_batch(3, seed=4)
    numerator = denominator = 0.0
    for index in range(3):
        output, _, rain, rainy = batch.arrays(index)
        mask, change = rain > 10, rainy - output
        centred = change - change[~mask].mean(axis=0)
        numerator += float((centred[mask] * rain[mask][:, None]).sum())
        denominator += 3 * float((rain[mask] ** 2).sum())
    found = fed(RemovalShare(average="pooled"), batch).item()
    assert found == pytest.approx(numerator / denominator, rel=1e-5)


@pytest.mark.parametrize("average", ["image", "pooled"])
@pytest.mark.parametrize("metric_class", MASKED)
def test_images_that_cannot_be_measured_are_skipped(metric_class, average):
    batch = random_batch(4)
    rain = batch.rain.clone()
    rain[0] = 1 if metric_class is BackgroundError else 0
    skipping = fed(metric_class(average=average), batch._replace(rain=rain))
    without = fed(metric_class(average=average), type(batch)(*(x[1:] for x in batch)))
    assert skipping.item() == pytest.approx(without.item(), rel=1e-6)


@pytest.mark.parametrize("average", ["image", "pooled"])
@pytest.mark.parametrize("metric_class", [RemovalShare, LeftoverRMS])
def test_share_skips_images_without_a_rain_free_pixel(metric_class, average):
    batch = random_batch(4)
    rain = batch.rain.clone()
    rain[0] = 0.5
    skipping = fed(metric_class(average=average), batch._replace(rain=rain))
    without = fed(metric_class(average=average), type(batch)(*(x[1:] for x in batch)))
    assert skipping.item() == pytest.approx(without.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("average", ["image", "pooled"])
@pytest.mark.parametrize("metric_class", [*MASKED, PSNR])
def test_nothing_seen_is_nan(metric_class, average):
    metric = metric_class(average=average)
    assert metric.compute().isnan()
    if metric_class in (RainError, RemovalShare):
        batch = random_batch(2)
        assert fed(metric, batch._replace(rain=torch.zeros_like(batch.rain))).isnan()


def test_nan_output_of_a_network_is_not_skipped():
    batch = random_batch(2)
    output = batch.output.clone()
    output[0] = math.nan
    for metric in (RainError(), BackgroundError(average="pooled"), RemovalShare(), PSNR(), SSIM()):
        assert fed(metric, batch._replace(output=output)).isnan()


@pytest.mark.parametrize("channel", ["rgb", "y"])
def test_psnr_and_ssim_are_means_over_images(channel):
    first, second = random_batch(3, seed=1), random_batch(1, seed=2)
    for metric, function in ((PSNR(channel), fidelity.psnr), (SSIM(channel), fidelity.ssim)):
        values = torch.cat([function(b.output, b.background, channel) for b in (first, second)])
        assert fed(metric, first, second).item() == pytest.approx(values.mean().item(), rel=1e-5)


def test_psnr_pooled_is_that_of_the_pooled_error():
    batch = random_batch(3, seed=1)
    arrays = [batch.arrays(index) for index in range(3)]
    expected = reference.psnr(np.stack([a[0] for a in arrays]), np.stack([a[1] for a in arrays]))
    assert fed(PSNR(average="pooled"), batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_perfect_image_counts_as_100_db():
    batch = random_batch(2)
    output = batch.output.clone()
    output[0] = batch.background[0]
    other = fidelity.psnr(output[1:], batch.background[1:]).item()
    assert fed(PSNR(), batch._replace(output=output)).item() == pytest.approx((100 + other) / 2, rel=1e-6)
    perfect = batch._replace(output=batch.background)
    assert fed(PSNR(average="pooled"), perfect).item() == 100


def test_ssim_skips_images_smaller_than_its_window():
    large, small = random_batch(2), random_batch(2, 8, 40)
    assert fed(SSIM(), small, large).item() == fed(SSIM(), large).item()


def test_images_are_rounded_to_8_bit_unless_told_otherwise():
    batch = random_batch(2)
    nudged = batch._replace(output=batch.output + 0.3 / 255)
    assert fed(RainError(), nudged).item() == pytest.approx(fed(RainError(), batch).item(), rel=1e-6)
    assert fed(RainError(quantise=False), nudged) != fed(RainError(quantise=False), batch)


def test_collection_keeps_measures_apart_that_agree_on_the_first_batch():
    """torchmetrics merges metrics whose states are equal after one update; here all are zero."""
    batch = random_batch(2)
    dry = batch._replace(rain=torch.zeros_like(batch.rain))
    named = {"e_r": RainError(), "e_r_t50": RainError(threshold=50), "residual": ResidualRMS()}
    together = MetricCollection(named)
    apart = [RainError(), RainError(threshold=50), ResidualRMS()]
    for metric in (together, *apart):
        metric.update(*dry)
        metric.update(*batch)
    assert list(together.compute().values()) == [metric.compute() for metric in apart]


def test_reset_forgets():
    metric = RainError()
    first, second = random_batch(2, seed=1), random_batch(2, seed=2)
    fed(metric, first)
    metric.reset()
    assert fed(metric, second) == fed(RainError(), second)


def test_states_fall_back_to_float32_where_a_device_has_no_float64():
    def to_mps(tensor):
        if tensor.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return tensor

    metric = RainError()
    metric._apply(to_mps)
    assert metric.total.dtype == metric.weight.dtype == torch.float32
    batch = random_batch(2)
    assert fed(metric, batch).item() == pytest.approx(fed(RainError(), batch).item(), rel=1e-6)


def test_unknown_average_is_refused():
    with pytest.raises(ValueError, match="'image' or 'pooled'"):
        RainError(average="micro")


def test_every_measure_is_a_scene_metric():
    assert all(issubclass(metric, classes.SceneMetric) for metric in [*MASKED, PSNR, SSIM])
