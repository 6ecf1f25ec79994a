"""Names of people's making in figures, reports and tables: whatever letters they have, nothing is lost or misread."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from analysis_record import Cell, EditImages, write_study
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from markupsafe import escape
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from slackoff.analysis import axes, figures, load, page, report
from slackoff.analysis.axes import letters_without_font, new_figure, save
from slackoff.analysis.compare import image_pairs, image_scatter, side_by_side
from slackoff.errors import SlackoffError

ODD = ["$x_{", "a_b^c", "_x", "\\frac", "[bold]", "巴黎", "东京", "A", "a", "#1 50%?", "<blink>", "x" * 60, "$E_R$ $"]
LACKING = "\u0378"
"""A letter that Unicode does not have: nor has any font."""


def test_a_dollar_in_a_name_is_a_dollar_and_our_symbols_are_formulas(tmp_path: Path) -> None:
    figure = new_figure(3, 3)
    ax = figure.add_subplot()
    ax.set_title("$E_R$: change, $x_{ of \\frac")
    ax.set_xlabel("cost $5 and $6_{")
    save(figure, tmp_path, "figure")
    title, label = ax.title, ax.xaxis.label
    assert isinstance(title, Text)
    assert title.get_parse_math()
    assert title.get_text() == r"$E_R$: change, \$x_{ of \frac"
    assert label.get_text() == "cost $5 and $6_{"
    svg = (tmp_path / "figure.svg").read_text()
    assert "<!-- cost $5 and $6_{ -->" in svg
    save(figure, tmp_path, "again")
    assert (tmp_path / "again.svg").read_text() == svg


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("axis", ["variant", "patch_count"])
def test_a_report_of_odd_names_has_every_figure_and_every_name(
    runs: Path, axis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As names of variants, and of what tells the curves apart; no letter is worth a warning."""
    trained: list[Figure] = []

    def training(*about: Any) -> Figure:  # alike for each of the many groups: one file each, but drawn is one
        trained.append(figures.training(*about) if axis == "variant" and not trained else new_figure(1, 1))
        return trained[-1]

    monkeypatch.setattr(report, "training", training)
    cells = [Cell({"patch_count": count, "variant": name}) for name in [*ODD, LACKING] for count in (8, 64)]
    found = report.Findings.of(load(write_study(runs, cells, axis=axis)))
    drawn = report.draw(found)
    assert len({figure.png for figure in drawn}) == len(drawn) > 1
    assert len(trained) == (2 if axis == "variant" else len(ODD) + 1)
    shown = page.render(found, drawn)
    for name in ("$x_{", "a_b^c", "[bold]", "巴黎", "#1 50%?", "&lt;blink&gt;"):
        assert name in shown
    assert "<blink>" not in shown
    assert shown.count(str(escape(letters_without_font("".join([*ODD, LACKING]))))) == 1
    if axis == "variant":
        named = [text.get_text() for text in trained[0].legends[0].get_texts()]
        assert " _x" in named
        assert r"\u0378" in named


@pytest.fixture
def font_of_one_letter(tmp_path: Path) -> Iterator[str]:
    """The letter, which no other font has; the font is installed as long as a test lasts."""
    letter, pen = "\u0379", TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((500, 700))
    pen.closePath()
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", "one"])
    made.setupCharacterMap({ord(letter): "one"})
    made.setupGlyf(dict.fromkeys([".notdef", "one"], pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys([".notdef", "one"], (600, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(tmp_path / "one.ttf")
    known = list(font_manager.fontManager.ttflist)
    axes._font_with.cache_clear()
    font_manager.fontManager.addfont(tmp_path / "one.ttf")
    yield letter
    font_manager.fontManager.ttflist = known
    axes._font_with.cache_clear()


@pytest.mark.filterwarnings("error")
def test_letters_are_drawn_in_whatever_font_has_them(font_of_one_letter: str, tmp_path: Path) -> None:
    """At the ticks as in titles, where the usual font is bold; a letter that no font has is its number."""
    figure = new_figure(3, 3)
    ax = figure.add_subplot()
    ax.set_title(f"a {font_of_one_letter} {LACKING} é\n\udcff")
    ax.set_xticks([0, 1], [font_of_one_letter, LACKING])
    save(figure, tmp_path, "figure")
    title, (tick, lacking) = ax.title, ax.get_xticklabels()
    assert isinstance(title, Text)
    assert title.get_text() == f"a {font_of_one_letter} \\u0378 é\n\\udcff"
    assert tick.get_text() == font_of_one_letter
    assert title.get_fontfamily() == tick.get_fontfamily() == ["DejaVu Sans", "One Letter"]
    assert lacking.get_text() == r"\u0378"
    assert letters_without_font(f"plain {font_of_one_letter}\n") == ""
    said = letters_without_font(f"{LACKING}{LACKING} \udcff")
    assert said.startswith(f"No font that matplotlib knows on this machine has {LACKING} and ")
    assert r"instead, such as \u0378." in said


def test_test_images_of_odd_names_are_compared(runs: Path, edit_images: EditImages) -> None:
    cells = [Cell({"patch_count": count}) for count in (8, 64)]
    study = write_study(runs, cells)
    names = [*ODD, *map(str, range(20 - len(ODD)))]
    for cell in cells:
        edit_images(cell, lambda rows: rows.assign(image=names, test_set="$ [x]"))
    frames = load(study)
    pairs = image_pairs(frames, cells[0].id, cells[1].id, "psnr_rgb")
    assert len(pairs) == 20
    save(image_scatter(pairs, ("$a", "_b$"), "psnr_rgb"), runs, "scatter")
    with pytest.raises(SlackoffError, match="cannot be read"):
        side_by_side(frames, [cells[0].id], ("$ [x]", "$x_{"))
