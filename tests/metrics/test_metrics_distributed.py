"""Two processes that share the images unequally give what one process gives that sees them all."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from metrics_scenes import Batch, random_batch

from slackoff.metrics import classes

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")

METRICS = {
    f"{metric.__name__}_{average}": (metric, average)
    for metric in (
        classes.RainError,
        classes.OracleRainError,
        classes.BackgroundError,
        classes.ResidualRMS,
        classes.RemovalShare,
        classes.LeftoverRMS,
        classes.PSNR,
    )
    for average in ("image", "pooled")
}


def one_image(index: int) -> Batch:
    """One of five images; the last has no rain."""
    batch = random_batch(1, seed=index)
    return batch._replace(rain=torch.zeros_like(batch.rain)) if index == 4 else batch


def measure(batches: list[Batch]) -> dict[str, float]:
    metrics = {name: metric(average=average) for name, (metric, average) in METRICS.items()}
    metrics["ssim"] = classes.SSIM()
    for batch in batches:
        for metric in metrics.values():
            metric.update(*batch)
    return {name: metric.compute().item() for name, metric in metrics.items()}


SHARES = {"uneven": [[0, 1, 2], [3, 4]], "only-empty": [[0, 1, 2, 3], [4]]}
"""Which images the two processes see; in the second case one sees nothing but the image with an empty mask."""


def run_rank(rank: int, rendezvous: str, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    figures = {name: measure([one_image(index) for index in shares[rank]]) for name, shares in SHARES.items()}
    Path(folder, f"{rank}.json").write_text(json.dumps(figures))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_agree_with_one(tmp_path):
    torch.multiprocessing.spawn(run_rank, ((tmp_path / "rendezvous").as_uri(), str(tmp_path)), nprocs=2)
    expected = measure([one_image(index) for index in range(5)])
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == dict.fromkeys(SHARES, expected)
