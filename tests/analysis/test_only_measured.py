"""A cell that was only measured stands under its own name in tables, and no curve over N takes it for a point."""

from pathlib import Path

from analysis_record import Cell, by_id, write_study

from slackoff.analysis import load
from slackoff.analysis.report import build
from slackoff.analysis.tables import readable, study_table


def test_published_weights_beside_trained_cells(runs: Path) -> None:
    made = [Cell({"patch_count": count}, e_r=60 - place * 5) for place, count in enumerate((8, 64, 256))]
    measured = Cell({"patch_count": "only measured"}, e_r=90, label={"patch_count": "only measured"})
    folder = write_study(runs, [*made, measured])
    frames = load(folder)
    assert readable(study_table(frames), "patch_count")["N"].tolist() == [
        "rainy input",
        "8",
        "64",
        "256",
        "only measured",
    ]
    assert by_id(frames)["e_r_falls"].sentence.startswith("From N = 8 to N = 256 E_R falls by 10.0")
    page = build(folder).read_text()
    assert "N = only" not in page
    assert "only measured" in page
