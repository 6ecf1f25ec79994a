"""Names of people's making in figures, reports and tables: whatever letters they have, nothing is lost or misread."""

from pathlib import Path

import pytest
from analysis_record import Cell, EditImages, write_study
from matplotlib.text import Text

from slackoff.analysis import load, report
from slackoff.analysis.axes import new_figure, save
from slackoff.analysis.compare import image_pairs, image_scatter, side_by_side
from slackoff.errors import SlackoffError

ODD = ["$x_{", "a_b^c", "_x", "\\frac", "[bold]", "巴黎", "东京", "A", "a", "#1 50%?", "<blink>", "x" * 60, "$E_R$ $"]


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


@pytest.mark.parametrize("axis", ["variant", "patch_count"])
def test_a_report_of_odd_names_has_every_figure_and_every_name(runs: Path, axis: str) -> None:
    """As names of variants, and of what tells the curves apart."""
    cells = [Cell({"patch_count": count, "variant": name}) for name in ODD for count in (8, 64)]
    study = write_study(runs, cells, axis=axis)
    page = report.build(study).read_text()
    frames = load(study)
    drawn = report.draw(report.Findings.of(frames))
    assert len({figure.png for figure in drawn}) == len(drawn) > 1
    for name in ("$x_{", "a_b^c", "[bold]", "巴黎", "#1 50%?", "&lt;blink&gt;"):
        assert name in page
    assert "<blink>" not in page


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
