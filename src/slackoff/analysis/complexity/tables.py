"""The numbers of a complexity study as tables: for files, the page, LaTeX and the terminal."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slackoff.analysis.complexity.claims import order_text
from slackoff.analysis.complexity.figures import DECIMALS
from slackoff.analysis.complexity.orders import Spectra, Window
from slackoff.analysis.complexity.record import ComplexityStudy, label
from slackoff.analysis.statistics import Interval
from slackoff.analysis.text import number, warn

_WIDE = 100
"""Columns of terminal from which the orders fit beside the numbers."""


def windows_table(found: list[Spectra]) -> pd.DataFrame:
    """One row per variant, window and category: C with its interval, its rank, and how the published order stands.

    ``published_order`` is 'clear', 'by means' or 'no' for the window as a whole; empty where not all its categories
    were measured.
    """
    rows = []
    for one in found:
        for window in one.windows:
            match = one.match(window)
            verdict = "clear" if match and match.clear else "by means" if match and match.by_means else "no"
            for name, sample in one.samples.items():
                key = {"colour": one.variant.colour, "normalised": one.variant.normalised, "k0": window.k0}
                row = key | {"K": window.depth, "category": name, **_numbers("c", one.level(name, window))}
                row |= {"rank": one.rank(name, window), "published_order": verdict if match else ""}
                rows.append(row | {"patches": sample.patches, "photographs": sample.photographs})
    return pd.DataFrame(rows)


def scales_table(found: list[Spectra]) -> pd.DataFrame:
    """C_k with its interval, one row per variant, category and scale."""
    rows = []
    for one in found:
        for name in one.samples:
            for k in range(one.scales):
                key = {"colour": one.variant.colour, "normalised": one.variant.normalised, "category": name, "k": k}
                rows.append(key | _numbers("c_k", one.level(name, Window(k, k + 1))))
    return pd.DataFrame(rows)


def readable(found: list[Spectra]) -> pd.DataFrame:
    """The windows to the full depth as text: a row per variant and k0, a column a category, and the order."""
    rows = []
    for one in found:
        for window in one.full_windows:
            row = {"Patches": one.variant.name, "k0": str(window.k0)}
            row |= {label(name): interval_text(one.level(name, window)) for name in one.samples}
            rows.append(row | {"Order": order_text(one, window)})
    return pd.DataFrame(rows)


def interval_text(level: Interval) -> str:
    """'0.0937 [0.0881, 0.0993]'; without the bracket where there is no interval or it has no width."""
    text = number(level.mean, DECIMALS)
    if pd.isna(level.low) or level.low == level.high:
        return text
    return f"{text} [{number(level.low, DECIMALS)}, {number(level.high, DECIMALS)}]"


def to_latex(found: list[Spectra], study: ComplexityStudy) -> str:
    """The readable table for a paper that loads booktabs; all text is escaped."""
    style = readable(found).style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    latex = style.to_latex(
        hrules=True,
        column_format="ll" + "r" * len(study.categories) + "l",
        caption="Multi-scale structural complexity: mean over patches, 95 \\% bootstrap interval over photographs.",
        label=f"tab:{study.name}",
        position_float="centering",
    )
    return str(latex).replace("\N{ALMOST EQUAL TO}", r"$\approx$").replace(" > ", " $>$ ")


def print_table(found: list[Spectra], study: ComplexityStudy, console: Console) -> None:
    """Prints, for each variant and k0, mean C of each category and, in a wide terminal, the order."""
    warn(study.size, console)
    wide = console.width >= _WIDE
    shown = Table(
        title=escape(study.title or study.name),
        caption="mean C over patches, scales k0 to the full depth"
        + ("; \N{ALMOST EQUAL TO}: within the 95 % interval" if wide else ""),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("patches", "k0", *map(label, study.categories), *(["order"] if wide else [])):
        shown.add_column(escape(heading), justify="left" if heading in ("patches", "order") else "right")
    for one in found:
        for window in one.full_windows:
            means = [number(one.level(name, window).mean, DECIMALS) for name in one.samples]
            order = [escape(order_text(one, window))] if wide else []
            shown.add_row(one.variant.name, str(window.k0), *means, *order)
        shown.add_section()
    console.print(shown)


def _numbers(name: str, level: Interval) -> dict[str, float]:
    return {name: level.mean, f"{name}_low": level.low, f"{name}_high": level.high}
