"""The study table as text."""

import re

import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames
from rich.console import Console

from slackoff.analysis.tables import print_table, readable, study_table, to_latex

DASH = "\N{EN DASH}"


def printed(frames: object, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    print_table(frames, console)  # type: ignore[arg-type]
    return console.export_text()


def test_entries_show_mean_oracle_and_interval(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    table = study_table(frames_of(effect_cells))
    text = readable(table, "patch_count")
    assert list(text.columns) == ["N", "E_R (oracle)", "Removal share (oracle)", "E_B", "PSNR", "SSIM"]
    row = table.iloc[1]
    assert text["N"][1] == "8"
    assert text["E_R (oracle)"][1] == f"48.0 (40.0) [{row['e_r_low']:.1f}, {row['e_r_high']:.1f}]"
    assert text["SSIM"][1] == f"0.900 [{row['ssim_rgb_low']:.3f}, {row['ssim_rgb_high']:.3f}]"
    assert text.iloc[0].tolist()[:4] == ["rainy input", "0.0 (40.0)", "0.00 (0.96)", DASH]


def test_states_stand_in_for_numbers(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": 8}, state="failed"), *(Cell({"patch_count": 64, "seed": s}) for s in (0, 1))]
    cells[2].state = "pending"
    text = readable(study_table(frames_of(cells)), "patch_count")
    assert text.iloc[1].tolist() == ["8", "failed", DASH, DASH, DASH, DASH]
    assert text["N"][2] == "64 (1 of 2)"


@pytest.mark.parametrize("width", [80, 90, 140])
def test_terminal_table_fits_and_holds_every_row(frames_of: MakeFrames, effect_cells: list[Cell], width: int) -> None:
    output = printed(frames_of([*effect_cells, Cell({"patch_count": 16}, state="failed")]), width)
    assert max(map(len, output.splitlines())) <= width
    for text in ("rainy input", "48.0 (40.0)", "36.0 (40.0)", "failed", "0.850", "Patch count", "E_R (oracle)"):
        assert text in output
    interval = r"\[45\.\d, 50\.\d\]" if width == 140 else rf"45\.\d{DASH}50\.\d"
    assert re.search(interval, output)
    assert "\N{HORIZONTAL ELLIPSIS}" not in output


def test_terminal_table_prints_markup_as_it_is(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": count, "rain": "[red]x[/red]"}) for count in (8, 16)]
    cells.append(Cell({"patch_count": 8, "rain": "[0, 1]"}))
    output = printed(frames_of(cells), 160)
    assert "[red]x[/red]" in output
    assert "[0, 1]" in output


def test_latex_is_a_booktabs_table_with_everything_escaped(frames_of: MakeFrames, effect_cells: list[Cell]) -> None:
    for cell in effect_cells:
        cell.axes["rain"] = "50 % _big_ & {x} #1 $5 ~^\\"
    cells = [*effect_cells, Cell({"patch_count": 8, "rain": "plain"}, share=-0.2)]
    latex = to_latex(study_table(frames_of(cells)), "patch_count", "100 % of it & more_", "tab:x")
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:x}", r"\caption{100 \% of it \& more\_}"):
        assert command in latex
    assert r"50 \% \_big\_ \& \{x\} \#1 \$5 \textasciitilde{}\textasciicircum{}\textbackslash{}" in latex
    assert r"$E_R$ (oracle) & Removal share (oracle) & $E_B$ & PSNR & SSIM \\" in latex
    assert "$-$0.20 (0.96)" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 6
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 6
    assert latex.isascii()
    bare = latex.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


def test_readable_keeps_the_rows_in_order(frames_of: MakeFrames) -> None:
    cells = [Cell({"patch_count": count, "rain": rain}) for rain in ("small", "large") for count in (64, 8)]
    text = readable(study_table(frames_of(cells)), "patch_count")
    expected = pd.DataFrame(
        {"N": ["rainy input", "8", "64", "8", "64"], "rain": ["", "small", "small", "large", "large"]}
    )
    assert text[["N", "rain"]].to_numpy().tolist() == expected.to_numpy().tolist()
