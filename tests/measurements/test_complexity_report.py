"""The report of a complexity study: orders, claims and page from rows whose means are known."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from measured import write_record
from PIL import Image

from report_page import Page
from slackoff.analysis.claims.claim import CONTRADICTED, NOT_ENOUGH, SUPPORTED, Claim
from slackoff.measurements.complexity_orders import (
    ANSWER,
    PUBLISHED,
    Window,
    check,
    matches,
    nearest,
    order_text,
    search_factor,
    spectra,
    worth_showing,
)
from slackoff.measurements.study import build
from slackoff.record.measurement import MeasurementRecord

Scales = dict[str, Sequence[float]]

# C_0, C_1, C_2: the published order clearly from k0 = 2 on and nowhere else.
COARSE = {"celeba": [1, 2, 9], "div2k": [2, 2, 7], "manga109": [9, 9, 5], "urban100": [8, 8, 3]}
REVERSED = {"celeba": [1, 1, 1], "div2k": [2, 2, 2], "manga109": [3, 3, 3], "urban100": [4, 4, 4]}


def rows(scales: Scales, noise: float = 0.1, photographs: int = 12, normalised: bool = False) -> pd.DataFrame:
    """Two patches a photograph; means over patches are exactly `scales`, photographs scatter by `noise`."""
    frames = []
    for stream, (category, means) in enumerate(scales.items()):
        offsets = np.random.default_rng(stream).normal(0, noise, (photographs, len(means)))
        values = np.repeat(np.array(means) + offsets - offsets.mean(axis=0), 2, axis=0)
        frame = pd.DataFrame(values, columns=[f"c_{k}" for k in range(len(means))])
        frame["category"], frame["patch"] = category, range(len(frame))
        frame["photograph"] = [f"photo{number // 2}" for number in range(len(frame))]
        frames.append(frame.assign(colour="rgb", normalised=normalised, half_variance=values.sum(axis=1)))
    return pd.concat(frames, ignore_index=True)


MEASURE = {"filter_size": 2, "patch_size_px": 8, "categories": {"celeba": {"root": "data/celeba"}}}


def claims_of(frame: pd.DataFrame) -> dict[str, Claim]:
    """The claims by id; of patches of 8 px, which have three scales."""
    study = MeasurementRecord(folder=Path(), kind="complexity", rows=frame, settings=MEASURE, environment={})
    return {claim.id: claim for claim in check(study, spectra(frame))}


def test_means_and_intervals_of_every_window() -> None:
    [found] = spectra(rows(COARSE))
    assert [window for window in found.windows if window.depth == 3] == found.full_windows
    assert len(found.windows) == 6
    for category, means in COARSE.items():
        for window in found.windows:
            level = found.level(category, window)
            assert level.mean == pytest.approx(sum(means[window.k0 : window.depth]))
            assert level.low < level.mean < level.high
            assert (level.images, level.units) == (24, 12)
    assert found.order(Window(0, 3)) == ["manga109", "urban100", "celeba", "div2k"]
    assert [found.rank(name, Window(0, 3)) for name in PUBLISHED] == [3, 4, 1, 2]


def test_patches_of_one_photograph_count_once() -> None:
    """Copies of patches add no information: the interval stays; as photographs of their own they would narrow it."""
    plain = rows(COARSE, noise=1.0)
    copies = pd.concat([plain] * 4, ignore_index=True)
    named = copies.assign(photograph=[f"{name}-{n // len(plain)}" for n, name in enumerate(copies["photograph"])])
    widths = []
    for frame in (plain, copies, named):
        [found] = spectra(frame)
        level = found.level("celeba", Window(0, 3))
        widths.append(level.high - level.low)
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.1)
    standard_error = plain[plain["category"] == "celeba"][["c_0", "c_1", "c_2"]].sum(axis=1)[::2].std() / 12**0.5
    assert widths[0] == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_categories_are_resampled_on_their_own() -> None:
    """The same values in two categories: their difference must scatter as two samples, not cancel."""
    means = {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]}
    frame = rows(means, noise=1.0)
    columns = ["c_0", "c_1", "c_2"]
    frame.loc[frame["category"] == "b", columns] = frame.loc[frame["category"] == "a", columns].to_numpy()
    [found] = spectra(frame)
    level, difference = found.level("a", Window(0, 3)), found.difference("a", "b", Window(0, 3))
    assert difference.mean == 0
    assert difference.high - difference.low == pytest.approx(2**0.5 * (level.high - level.low), rel=0.1)


@pytest.mark.parametrize(
    ("scales", "scatter", "verdict", "words", "counts"),
    [
        (COARSE, {}, SUPPORTED, "C falls in the published order at k0 = 2 (RGB, as they are), clearly", (1, 1)),
        (COARSE, {"noise": 8.0}, NOT_ENOUGH, "The means of C fall in the published order at k0 = 2", (0, 1)),
        (COARSE, {"noise": 2.2}, NOT_ENOUGH, "each step clear on its own, but not once the search among 6", (1, 1)),
        (COARSE, {"photographs": 4}, NOT_ENOUGH, "one has 4.", (0, 1)),
        (REVERSED, {}, CONTRADICTED, "Urban100 > Manga109 > DIV2K > CelebA", (0, 0)),
        (REVERSED, {"noise": 20.0}, NOT_ENOUGH, "not each of them is clearly against it", (0, 0)),
        ({"celeba": [1, 2, 3], "mine": [3, 2, 1]}, {}, NOT_ENOUGH, "measuring DIV2K, Manga109 and Urban100", (0, 0)),
    ],
)
def test_the_answer_never_exceeds_the_numbers(scales, scatter, verdict, words, counts) -> None:
    claim = claims_of(rows(scales, **scatter))[ANSWER]
    assert claim.verdict == verdict
    assert words in claim.sentence
    assert (claim.numbers["clear"], claim.numbers["by_means"]) == counts


def test_the_answer_has_the_window_and_the_effect_behind_it() -> None:
    claim = claims_of(rows(COARSE))[ANSWER]
    [one] = claim.numbers["found"]
    assert (one["k0"], one["K"], one["clear"]) == (2, 3, True)
    assert one["differences"]["celeba - urban100"]["mean"] == pytest.approx(6)
    assert claim.effect is not None
    assert claim.effect.mean == pytest.approx(2000)


def test_the_allowance_for_one_window_is_that_of_three_correlated_steps() -> None:
    """One window has three steps between four independent means: the 95 % point of the largest is a known number."""
    one_scale = {name: means[:1] for name, means in COARSE.items()}
    found = spectra(rows(one_scale, noise=1.0, photographs=200))
    steps = np.diff(np.random.default_rng(0).normal(size=(4, 200_000)), axis=0) / 2**0.5
    assert search_factor(matches(found)) == pytest.approx(np.quantile(steps.max(axis=0), 0.95), abs=0.06)
    more = spectra(rows(COARSE, noise=1.0, photographs=200))
    assert search_factor(matches(more)) > search_factor(matches(found)) + 0.2


def test_equal_contrast_is_told_as_equal_and_not_as_an_order() -> None:
    """Normalised patches have C = 1/2 over all scales, up to rounding; no interval may call that an order."""
    frame = rows({name: [0.1 + 0.01 * n, 0.2, 0.2 - 0.01 * n] for n, name in enumerate(PUBLISHED)}, noise=0.001)
    frame["c_2"] = 0.5 - frame["c_0"] - frame["c_1"] + np.random.default_rng(0).normal(0, 1e-15, len(frame))
    [found] = spectra(frame.assign(normalised=True))
    assert order_text(found, Window(0, 3)) == "CelebA = DIV2K = Manga109 = Urban100"
    assert {found.rank(name, Window(0, 3)) for name in PUBLISHED} == {1}
    match = found.matches[Window(0, 3)]
    assert (match.by_means, match.refuted) == (False, True)
    assert order_text(found, Window(2, 3)) == "CelebA > DIV2K > Manga109 > Urban100"


def test_unclear_steps_are_marked() -> None:
    frame = rows({"celeba": [5, 0, 0], "div2k": [5.01, 0, 0], "manga109": [1, 0, 0]}, noise=0.5)
    [found] = spectra(frame)
    assert order_text(found, Window(0, 3)) == "DIV2K ≈ CelebA > Manga109"


def test_flat_patches_are_left_out_and_told() -> None:
    frame = pd.concat([rows(COARSE), rows(COARSE, normalised=True)], ignore_index=True)
    flat = frame["normalised"] & (frame["category"] == "manga109") & (frame["patch"] < 2)
    frame.loc[flat, ["c_0", "c_1", "c_2", "half_variance"]] = np.nan
    plain, normalised = spectra(frame)
    assert (plain.samples["manga109"].images, plain.samples["manga109"].skipped) == (24, 0)
    assert (normalised.samples["manga109"].images, normalised.samples["manga109"].skipped) == (22, 2)
    assert normalised.samples["manga109"].units == 11
    assert "2 patches without contrast are left out" in claims_of(frame)[ANSWER].scope


def test_the_sum_over_all_scales_is_checked_against_the_variance() -> None:
    identity, wrong = "complexity_is_half_the_variance", rows(COARSE)
    assert claims_of(wrong)[identity].verdict == SUPPORTED
    wrong.loc[7, "half_variance"] *= 1.001
    assert claims_of(wrong)[identity].verdict == CONTRADICTED
    assert identity not in claims_of(rows({name: means[:2] for name, means in COARSE.items()}))  # not all scales


def test_what_is_shown_is_the_nearest_window_of_each_normalisation() -> None:
    frame = pd.concat([rows(REVERSED), rows(COARSE, normalised=True)], ignore_index=True)
    found = spectra(frame)
    shown = [(one.normalised, window) for one, window in worth_showing(found)]
    assert shown == [(False, Window(0, 3)), (True, Window(2, 3))]
    assert nearest(list(found[1].matches.values())).window == Window(2, 3)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = pd.concat([rows(COARSE), rows(COARSE, noise=8.0, normalised=True)], ignore_index=True)
    folder = tmp_path_factory.mktemp("complexity") / "runs" / "studies" / "complexity-smoke-abc"
    write_record(
        folder,
        "complexity",
        frame,
        MEASURE,
        title="How complex?",
        question="Which order? <b>&",
        command="python -m slackoff +experiment=complexity -m",
    )
    (folder / "patches" / "celeba").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(folder / "patches" / "celeba" / f"{number}.png")
    assert build(folder) == folder / "index.html"
    return folder


def test_the_report_is_whole_and_self_contained(study: Path) -> None:
    made = sorted(str(path.relative_to(study)) for path in study.rglob("*") if path.suffix not in (".parquet", ".json"))
    files = [path for path in made if "." in path and not path.startswith("patches")]
    figures = [f"figures/{name}.{kind}" for name in ("ranks", "scales", "totals") for kind in ("png", "svg")]
    assert files == [*figures, "index.html", "tables/complexity.tex", "tables/scales.csv", "tables/windows.csv"]
    html = (study / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.links == []
    assert "<i>C<sub>k</sub></i>, the contrast that is lost" in html
    assert len(page.sources) == 3 + 3
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not re.search(r"@import|<link|<script\s+src|<iframe|https?://", html)
    sections = ["answer", "totals", "meaning", "scales", "ranks", "table", "patches", "claims", "configuration"]
    assert page.ids == sections
    for text in (
        "Which order? <b>&",
        "C falls in the published order at k0 = 2 (RGB, as they are), clearly",
        "24 patches of 12 photographs in data/celeba",
        "9.0000",
        "python -m slackoff +experiment=complexity -m",
        "Some CPU",
    ):
        assert text in page.text


def test_the_tables_hold_the_numbers(study: Path) -> None:
    windows = pd.read_csv(study / "tables" / "windows.csv")
    assert len(windows) == 2 * 6 * 4
    last = windows[(windows["k0"] == 2) & ~windows["normalised"]]
    assert last["c"].tolist() == pytest.approx([9, 7, 5, 3])
    assert last["rank"].tolist() == [1, 2, 3, 4]
    assert ((last["c_low"] < last["c"]) & (last["c"] < last["c_high"])).all()
    assert set(last["published_order"]) == {"clear"}
    assert set(windows[(windows["k0"] == 2) & windows["normalised"]]["published_order"]) == {"by means"}
    assert set(windows[windows["k0"] == 0]["published_order"]) == {"no"}
    scales = pd.read_csv(study / "tables" / "scales.csv")
    assert scales["c_k"].tolist()[:3] == pytest.approx([1, 2, 9])
    latex = (study / "tables" / "complexity.tex").read_text(encoding="utf-8")
    assert latex.count(r"\\") == 1 + 2 * 3
    assert "CelebA $>$ DIV2K" in latex
    assert re.search(r"9\.0000 \(8\.9\d+ to 9\.0\d+\)", latex)
    verdicts = [claim["verdict"] for claim in json.loads((study / "claims.json").read_text(encoding="utf-8"))]
    assert verdicts == [SUPPORTED, SUPPORTED, NOT_ENOUGH, SUPPORTED]


def test_names_are_escaped_in_latex(tmp_path: Path) -> None:
    page = build(write_record(tmp_path, "complexity", rows({"my_set": [1, 2, 3], "other": [2, 3, 4]}), MEASURE))
    latex = (tmp_path / "tables" / "complexity.tex").read_text(encoding="utf-8")
    assert r"my\_set" in latex
    assert "my_set" not in latex
    assert pd.read_csv(tmp_path / "tables" / "windows.csv")["published_order"].isna().all()
    assert "my_set" in Page(page.read_text(encoding="utf-8")).text


def test_a_single_photograph_still_gives_a_report(tmp_path: Path) -> None:
    folder = write_record(tmp_path, "complexity", rows(COARSE, photographs=1), MEASURE)
    assert "one has 1." in Page(build(folder).read_text(encoding="utf-8")).text
