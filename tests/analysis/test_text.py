"""Numbers, measures and axes in words, entries of tables, and the mark of what is no result."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import (
    BESIDE,
    amount,
    at,
    axis_label,
    entry,
    flipped,
    listing,
    mark,
    number,
    percent,
    plain_label,
    short_name,
    signed,
)

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@pytest.mark.parametrize(
    ("interval", "measure", "first", "text"),
    [
        (Interval(12.34, 11.02, 13.51), "e_r", True, "12.3 grey levels (95 % interval 11.0 to 13.5)"),
        (Interval(0.081, 0.052, 0.113), "removal_share", False, "0.08 (0.05 to 0.11)"),
        (Interval(0.08, 0.052, 0.113), "removal_share", True, "0.08 (95 % interval 0.05 to 0.11)"),
        (Interval(-1.256, -2.0, -0.5), "psnr_rgb", False, f"{MINUS}1.26 ({MINUS}2.00 to {MINUS}0.50)"),
        (Interval(0.03, 0.002, 0.06), "removal_share", False, "0.030 (0.002 to 0.060)"),
        (Interval(0.0001, -0.002, 0.003), "removal_share", False, "0.00 (0.00 to 0.00)"),
        (Interval(3.0, float("nan"), float("nan")), "e_b", True, "3.0 (no interval)"),
    ],
)
def test_amounts(interval: Interval, measure: str, first: bool, text: str) -> None:
    assert amount(interval, measure, first) == text


def test_a_fall_is_the_opposite_of_a_change() -> None:
    change = Interval(-2.0, -3.0, -1.0, 20, 1, 19, 2)
    assert flipped(change) == Interval(2.0, 1.0, 3.0, 20, 1, 19, 2)
    assert signed(flipped(change), "e_r") == "+2.0, 1.0 to 3.0"


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert number(-1.5, 1) == f"{MINUS}1.5"
    assert number(-0.001, 2) == "0.00"
    assert number(float("nan"), 2) == DASH


def test_names() -> None:
    assert [plain_label(name) for name in ("e_r", "removal_share", "psnr_rgb")] == ["E_R", "removal share", "PSNR"]
    assert at("patch_count", 8) == "N = 8"
    assert at("noise_level", 8) == "noise level = 8"
    assert [short_name("patch_count", 8), short_name("rain", "small"), short_name("x", True)] == [
        "N = 8",
        "small",
        "True",
    ]
    assert axis_label("patch_count") == "number of training patches N"
    assert [listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1e-4, "<0.1 %"), (0.1234, "12.3 %"), (0.9999, ">99.9 %"), (1, "100.0 %"), (float("nan"), "")],
)
def test_a_share_that_is_not_nothing_does_not_read_so(share: float, text: str) -> None:
    assert percent(share) == text
    assert percent(0.996, 0) == ">99 %"


def test_an_entry_has_the_oracle_and_an_interval_where_there_is_one() -> None:
    assert entry(48.94, 47.0, 50.76, 1) == "48.9\n47.0 to 50.8"
    assert entry(-0.2, -0.31, 0.1, 2, BESIDE, oracle=0.96) == f"{MINUS}0.20 (0.96) [{MINUS}0.31, 0.10]"
    assert entry(3.0, float("nan"), float("nan"), 1) == entry(3.0, 3.0, 3.0, 1, BESIDE) == "3.0"
    assert entry(*[float("nan")] * 3, 1) == DASH


def test_the_mark_of_smoke_size_is_seen_across_a_figure() -> None:
    figure = Figure(figsize=(7, 4.8))
    figure.subplots()

    def pixels() -> np.ndarray:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., 0].astype(int)

    before = pixels()
    mark(figure)
    changed = np.argwhere(before != pixels())
    assert np.ptp(changed[:, 1]) > before.shape[1] / 2
