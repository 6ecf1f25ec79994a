"""DDN-SIRR's paired test set: which pairs are dense and sparse, and what their rain costs."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import nn

from slackoff.config import build
from slackoff.errors import SlackoffError
from slackoff.images import read_pair


@pytest.fixture
def sirr(composed, shared_data):
    return composed("evaluation=sirr", f"roots.sirr={shared_data('sirr')}", "evaluation.count=null")


class Unchanged(nn.Module):
    """A network that gives back what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, rainy: torch.Tensor) -> torch.Tensor:
        return rainy * self.weight


@pytest.mark.slow
def test_the_input_is_as_good_as_measured_before(sirr):
    """RGB PSNR and SSIM, in scikit-image's own window as the method's authors measure: 17.82 dB and 0.787 dense."""
    evaluator = build.build_evaluator(sirr, build.build_backgrounds(sirr))
    rows = evaluator.evaluate(Unchanged()).rows
    assert rows["image"].tolist() == [f"{number:02d}" for number in range(1, 21)]
    assert rows["test_set"].tolist() == ["dense"] * 10 + ["sparse"] * 10
    means = rows.groupby("test_set")[["psnr_rgb", "psnr_rgb_input"]].mean()
    sets = build.build_test_sets(sirr)
    for name, psnr, ssim in (("dense", 17.82, 0.787), ("sparse", 23.93, 0.858)):
        assert means.loc[name].tolist() == pytest.approx([psnr, psnr], abs=0.005)
        found = [structural_similarity(*read_pair(pair), channel_axis=2) for pair in sets[name].pairs()]
        measured = rows.loc[rows["test_set"] == name, "ssim_rgb"]
        assert measured.tolist() == pytest.approx(found, abs=1e-4)
        assert measured.mean() == pytest.approx(ssim, abs=0.0006)


def test_half_a_test_set_is_refused(composed, tmp_path):
    for folder in ("rainy", "norain"):
        (tmp_path / folder).mkdir()
        for number in range(12):
            pixels = np.full((16, 16, 3), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    config = composed("evaluation=sirr", f"evaluation.root={tmp_path}")
    with pytest.raises(SlackoffError, match=r"^numbers=\[11, 20\] of roots\.sirr: there are only 12 pairs"):
        build.build_evaluator(config, build.build_backgrounds(config))
