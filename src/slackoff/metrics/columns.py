"""What every per-image figure is called, measured in and good for. Tables and reports read it; no torch."""

import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slackoff.errors import SlackoffError, printable

THRESHOLDS: tuple[float, ...] = (0, 10, 20, 50)
"""Grey levels above which a pixel counts as rain; the paper states none, so several are reported."""

HEADLINE_THRESHOLD: float = 10
"""The threshold behind the short names `e_r`, `e_b`, the residual and the removal share."""

PSNR_CAP_DB: float = 100.0
"""Identical images have an infinite PSNR; an average over images counts them as this many dB."""


Channel = Literal["rgb", "y"]
Better = Literal["higher", "lower"]

HEADLINE_FIDELITY: dict[Channel, tuple[str, str]] = {"rgb": ("psnr_rgb", "ssim_rgb"), "y": ("psnr_y", "ssim_y")}
"""The PSNR and SSIM of a table: one channel, never both."""


class Column(NamedTuple):
    """One per-image figure.

    `label` and `unit` are for axes and table heads (`unit` is empty for a plain number), `better` says which
    direction is good (None where neither is: references that no network can change), `explanation` is one
    line, and `cap` is the value at which single images are clipped before an average is taken (None: not
    clipped).
    """

    label: str
    unit: str
    better: Better | None
    explanation: str
    cap: float | None = None


_GREY = "grey levels"

_MASKED = {
    "e_r": Column(
        "E_R",
        _GREY,
        "higher",
        "RMS change of the input inside the rain; also rises when the picture is spoilt.",
    ),
    "e_b": Column("E_B", _GREY, "lower", "RMS error against the background on the rain-free pixels."),
    "e_r_oracle": Column("E_R oracle", _GREY, None, "E_R of the perfect output, the background itself."),
}

_HEADLINE_ONLY = {
    "residual_rms": Column("Residual RMS", _GREY, "lower", "RMS error against the background inside the rain."),
    "removal_share": Column(
        "Removal share",
        "",
        "higher",
        "Share of the rain layer taken out, a shift of the whole picture discounted.",
    ),
    "removal_share_oracle": Column("Removal share oracle", "", None, "Removal share of the background itself."),
    "leftover_rms": Column(
        "Leftover RMS",
        _GREY,
        "lower",
        "RMS change inside the rain that is neither rain taken out nor an overall shift.",
    ),
}

_FIDELITY = {
    "psnr_rgb": Column("PSNR (RGB)", "dB", "higher", "PSNR over the three channels, no border cropped.", PSNR_CAP_DB),
    "ssim_rgb": Column("SSIM (RGB)", "", "higher", "SSIM, mean of the three channels; the protocol names the window."),
    "psnr_y": Column("PSNR (Y)", "dB", "higher", "PSNR on BT.601 luma; not comparable with RGB.", PSNR_CAP_DB),
    "ssim_y": Column("SSIM (Y)", "", "higher", "SSIM on BT.601 luma; not comparable with RGB."),
    "psnr_rgb_input": Column("PSNR of input (RGB)", "dB", None, "PSNR of the untouched rainy image.", PSNR_CAP_DB),
    "ssim_rgb_input": Column("SSIM of input (RGB)", "", None, "SSIM of the untouched rainy image."),
}

_INPUT_ON_Y = {
    "psnr_y_input": Column("PSNR of input (Y)", "dB", None, "PSNR on luma of the untouched rainy image.", PSNR_CAP_DB),
    "ssim_y_input": Column("SSIM of input (Y)", "", None, "SSIM on luma of the untouched rainy image."),
}


def measure_columns(
    thresholds: Sequence[float] = THRESHOLDS, headline: float = HEADLINE_THRESHOLD, channel: Channel = "rgb"
) -> dict[str, Column]:
    """All per-image figures of a protocol, in the order of the record: name -> `Column`.

    `thresholds` are in grey levels and give the names `e_r_t10`, `e_b_t10`, `e_r_oracle_t10`, ...; the short
    names are those of `headline`. Where the headline `channel` is "y", the untouched image is measured on luma, too.
    """
    columns = {
        f"{name}_t{threshold:g}": _at(column, threshold)._replace(label=f"{column.label} (R > {threshold:g})")
        for name, column in _MASKED.items()
        for threshold in thresholds
    }
    columns |= {name: _at(column, headline) for name, column in (_MASKED | _HEADLINE_ONLY).items()}
    return columns | _FIDELITY | (_INPUT_ON_Y if channel == "y" else {})


def headline_channel(columns: Collection[str]) -> Channel:
    """The headline channel of a record, by the columns that it has."""
    return "y" if _INPUT_ON_Y.keys() <= set(columns) else "rgb"


def _at(column: Column, threshold: float) -> Column:
    return column._replace(explanation=f"{column.explanation} Rain: R > {threshold:g} of 255.")


COLUMNS: dict[str, Column] = measure_columns()
"""The figures of the default protocol."""


OWN: dict[str, Column] = {}
"""The figures of a person's own of which a record that was read holds results; they stand in `COLUMNS`, too."""

INPUT = "_input"
"""How the column ends that has a figure of the untouched rainy image."""

_OWN_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TAKEN = ("cell", "test_set", "image", "height", "width", "digest", "source", "photograph", "output", "state", "seed")
_ENDS = (INPUT, "_low", "_high", "_oracle", "_pooled", "_gap")


def check_own_name(name: str, known: Collection[str], key: str) -> None:
    """Refuse a name that the column of an own figure cannot have: raises a `SlackoffError` that names `key`."""
    if not _OWN_NAME.fullmatch(name) or name.endswith(_ENDS) or re.search(r"_t\d", name):
        raise SlackoffError(f"{key} is no name for a column: take small letters, digits and _, such as edge_error")
    if name in {*known, *_TAKEN, *measure_columns(channel="y")}:
        raise SlackoffError(f"{key} is the name of another column: choose another one")


def add_own(described: Any) -> None:
    """Let tables and figures know the own figures that a record describes, as `evaluator` wrote them.

    A record may come from anybody: what describes no figure, or one of ours, is left out.
    """
    for name, about in described.items() if isinstance(described, dict) else ():
        try:
            label, unit, better, explanation = (str(about[key])[:200] for key in Column._fields[:4])
            check_own_name(name, (), name)
        except (SlackoffError, KeyError, TypeError):
            continue
        direction: Better | None = "higher" if better == "higher" else "lower" if better == "lower" else None
        COLUMNS[name] = OWN[name] = Column(printable(label), printable(unit), direction, printable(explanation))


def for_averaging(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Per-image values of column `name` as float64, ready for a mean: clipped to the column's cap, NaN kept.

    Without it, one perfect image makes the mean PSNR of a test set infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    column = (_FIDELITY | _INPUT_ON_Y).get(name)
    cap = column.cap if column else None
    return array if cap is None else np.minimum(array, cap)
