"""The study of published weights as a person types it: whole images, measured, and beside them the authors' numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared"
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
    weights = np.array([65.481, 128.553, 24.966]) / 255
    images = [np.asarray(Image.open(folder / f"{name}.png"), dtype=np.float64) for name in (kind, "background")]
    error = (images[0] - images[1]) @ weights
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.slow
def test_published_weights_are_measured_on_whole_images(shared_data, tmp_path) -> None:
    shared_data("rain100h"), shared_data("rain100l")
    if not (SHARED / "weights" / "prenet").is_dir():
        pytest.skip(f"{SHARED / 'weights' / 'prenet'} is absent: this test needs published weights")
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
    published = pd.read_csv(study.parent / "tables" / "published.csv").set_index("variant")
    assert published["psnr_y_published"].tolist() == [27.43, 36.11]
    for cell in json.loads(study.read_text())["cells"]:
        (picture,) = (tmp_path / "runs" / "cells" / cell["id"] / "pictures").glob("*/*")
        row = published.loc[cell["axes"]["variant"]]
        assert row["psnr_y"] == pytest.approx(luma_psnr(picture, "output"), abs=1e-3)
        assert row["psnr_y_input"] == pytest.approx(luma_psnr(picture, "rainy"), abs=1e-3)
    assert published["psnr_y"].tolist() == pytest.approx([31.005, 36.928], abs=0.02)  # image 001 of each, measured here
