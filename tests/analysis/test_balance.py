"""Which pairs are on the front and recommended, by hand and against a loop; which studies are balanced; the figure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames, image_rows, write_study
from matplotlib.colors import to_rgb

from slackoff.analysis.axes import save
from slackoff.analysis.balance import (
    FRONT_ID,
    MARGIN,
    RING_ID,
    Balance,
    balance_figure,
    balance_table,
    balances,
    describe_balance,
)
from slackoff.analysis.report import build
from slackoff.analysis.statistics import non_dominated, recommend
from slackoff.errors import SlackoffError

MEANS = {
    ("small", 8): (45.0, 0.50, 28.0),
    ("small", 64): (30.0, 0.40, 10.0),
    ("small", 1024): (28.0, 0.38, 6.0),
    ("large", 8): (44.0, 0.80, 30.0),
    ("large", 64): (40.0, 0.75, 14.0),
    ("large", 1024): (36.0, 0.70, 8.0),
}
"""Rain range and count to E_R, removal share and E_B. By the share (small, 8) and (small, 64) are dominated; by E_R
(large, 8) and (small, 64) are."""


def cells(noise: float = 1.0, **others: object) -> list[Cell]:
    return [
        Cell({"patch_count": n, "rain": rain}, e_r=e_r, share=share, e_b=e_b, noise=noise, **others)  # type: ignore[arg-type]
        for (rain, n), (e_r, share, e_b) in MEANS.items()
    ]


def names(balance: Balance) -> list[str]:
    return list(balance.points["name"])


def test_fronts_and_recommendation_of_a_study(frames_of: MakeFrames) -> None:
    (balance,) = balances(frames_of(cells()))
    assert names(balance) == [f"{rain}, N = {n}" for rain, n in MEANS]
    assert balance.points["front_by_removal_share"].tolist() == [False, False, True, True, True, True]
    assert balance.points["front_by_e_r"].tolist() == [True, False, True, False, True, True]
    assert balance.margin == MARGIN == 3.0
    assert balance.recommended()["name"] == "large, N = 1024"
    np.testing.assert_allclose(balance.points[["e_r", "removal_share", "e_b"]], list(MEANS.values()))
    assert set(balance.points["e_r_oracle"]) == {40}
    assert (balance.points["e_b_low"] < balance.points["e_b"]).all()
    assert (balance.points["e_b"] < balance.points["e_b_high"]).all()


def test_the_margin_comes_from_the_study(frames_of: MakeFrames) -> None:
    for margin, name in ((0, "small, N = 1024"), (8.5, "large, N = 64"), (50, "large, N = 8")):
        assert balances(frames_of(cells(), options={"balance_margin": margin}))[0].recommended()["name"] == name


@pytest.mark.parametrize("margin", [-1, "wide", None, True, float("nan")])
def test_a_margin_that_is_no_distance_is_refused(frames_of: MakeFrames, margin: object) -> None:
    with pytest.raises(SlackoffError, match=r"study\.json.* \(?options\.balance_margin.* (must be|should be) a"):
        balances(frames_of(cells(), options={"balance_margin": margin}))


def test_shares_of_resamples_agree_with_a_loop(frames_of: MakeFrames) -> None:
    """Images that are drawn for all networks together: two nearly equal pairs swap places in part of the draws."""
    noisy = [
        Cell({"patch_count": n, "rain": rain}, share=share, e_b=e_b, noise=3.0, images=10)
        for rain, n, share, e_b in (
            ("small", 8, 0.6, 9.0),
            ("small", 64, 0.605, 9.4),
            ("large", 8, 0.7, 12.3),
            ("large", 64, 0.4, 20.0),
        )
    ]
    (balance,) = balances(frames_of(noisy))
    rows = [image_rows(cell) for cell in noisy]
    share, cost = (np.array([frame[name] for frame in rows]) for name in ("removal_share", "e_b"))
    generator = np.random.default_rng(4)
    member, named = np.zeros(4), np.zeros(4)
    for _ in range(4000):
        drawn = generator.integers(10, size=10)
        means = share[:, drawn].mean(axis=1), cost[:, drawn].mean(axis=1)
        member += non_dominated(*means)
        named[recommend(*means, MARGIN)] += 1
    on_front, recommended = (balance.points[f"{what}_by_removal_share_resamples"] for what in ("front", "recommended"))
    np.testing.assert_allclose(on_front, member / 4000, atol=0.04)
    np.testing.assert_allclose(recommended, named / 4000, atol=0.04)
    assert 0.1 < on_front[0] < 1
    assert recommended.sum() == pytest.approx(1)


def test_all_points_are_compared_on_the_same_images(frames_of: MakeFrames) -> None:
    made = cells(noise=0.0)
    (balance,) = balances(frames_of(made, edits={0: lambda rows: rows.assign(e_r=[np.nan, *rows["e_r"][1:]])}))
    expected = image_rows(made[3])["e_b"][1:].mean()
    assert balance.points["e_b"][3] == pytest.approx(expected)


def test_seeds_of_a_pair_are_one_point(frames_of: MakeFrames) -> None:
    seeded = [
        Cell({"patch_count": n, "rain": rain, "seed": seed}, e_b=10 + seed)
        for rain in ("small", "large")
        for n in (8, 64)
        for seed in (0, 2)
    ]
    (balance,) = balances(frames_of(seeded))
    assert balance.points["seeds"].tolist() == [2, 2, 2, 2]
    assert balance.points["e_b"][0] == pytest.approx(11)


def test_ranges_are_put_in_their_order_and_pairs_without_results_named(frames_of: MakeFrames) -> None:
    order = [Cell({"patch_count": n, "rain": rain}) for rain in ("large", "small") for n in (64, 8)]
    order.append(Cell({"patch_count": 8, "rain": "medium"}, state="failed"))
    (balance,) = balances(frames_of(order))
    assert names(balance) == ["small, N = 8", "small, N = 64", "large, N = 8", "large, N = 64"]
    assert balance.absent == ["medium, N = 8"]
    assert "Not in the balance, for want of results: medium, N = 8." in describe_balance(balance)


def test_which_studies_are_balanced(frames_of: MakeFrames) -> None:
    counts = [Cell({"patch_count": 2**power}) for power in range(3, 9)]
    (alone,) = balances(frames_of(counts))
    assert names(alone)[:2] == ["N = 8", "N = 16"]
    assert "rain" not in balance_table([alone])
    assert balances(frames_of(counts[:5])) == []
    assert balances(frames_of([Cell({"rain": rain, "patch_count": 8}) for rain in ("small", "large")])) == []
    assert balances(frames_of([Cell({"width": width}) for width in range(8)], axis="width")) == []
    failed = [Cell({"patch_count": n, "rain": rain}, state="failed") for rain in ("small", "large") for n in (8, 64)]
    assert balances(frames_of(failed)) == []


def test_networks_and_test_sets_are_balanced_apart_along_either_axis(frames_of: MakeFrames) -> None:
    made = [
        Cell({"rain": rain, "patch_count": n, "network": network})
        for rain in ("small", "large")
        for n in (8, 64)
        for network in ("resnet", "unet")
    ]
    twice = dict.fromkeys(range(8), lambda rows: pd.concat([rows, rows.assign(test_set="div2k")]))
    found = balances(frames_of(made, "rain", edits=twice))
    assert list(balance_table(found))[:4] == ["network", "test set", "rain", "patch_count"]
    assert [tuple(balance.labels.values()) for balance in found] == [
        ("resnet", "R100-like"),
        ("resnet", "div2k"),
        ("unet", "R100-like"),
        ("unet", "div2k"),
    ]
    assert {len(balance.points) for balance in found} == {4}
    assert balances(frames_of(made, "network")) == []


def test_the_words_name_the_pair_the_rule_and_where_e_r_differs(frames_of: MakeFrames) -> None:
    recommended, rule, by_e_r = describe_balance(balances(frames_of(cells()))[0])
    assert recommended.startswith("Recommended: large, N = 1024. It has removal share 0.70 (95 % interval ")
    assert "E_B 8.0 grey levels (95 % interval " in recommended
    assert "with an oracle of 40.0" in recommended
    assert "at most 3 grey levels above the lowest (6.0 at small, N = 1024)" in rule
    assert "It names this pair in >99 % of the bootstrap resamples." in rule
    assert by_e_r.startswith("By E_R the rule names the same pair.")
    assert "E_R clearly exceeds its oracle at small, N = 8: that cannot be rain removal alone." in by_e_r


def test_the_words_tell_what_e_r_would_have_recommended(frames_of: MakeFrames) -> None:
    two = [
        Cell({"patch_count": 8, "rain": "small"}, e_r=46, share=0.5, e_b=8),
        Cell({"patch_count": 64, "rain": "small"}, e_r=30, share=0.5, e_b=9),
        Cell({"patch_count": 8, "rain": "large"}, e_r=35, share=0.7, e_b=8.5),
        Cell({"patch_count": 64, "rain": "large"}, e_r=30, share=0.5, e_b=9),
    ]
    words = describe_balance(balances(frames_of(two))[0])[-1]
    assert words.startswith("By E_R the rule would name small, N = 8 instead (removal share 0.50, E_B 8.0).")


def test_few_images_recommend_nothing(frames_of: MakeFrames) -> None:
    sentence = describe_balance(balances(frames_of(cells(images=3)))[0])[0]
    assert sentence.startswith("The rule names large, N = 1024:")
    assert sentence.endswith("With 3 test images nothing is decided: an interval needs at least 5.")
    rule = describe_balance(balances(frames_of(cells(images=1)))[0])[1]
    assert "resamples" not in rule


def test_table_has_all_points(frames_of: MakeFrames) -> None:
    found = balances(frames_of(cells()))
    table = balance_table(found)
    assert list(zip(table["rain"], table["patch_count"], strict=True)) == list(MEANS)
    assert set(found[0].points) - set(table) == {"name", "beyond_oracle"}
    assert table["recommended_by_removal_share"].tolist() == [False] * 5 + [True]
    assert table["recommended_by_removal_share_resamples"].tolist() == pytest.approx([0, 0, 0, 0, 0, 1], abs=0.01)


def test_balance_has_all_points_the_front_and_a_ring(frames_of: MakeFrames) -> None:
    (balance,) = balances(frames_of(cells()))
    chosen = balance.points["recommended_by_removal_share"]
    balance = replace(balance, points=balance.points.assign(recommended_by_e_r=chosen[::-1].to_numpy()))
    figure = balance_figure(balance)
    for ax, gain in zip(figure.axes, ("e_r", "removal_share"), strict=True):
        at = list(zip(balance.points["e_b"], balance.points[gain], strict=True))
        points = [found[0] for found in ax.containers]  # type: ignore[index]
        assert len(points) == 6
        for along, measure in enumerate(("e_b", gain)):
            ends = [found[2][along].get_segments()[0][:, along] for found in ax.containers]  # type: ignore[index]
            np.testing.assert_allclose(ends, balance.points[[f"{measure}_low", f"{measure}_high"]])
        marks = [line for line in ax.get_lines() if line.get_marker() == "o" and line.get_fillstyle() != "none"]
        shown = {(float(mark.get_xdata()[0]), float(mark.get_ydata()[0])) for mark in marks}  # type: ignore[index]
        assert shown == {(float(x), float(y)) for x, y in at}
        (front,) = [line for line in ax.get_lines() if line.get_gid() == FRONT_ID]
        members = [place for place, member in zip(at, balance.points[f"front_by_{gain}"], strict=True) if member]
        np.testing.assert_allclose(front.get_xydata(), sorted(members))
        assert front.get_drawstyle() == "steps-post"
        (ring,) = [line for line in ax.get_lines() if line.get_gid() == RING_ID]
        best = balance.recommended()
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (best["e_b"], best[gain])  # type: ignore[index]
        assert {"8", "64", "1024"} & {text.get_text() for text in ax.texts}
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:2] == ["small", "large"]
    assert named[-1] == f"recommended: {balance.recommended()['name']}"


def test_the_fill_is_the_share_of_resamples_on_the_front(frames_of: MakeFrames) -> None:
    (balance,) = balances(frames_of(cells(noise=9.0)))
    ax = balance_figure(balance).axes[1]
    marks = [line for line in ax.get_lines() if line.get_markersize() == 7]
    for mark, share in zip(marks, balance.points["front_by_removal_share_resamples"], strict=True):
        colour, face = np.array(to_rgb(mark.get_color())), np.array(to_rgb(mark.get_markerfacecolor()))
        np.testing.assert_allclose(face, 1 - share * (1 - colour))


@pytest.mark.parametrize("images", [1, 8])
def test_it_can_be_saved_whatever_the_number_of_images(frames_of: MakeFrames, tmp_path: Path, images: int) -> None:
    png, svg = save(balance_figure(balances(frames_of(cells(images=images)))[0]), tmp_path, "balance")
    assert png.stat().st_size > 10_000
    assert "<svg" in svg.read_text()


@pytest.mark.slow
def test_report_shows_the_balance(runs: Path) -> None:
    study = write_study(runs, cells())
    html = build(study).read_text(encoding="utf-8")
    assert '<section id="balance">' in html
    assert html.index('id="curves"') < html.index('id="balance"')
    assert "Recommended: large, N = 1024." in html
    assert (study / "figures" / "balance.svg").is_file()
    assert (study / "figures" / "normalised.png").is_file()
    assert len(pd.read_csv(study / "tables" / "balance.csv")) == 6
    path = study / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"experiment": "balance"}))
    html = build(study).read_text(encoding="utf-8")
    assert html.index('id="balance"') < html.index('id="answer"')
    assert html.count('id="balance"') == 1
