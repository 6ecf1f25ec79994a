"""Weights that others published, in our networks: the figures of their code, and rain taken out of real pairs.

The files are not part of the project; without them these tests are skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from network_tester import figures, formula_input
from PIL import Image
from safetensors.torch import load_file

from slackoff.cli.import_weights import import_weights
from slackoff.images.files import read_rgb
from slackoff.metrics.functional import psnr
from slackoff.networks import DDN, JORDERE, PReNet
from slackoff.networks.weights import read_tensors, start_from

SHARED = Path(__file__).parents[3] / "shared"
PRACTICAL = "jorder-e/model_practical.pt"
DDN_H, DDN_L = (f"ddn-reproduction/rain100{kind}_model_best.npz" for kind in "HL")
SIRR = "sirr/sirr_model.npz"
PRENET = {name: f"prenet/{name}_net_latest.pth" for name in
          ("Rain100H__PReNet6_", "Rain100L__PReNet6_", "Rain100H__PReNet6_r_", "Rain100L__PReNet6_r_",
           "Rain100H__PRN6_", "Rain100L__PRN6_", "Rain100H__PRN6_r_", "Rain100L__PRN6_r_")}  # fmt: skip


def weights(name: str) -> Path:
    path = SHARED / "weights" / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: this test needs published weights")
    return path


def published(name: str) -> torch.nn.Module:
    if name.startswith("prenet"):
        network = PReNet(unit="none" if "PRN6" in name else "lstm", share_blocks="_r__net" in name)
    elif name == PRACTICAL:
        network = JORDERE(32, 3)
    else:
        network = DDN(norm="batch", eps=1e-5) if name == SIRR else DDN(skip="long")
    start_from(network, weights(name))
    return network.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        (PRENET["Rain100H__PReNet6_"], [0.349571, 0.243133, 0.382580, 0.413068, 0.020694]),
        (PRENET["Rain100L__PReNet6_"], [0.354249, 0.254161, 0.480278, 0.353235, 0.077918]),
        (PRENET["Rain100H__PReNet6_r_"], [0.350343, 0.248269, 0.496426, 0.434938, 0.071853]),
        (PRENET["Rain100H__PRN6_"], [0.345918, 0.235669, 0.365340, 0.409678, 0.071044]),
        (PRENET["Rain100H__PRN6_r_"], [0.357299, 0.237742, 0.415564, 0.427802, 0.076579]),
        (DDN_H, [0.404272, 0.227959, 0.586571, 0.551458, 0.0798302]),
        (DDN_L, [0.375310, 0.248047, 0.493933, 0.362081, 0.0906233]),
        (SIRR, [0.439094, 0.247027, 0.529863, 0.530186, 0.086813]),
    ],
)
def test_outputs_are_those_of_the_authors_code(name, recorded):
    assert figures(published(name)(formula_input())) == pytest.approx(recorded, rel=1e-4)


@torch.no_grad()
def test_both_estimates_of_jorder_e_are_those_of_the_authors_code():
    """And under autocast they err by little more than a grey level: 0.27 on average, 1.2 at most."""
    network, rainy = published(PRACTICAL), formula_input()
    first, last = (figures(255 * background) for background in network.stages(rainy).backgrounds)
    assert first == pytest.approx([78.20495, 52.35417, 94.88355, 84.90199, 17.03266], rel=1e-4)
    assert last == pytest.approx([86.13333, 57.41776, 87.50221, 96.18466, 22.87517], rel=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(rainy)
    assert 0 < 255 * (found - network(rainy)).square().mean().sqrt().item() < 0.5


def middle(path: Path, side: int) -> torch.Tensor:
    image = torch.from_numpy(read_rgb(path)).permute(2, 0, 1)[None].float() / 255
    top, left = ((size - side) // 2 for size in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "picture", "side", "space", "untouched", "restored"),
    [
        *((PRENET[name], "001.png", 128, "y", 14.338 if "100H" in name else 26.962, decibel)
          for name, decibel in zip(PRENET, (31.133, 35.521, 30.204, 35.617, 29.436, 34.915, 28.966, 35.208),
                                   strict=True)),
        (DDN_L, "001.png", 160, "rgb", 25.294, 34.467),
        (DDN_L, "002.png", 160, "rgb", 28.713, 35.679),
        (DDN_H, "001.png", 160, "rgb", 13.253, 26.869),
        (DDN_H, "002.png", 160, "rgb", 13.728, 27.015),
        (PRACTICAL, "001.png", 128, "rgb", 12.943, 22.545),
        (PRACTICAL, "007.png", 128, "rgb", 7.012, 19.627),
    ],
)  # fmt: skip
def test_rain_is_taken_out_of_real_pairs(shared_data, name, picture, side, space, untouched, restored):
    """PSNR in dB of the middle of a pair of the set that the network was trained for, measured once with this code."""
    folder = shared_data("rain100l" if "100L" in name else "rain100h")
    rainy, background = (middle(folder / kind / picture, side) for kind in ("rainy", "norain"))
    output = (published(name)(rainy).clamp(0, 1) * 255).round() / 255
    assert psnr(rainy, background, space).item() == pytest.approx(untouched, abs=0.002)
    assert psnr(output, background, space).item() == pytest.approx(restored, abs=0.02)


@pytest.mark.parametrize(
    ("preset", "name", "ours", "theirs"),
    [
        ("jorder_e_practical", PRACTICAL, "stage2.blocks.0.wide.0.weight", "jorder2.updater.res1.conv3.weight"),
        ("ddn_reproduction", DDN_L, "layers.1.0.weight", "b2.3.weight"),
        ("sirr", SIRR, "last.1.bias", "conv_26__beta_26"),
    ],
)
def test_published_weights_are_imported_whole(preset, name, ours, theirs, tmp_path):
    """Of SIRR the set for labelled images, not that for photos; TensorFlow's kernels are (height, width, in, out)."""
    source, target = weights(name), tmp_path / "out.safetensors"
    import_weights(preset, source, target)
    found, given = load_file(target), read_tensors(source)
    assert torch.equal(found[ours], given[theirs])
    if preset == "sirr":
        assert torch.equal(found["layers.1.0.weight"][5, 3], given["conv_3__weights_3"][:, :, 3, 5])
        assert not torch.equal(found[ours], given["conv_26_1__beta_26"])


