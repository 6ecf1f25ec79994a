"""The torchmetrics classes against NumPy: in batches, shared by two processes, and with nothing to measure."""

import json
import math
import os
from pathlib import Path

import metrics_reference as reference
import numpy as np
import pytest
import torch
import torch.multiprocessing
from metrics_scenes import Batch, random_batch
from torchmetrics import MetricCollection

from slackoff.metrics import BackgroundError, RainRemovalError, RemovalShare, functional
from slackoff.metrics.metric_classes import DerainingMetric
from slackoff.metrics.protocol import Protocol

SUMS = {RainRemovalError: reference.rain_sums, BackgroundError: reference.free_sums, RemovalShare: reference.share_sums}
FIGURES = {RainRemovalError: "e_r", BackgroundError: "e_b", RemovalShare: "removal_share"}
AVERAGES = ("image", "pooled")
every_metric = pytest.mark.parametrize("metric", SUMS)
every_average = pytest.mark.parametrize("average", AVERAGES)


def expected(metric: type[DerainingMetric], average: str, batches: list[Batch], threshold: float = 10) -> float:
    """From the formulas, image by image; images on which there is nothing to measure are skipped."""
    scenes = [batch.arrays(index) for batch in batches for index in range(len(batch.rain))]
    sums = [found for scene in scenes if (found := SUMS[metric](*scene, threshold))[1] > 0]
    finish = math.sqrt if metric is not RemovalShare else float
    if average == "image":
        return float(np.mean([finish(total / weight) for total, weight in sums]))
    return finish(sum(total for total, _ in sums) / sum(weight for _, weight in sums))


def fed(metric: DerainingMetric, *batches: Batch) -> torch.Tensor:
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def with_rain(batch: Batch, index: int, value: float) -> Batch:
    rain = batch.rain.clone()
    rain[index] = value
    return batch._replace(rain=rain)


@every_metric
@every_average
@pytest.mark.parametrize("threshold", [0, 10, 50])
def test_unequal_batches_of_unequal_images(metric, average, threshold):
    batches = [random_batch(3, seed=1), random_batch(1, 40, 50, seed=2)]
    found = fed(metric(threshold, average), *batches)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected(metric, average, batches, threshold), rel=1e-5)


@every_metric
def test_pooled_and_mean_differ_and_the_mean_is_the_usual_one(metric):
    batches = [random_batch(2, 20, 20, seed=1), random_batch(1, 40, 50, seed=2)]
    mean, pooled = (fed(metric(average=average), *batches).item() for average in AVERAGES)
    assert mean == fed(metric(), *batches).item() != pytest.approx(pooled, rel=1e-4)


@every_metric
@every_average
def test_sums_of_a_protocol_are_taken_as_they_are(metric, average):
    batches = [random_batch(3, seed=1), random_batch(1, 40, 50, seed=2)]
    given, own = metric(average=average), metric(average=average)
    for batch in batches:
        given.update(*batch, Protocol().sums(*batch)[FIGURES[metric]])
        own.update(*batch)
    assert given.compute() == own.compute()
    given.update(*batches[0], functional.Sums(torch.tensor([4e9]), torch.tensor([1.0])))
    assert given.compute() > 2 * own.compute()


@every_metric
@every_average
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_images_that_cannot_be_measured_are_skipped(metric, average, value):
    """Without rain there is neither E_R nor a share, without a rain-free pixel neither E_B nor a share."""
    batch = random_batch(4)
    found = fed(metric(average=average), with_rain(batch, 0, value)).item()
    skipped = metric is not (BackgroundError if value == 0 else RainRemovalError)
    rest = [Batch(*(x[1:] for x in batch))] if skipped else [with_rain(batch, 0, value)]
    assert found == pytest.approx(expected(metric, average, rest), rel=1e-5)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@every_metric
@every_average
def test_nothing_seen_is_nan_and_so_is_a_network_that_gives_nan(metric, average):
    batch = random_batch(2)
    assert metric(average=average).compute().isnan()
    unmeasurable = torch.full_like(batch.rain, float(metric is BackgroundError))
    assert fed(metric(average=average), batch._replace(rain=unmeasurable)).isnan()
    broken = batch.output.clone()
    broken[0] = math.nan
    assert fed(metric(average=average), batch._replace(output=broken)).isnan()


@every_metric
def test_images_are_rounded_to_8_bit_unless_told_otherwise(metric):
    batch = random_batch(2)
    nudged = batch._replace(output=batch.output + 0.3 / 255 * (batch.rain > 0))
    assert fed(metric(), nudged).item() == pytest.approx(fed(metric(), batch).item(), rel=1e-6)
    assert fed(metric(quantise=False), nudged) != fed(metric(quantise=False), batch)


def test_a_collection_keeps_measures_apart_that_agree_on_the_first_batch():
    """torchmetrics merges metrics whose states are equal after one update; here all are zero."""
    batch = random_batch(2)
    dry = batch._replace(rain=torch.zeros_like(batch.rain))
    make = {"e_r": RainRemovalError, "e_r_t50": lambda: RainRemovalError(50), "share": RemovalShare}
    together, apart = (
        MetricCollection({name: made() for name, made in make.items()}),
        [made() for made in make.values()],
    )
    for metric in (together, *apart):
        metric.update(*dry)
        metric.update(*batch)
    assert list(together.compute().values()) == [metric.compute() for metric in apart]


def test_reset_forgets():
    metric = RainRemovalError()
    first, second = random_batch(2, seed=1), random_batch(2, seed=2)
    fed(metric, first)
    metric.reset()
    assert fed(metric, second) == fed(RainRemovalError(), second)


def test_states_fall_back_to_float32_where_a_device_has_no_float64():
    def to_mps(tensor):
        if tensor.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return tensor

    metric = RainRemovalError()
    metric._apply(to_mps)
    assert metric.total.dtype == metric.weight.dtype == torch.float32
    assert fed(metric, random_batch(2)).item() == pytest.approx(
        fed(RainRemovalError(), random_batch(2)).item(), rel=1e-6
    )


SHARES = {"uneven": [[0, 1, 2], [3, 4]], "only-empty": [[0, 1, 2, 3], [4]]}
"""Which of five images two processes see; in the second case one sees only the last, which has no rain."""


def measure(indices: list[int]) -> dict[str, float]:
    batches = [random_batch(1, seed=index) for index in indices]
    batches = [with_rain(batch, 0, 0) if index == 4 else batch for index, batch in zip(indices, batches, strict=True)]
    return {f"{m.__name__} {a}": fed(m(average=a), *batches).item() for m in SUMS for a in AVERAGES}


def run_rank(rank: int, rendezvous: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    Path(folder, f"{rank}.json").write_text(json.dumps({name: measure(own[rank]) for name, own in SHARES.items()}))
    torch.distributed.destroy_process_group()
    os._exit(0)  # as a cell leaves: threads of gloo can abort Python's own way out


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_that_share_the_images_agree_with_one(tmp_path):
    torch.multiprocessing.spawn(run_rank, ((tmp_path / "rendezvous").as_uri(), str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == dict.fromkeys(SHARES, measure(list(range(5))))
