"""DDN-SIRR's paired test set: which pairs are dense and sparse, and what their rain costs."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity
from torch import nn

from slackoff import build
from slackoff.errors import SlackoffError
from slackoff.pairs import read_pair


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


def test_the_input_is_as_good_as_measured_before(sirr):
    """RGB PSNR of the rainy images: 17.82 dB dense, 23.93 dB sparse."""
    evaluator = build.build_evaluator(sirr, build.build_backgrounds(sirr))
    rows = evaluator.evaluate(Unchanged()).rows
    assert rows["image"].tolist() == [f"{number:02d}" for number in range(1, 21)]
    assert rows["test_set"].tolist() == ["dense"] * 10 + ["sparse"] * 10
    means = rows.groupby("test_set")[["psnr_rgb", "psnr_rgb_input"]].mean()
    for test_set, psnr in (("dense", 17.82), ("sparse", 23.93)):
        assert means.loc[test_set].tolist() == pytest.approx([psnr, psnr], abs=0.005)


def test_the_ssim_of_the_input_is_the_known_one(sirr):
    """With scikit-image's 7 x 7 window, as the method's authors measure: 0.787 dense, 0.858 sparse."""
    sets = build.build_test_sets(sirr)
    for name, expected in (("dense", 0.787), ("sparse", 0.858)):
        found = [structural_similarity(*read_pair(pair), channel_axis=2) for pair in sets[name].pairs()]
        assert len(found) == 10
        assert np.mean(found) == pytest.approx(expected, abs=0.0006)


def test_half_a_test_set_is_refused(composed, tmp_path):
    for folder in ("rainy", "norain"):
        (tmp_path / folder).mkdir()
        for number in range(12):
            pixels = np.full((16, 16, 3), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    config = composed("evaluation=sirr", f"evaluation.root={tmp_path}")
    with pytest.raises(SlackoffError, match=r"^numbers=\[11, 20\] of roots\.sirr: there are only 12 pairs"):
        build.build_evaluator(config, build.build_backgrounds(config))