MANIFEST = """\
common: {schedule.steps: 0, protocol@evaluation.protocol: full_y}
rows:
  - study.variant: PRN_r (Rain100H)
    network: prn_r
    +start_from: "${roots.weights}/prenet/Rain100H__PRN6_r__net_latest.pth"
    evaluation: rain100h
  - study.variant: PRN_r (Rain100L)
    network: prn_r
    +start_from: "${roots.weights}/prenet/Rain100L__PRN6_r__net_latest.pth"
    evaluation: rain100l
"""


def luma_psnr(folder: Path, kind: str) -> float:
    """From the stored 8-bit pictures, in NumPy: the PSNR of MATLAB's luma, as the authors' script takes it."""
    factors = np.array([65.481, 128.553, 24.966]) / 255
    images = [np.asarray(Image.open(folder / f"{name}.png"), dtype=np.float64) for name in (kind, "background")]
    error = (images[0] - images[1]) @ factors
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.slow
def test_the_study_of_published_weights_measures_whole_images(shared_data, tmp_path):
    """As a person types it, and beside the measures the authors' numbers."""
    shared_data("rain100h"), shared_data("rain100l"), weights(PRENET["Rain100L__PRN6_r_"])
    (tmp_path / "two.yaml").write_text(MANIFEST)
    roots = [f"data_root={SHARED / 'data'}", f"roots.weights={SHARED / 'weights'}"]
    command = ["+experiment=published_weights", "-m", "study.manifest=two.yaml", *roots, "evaluation.count=1"]
    subprocess.run(
        [sys.executable, "-m", "slackoff", *command, "logger.wandb=false"],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "120"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    (study,) = tmp_path.glob("runs/studies/published_weights-*/study.json")
    table = pd.read_csv(study.parent / "tables" / "published.csv").set_index("variant")
    assert table["psnr_y_published"].tolist() == [27.43, 36.11]
    for cell in json.loads(study.read_text())["cells"]:
        (picture,) = (tmp_path / "runs" / "cells" / cell["id"] / "pictures").glob("*/*")
        row = table.loc[cell["axes"]["variant"]]
        assert row["psnr_y"] == pytest.approx(luma_psnr(picture, "output"), abs=1e-3)
        assert row["psnr_y_input"] == pytest.approx(luma_psnr(picture, "rainy"), abs=1e-3)
    assert table["psnr_y"].tolist() == pytest.approx([31.005, 36.928], abs=0.02)  # image 001 of each, measured here
