"""Self-training against fewer patches on three rains, and limited labels: both outcomes, and too little."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from analysis_record import Cell, image_rows, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import Claim, check

MANY, TAUGHT, FEW = "many patches", "many patches, self-training", "few patches"
SEEN = {  # removal share by test set and variant: unseen rain became seen rain, and no more
    "new_rain": {MANY: 0.40, TAUGHT: 0.38, FEW: 0.60},
    "unlabelled_rain": {MANY: 0.40, TAUGHT: 0.80, FEW: 0.60},
}
GENERAL = {
    "new_rain": {MANY: 0.40, TAUGHT: 0.80, FEW: 0.60},
    "unlabelled_rain": {MANY: 0.40, TAUGHT: 0.70, FEW: 0.60},
}


def rains(runs: Path, shares: dict[str, dict[str, float]]) -> Frames:
    """E_R is 50 times the share."""
    cells = [Cell({"variant": variant}) for variant in shares["new_rain"]]
    folder = write_study(runs, cells, "semi", "variant", claims=["semi_generalisation"], test_sets=list(shares))
    for cell in cells:
        rows = []
        for number, (test_set, variants) in enumerate(shares.items()):
            share = variants[cell.axes["variant"]]
            own = image_rows(Cell(cell.axes, e_r=50 * share, share=share, test_set=test_set))
            rows.append(own.assign(image=[f"{number}-{name}" for name in own["image"]]))
        pd.concat(rows).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return load(folder)


def found(frames: Frames, family: str) -> dict[str, Claim]:
    return {claim.id: claim for claim in check(frames) if claim.family == family}


def test_rain_that_only_became_seen(runs: Path) -> None:
    claims = found(rains(runs, SEEN), "semi_generalisation")
    verdicts = {
        topic: claims[f"removal_share_{topic}"].verdict
        for topic in ("unlabelled_rain", "turns_into_seen", "few_patches")
    }
    assert set(verdicts.values()) == {"supported"}
    assert claims["removal_share_new_rain"].verdict == "contradicted"
    gains = claims["e_r_turns_into_seen"].effect
    assert gains is not None
    assert gains.mean == pytest.approx(50 * ((0.80 - 0.40) - (0.38 - 0.40)))


def test_self_training_that_generalises(runs: Path) -> None:
    claims = found(rains(runs, GENERAL), "semi_generalisation")
    assert claims["removal_share_new_rain"].verdict == "supported"
    assert claims["removal_share_turns_into_seen"].verdict == "contradicted"
    assert claims["removal_share_few_patches"].verdict == "contradicted"


def test_a_variant_that_is_missing_is_named(runs: Path) -> None:
    without = {test: {MANY: shares[MANY], TAUGHT: shares[TAUGHT]} for test, shares in SEEN.items()}
    claim = found(rains(runs, without), "semi_generalisation")["removal_share_few_patches"]
    assert claim.verdict == "not enough data"
    assert "There is no result for few patches on new_rain." in claim.sentence


def labels(runs: Path, gains: dict[float, float], **more: Any) -> dict[str, Claim]:
    cells = [
        Cell(
            {"share": share, "self_training": taught},
            psnr=25 + 5 * share + taught * gain,
            ssim=0.8 + 0.01 * taught * gain,
        )
        for share, gain in gains.items()
        for taught in (False, True)
    ]
    return found(load(write_study(runs, cells, "labels", "share", claims=["limited_labels"], **more)), "limited_labels")


def test_images_without_truth_that_help_at_every_share(runs: Path) -> None:
    claims = labels(runs, {0.1: 2.0, 0.2: 1.5, 0.6: 1.0})
    assert {claim.verdict for claim in claims.values()} == {"supported"}
    effect = claims["psnr_rgb_unlabelled"].effect
    assert effect is not None
    assert effect.mean == pytest.approx(1.0)
    assert effect.what == "gain at a share of 0.6, the smallest"


def test_one_share_at_which_they_hurt_contradicts(runs: Path) -> None:
    claims = labels(runs, {0.1: 2.0, 0.6: -1.0})
    assert {claim.verdict for claim in claims.values()} == {"contradicted"}
