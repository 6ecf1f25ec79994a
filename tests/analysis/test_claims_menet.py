"""The ablations of MENET: records like the published numbers, their opposite, and too little to decide."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, image_rows, verdicts, write_study

from slackoff.analysis import Frames, load
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.claims.menet_published import TABLES
from slackoff.analysis.claims.published_tables import published_beside
from slackoff.analysis.claims.variant_tables import readable_variants, variant_table

Numbers = Mapping[str, tuple[float, float]]

HEAVY: Numbers = TABLES["menet_ablation"].numbers["rain100h"]
ABLATION = [
    "psnr_rgb_adaptive_edge",
    "ssim_rgb_adaptive_edge",
    "psnr_rgb_texture",
    "ssim_rgb_texture",
    "psnr_rgb_attention",
    "ssim_rgb_attention",
    "psnr_rgb_depth",
    "ssim_rgb_depth",
    "psnr_rgb_depth_over_losses",
    "psnr_rgb_gb_lb_alike",
]


def frames(
    runs: Path,
    family: str,
    numbers: Numbers,
    test_set: str = "rain100h",
    noise: float = 0.02,
    seed_shift: float = 0.0,
    **more: Any,
) -> Frames:
    """Variants with these mean PSNR and SSIM; with `seed_shift` a second seed that much (dB, half of it off each)."""
    cells = [
        Cell({"variant": variant, "seed": seed}) for variant in numbers for seed in ((0, 1) if seed_shift else (0,))
    ]
    folder = write_study(runs, cells, name=family, axis="variant", claims=[family], **more)
    for cell in cells:
        psnr, ssim = numbers[cell.axes["variant"]]
        psnr += seed_shift * (cell.axes["seed"] - 0.5) * (1 if "GB" in cell.axes["variant"] else -1)
        rows = image_rows(Cell(cell.axes, psnr=psnr, ssim=ssim, images=10, test_set=test_set, noise=noise))
        rows.assign(psnr_rgb_input=12.0).to_parquet(runs / "cells" / cell.id / "images.parquet")
    return load(folder)


def claims(runs: Path, family: str, numbers: Numbers, **more: Any) -> dict[str, Claim]:
    found = check(frames(runs, family, numbers, **more))
    return {claim.id: claim for claim in found if claim.family == family}


def test_the_published_numbers_support_what_is_stated(runs: Path) -> None:
    found = claims(runs, "menet_ablation", HEAVY)
    assert verdicts(found) == dict.fromkeys(ABLATION, "supported")


def test_the_opposite_contradicts(runs: Path) -> None:
    turned = {variant: (50 - psnr, 1.7 - ssim) for variant, (psnr, ssim) in HEAVY.items()}
    found = verdicts(claims(runs, "menet_ablation", turned))
    assert found.pop("psnr_rgb_gb_lb_alike") == "supported"  # two that differ little do so either way round
    assert set(found.values()) == {"contradicted"}


def test_the_texture_loss_is_stated_to_lower_psnr_only(runs: Path) -> None:
    found = claims(runs, "menet_ablation", HEAVY)
    psnr, ssim = found["psnr_rgb_texture"], found["ssim_rgb_texture"]
    assert psnr.statement.endswith("PSNR is lower.")
    assert ssim.statement.endswith("SSIM is higher.")
    assert psnr.effect is not None
    assert psnr.effect.what == "Lp Le GB over Lp Le Lt GB, the smallest"
    assert psnr.effect.mean == pytest.approx(27.8344 - 27.7977, abs=1e-6)
    assert "Lp Le LB over Lp Le Lt LB (+0.19" in psnr.sentence
    helps = dict(HEAVY) | {"Lp Le Lt GB": (28.0, 0.84645), "Lp Le Lt LB": (28.1, 0.84717)}
    found = claims(runs, "menet_ablation", helps)
    assert found["psnr_rgb_texture"].verdict == "contradicted"
    assert found["ssim_rgb_texture"].verdict == "supported"


def test_depth_stands_against_each_combination_of_losses(runs: Path) -> None:
    claim = claims(runs, "menet_ablation", HEAVY)["psnr_rgb_depth_over_losses"]
    depth = {"GB": 28.7399 - 28.1458, "LB": 28.7167 - 28.1573}
    losses = {
        "Lp Le fixed": 27.6132 - 27.5016,
        "Lp Le GB": 27.8344 - 27.5016,
        "Lp Le LB": 27.9586 - 27.5016,
        "Lp Le Lt GB": 27.7977 - 27.5016,
        "Lp Le Lt LB": 27.7668 - 27.5016,
    }
    expected = {f"depth ({w}) less {loss}": d - g for w, d in depth.items() for loss, g in losses.items()}
    gaps = claim.numbers["depth_less_losses"]
    assert {what: gap["mean"] for what, gap in gaps.items()} == pytest.approx(expected, abs=1e-6)
    assert claim.effect is not None
    assert claim.effect.what == "depth (LB) less Lp Le LB, the smallest"
    assert claim.effect.mean == pytest.approx(min(expected.values()), abs=1e-6)


def test_one_combination_of_losses_that_gives_more_than_depth_contradicts(runs: Path) -> None:
    found = claims(runs, "menet_ablation", dict(HEAVY) | {"Lp Le LB": (28.3, 0.84)})
    assert found["psnr_rgb_depth_over_losses"].verdict == "contradicted"
    assert found["psnr_rgb_depth"].verdict == "supported"


@pytest.mark.parametrize(
    ("gap", "noise", "verdict"),
    [
        (0.05, 0.02, "supported"),
        (0.3, 0.02, "contradicted"),
        (-0.3, 0.02, "contradicted"),
        (0.05, 1.0, "not enough data"),
    ],
)
def test_gb_and_lb_are_alike_within_a_margin(runs: Path, gap: float, noise: float, verdict: str) -> None:
    numbers = dict(HEAVY) | {"Lp Le Lt GB CA": (28.1 + gap, 0.85), "Lp Le Lt LB CA": (28.1, 0.85)}
    claim = claims(runs, "menet_ablation", numbers, noise=noise)["psnr_rgb_gb_lb_alike"]
    assert claim.verdict == verdict
    assert claim.numbers["margin"] == 0.1
    gaps = claim.numbers["gaps"]
    assert gaps["Lp Le Lt GB CA less Lp Le Lt LB CA"]["mean"] == pytest.approx(gap, abs=1e-6)


def test_noise_of_the_images_leaves_small_differences_open(runs: Path) -> None:
    found = claims(runs, "menet_ablation", HEAVY, noise=3.0)
    assert found["psnr_rgb_texture"].verdict == "not enough data"
    assert found["psnr_rgb_attention"].verdict == "not enough data"


def test_differences_between_seeds_leave_small_differences_open(runs: Path) -> None:
    """0.15 dB between adaptive and fixed weights do not survive seeds that differ by 2 dB."""
    survived = claims(runs, "menet_ablation", HEAVY, seed_shift=0.01)["psnr_rgb_adaptive_edge"]
    lost = claims(runs, "menet_ablation", HEAVY, seed_shift=2.0)["psnr_rgb_adaptive_edge"]
    assert (survived.verdict, lost.verdict) == ("supported", "not enough data")
    assert lost.effect is not None
    assert lost.effect.mean == pytest.approx(27.8344 - 27.6132, abs=1e-6)
    assert "over 2 training seeds" in lost.scope


def test_a_missing_variant_decides_nothing_of_it_alone(runs: Path) -> None:
    found = claims(runs, "menet_ablation", {name: means for name, means in HEAVY.items() if "deep" not in name})
    undecided = {name for name, claim in found.items() if claim.verdict == "not enough data"}
    assert undecided == {"psnr_rgb_depth", "ssim_rgb_depth", "psnr_rgb_depth_over_losses", "psnr_rgb_gb_lb_alike"}
    assert "There is no result for Lp Le Lt GB CA deep and Lp Le Lt LB CA deep" in found["psnr_rgb_depth"].sentence


def test_statements_are_made_of_their_test_set_only(runs: Path) -> None:
    found = claims(runs, "menet_ablation", HEAVY, test_set="rain100l")
    assert verdicts(found) == dict.fromkeys(ABLATION, "not enough data")
    assert {claim.sentence for claim in found.values()} == {"No network was tested on rain100h."}


def test_table2_says_depth_and_that_gb_and_lb_are_alike(runs: Path) -> None:
    numbers = TABLES["menet_table2"].numbers["rain100h"]
    ours = {name: numbers[name] for name in ("MENET-GB", "MENET-LB", "MENET-GB-deep", "MENET-LB-deep")}
    found = claims(runs, "menet_table2", ours)
    assert verdicts(found) == dict.fromkeys(["psnr_rgb_depth", "ssim_rgb_depth", "psnr_rgb_gb_lb_alike"], "supported")
    shallow = {name: (psnr - name.endswith("deep"), ssim) for name, (psnr, ssim) in ours.items()}
    assert claims(runs, "menet_table2", shallow)["psnr_rgb_depth"].verdict == "contradicted"
    apart = {name: (psnr + name.startswith("MENET-LB"), ssim) for name, (psnr, ssim) in ours.items()}
    assert claims(runs, "menet_table2", apart)["psnr_rgb_gb_lb_alike"].verdict == "contradicted"


@pytest.mark.parametrize(
    ("gain", "noise", "verdict"),
    [(33.5116 - 33.5484, 0.02, "supported"), (0.1, 0.02, "contradicted"), (-0.01, 1.0, "not enough data")],
)
def test_a_fixed_edge_loss_does_not_raise_psnr_on_rain100l(runs: Path, gain: float, noise: float, verdict: str) -> None:
    numbers = {"Lp": (33.5484, 0.9506), "Lp VGG fixed": (33.8075, 0.955), "Lp Le fixed": (33.5484 + gain, 0.9508)}
    found = claims(runs, "menet_lossnet", numbers, test_set="rain100l", noise=noise)
    assert verdicts(found) == {"psnr_rgb_fixed_edge": verdict}


@pytest.mark.parametrize("family", sorted(TABLES))
def test_every_table_stands_beside_its_study_with_its_source(runs: Path, family: str) -> None:
    loaded = frames(runs, family, TABLES[family].numbers["rain100h"])
    beside = published_beside(loaded)
    assert beside is not None
    assert beside.source == TABLES[family].source
    assert "546 scenes" in beside.source
    assert "five crops" in beside.source
    table = beside.table
    assert list(table["variant"]) == list(TABLES[family].numbers["rain100h"])
    for measure in ("psnr_rgb", "ssim_rgb"):
        np.testing.assert_allclose(table[measure], table[f"{measure}_published"], atol=1e-6)
        gaps = table.set_index("variant")[f"{measure}_gap_published"]
        first = {"menet_table2": "MENET-GB"}.get(family, "Lp")
        assert gaps[first] == 0
    assert [column for column in beside.text if "less" in column] == [f"PSNR less {first}", f"SSIM less {first}"]


def test_what_is_lost_of_table_1_stays_empty(runs: Path) -> None:
    loaded = frames(runs, "menet_ablation", dict.fromkeys(HEAVY, (30.0, 0.9)), test_set="rain100l", size="paper")
    table = variant_table(loaded, TABLES["menet_ablation"]).set_index("variant")
    lost = ["Lp Le GB", "Lp Le LB", "Lp Le Lt GB", "Lp Le Lt LB"]
    assert list(table.index[table["psnr_rgb_published"].isna()]) == lost
    assert set(table.loc[lost, "remark"]) == {"no published number for rain100l"}
    assert set(table.drop(lost)["remark"]) == {""}
    text = readable_variants(table.reset_index(), "Lp").set_index("variant")
    assert text.loc["Lp Le GB", "PSNR"].startswith("\N{EN DASH} / 30.00")
    assert text.loc["Lp Le Lt GB CA", "PSNR less Lp"].startswith("0.64 / 0.00")


def test_the_tables_agree_where_they_print_the_same_network() -> None:
    """Tables I, II and IV to the last digit of the shorter, plus or minus one: the paper rounds and cuts off."""
    same = {
        "Lp Le Lt GB CA": "MENET-GB",
        "Lp Le Lt LB CA": "MENET-LB",
        "Lp Le Lt GB CA deep": "MENET-GB-deep",
        "Lp Le Lt LB CA deep": "MENET-LB-deep",
    }
    ablation, second, fourth = (
        TABLES[family].numbers for family in ("menet_ablation", "menet_table2", "menet_lossnet")
    )
    pairs = [(ablation[on][a], second[on][b]) for on in ablation for a, b in same.items()]
    pairs += [(ablation[on][name], fourth[on][name]) for on in ablation for name in fourth[on]]
    assert len(pairs) == 14
    table = pd.DataFrame([(*first, *other) for first, other in pairs])
    assert (table[0] - table[2]).abs().max() < 1.01e-4
    assert (table[1] - table[3]).abs().max() < 1.01e-4
