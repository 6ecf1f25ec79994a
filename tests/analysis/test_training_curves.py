"""Terms, weights, teacher and student against the step: what is drawn against what was written."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analysis_record import Cell, MakeFrames

from slackoff.analysis import Frames
from slackoff.analysis.training_curves import switch_step, taught_cells, teacher_curves, term_curves, term_steps
from slackoff.errors import SlackoffError

PLAIN, OTHER = Cell({"variant": "plain"}), Cell({"variant": "other"})


@pytest.fixture
def multitask(frames_of: MakeFrames) -> Frames:
    """Two cells of two terms, of which one has logged gradient norms."""
    frames = frames_of([PLAIN, OTHER], "variant")
    steps = pd.DataFrame({"cell": [PLAIN.id] * 3 + [OTHER.id] * 3, "step": [10, 20, 30] * 2})
    logged = {
        "train/loss/pixel": [4.0, 3.0, 2.0, 4.0, 2.0, 1.0],
        "train/loss/edge": [8.0, 6.0, 2.0, 9.0, 8.0, 7.0],
        "train/weight/pixel": [1.0, 1.0, 1.0, 0.5, 0.8, -0.1],
        "train/weight/edge": [0.5, 0.5, 0.5, 0.5, 0.2, 0.9],
        "train/gradient_norm/pixel": [np.nan] * 3 + [3.0, 2.0, 1.0],
        "train/gradient_norm/edge": [np.nan] * 3 + [5.0, 6.0, 7.0],
    }
    return replace(frames, steps=steps.assign(**logged))


@pytest.fixture
def taught(frames_of: MakeFrames) -> Frames:
    """One cell with a teacher from step 30 on, and one without."""
    frames = frames_of([PLAIN, OTHER], "variant")
    steps = pd.DataFrame({"cell": [PLAIN.id] * 4 + [OTHER.id] * 4, "step": [10, 20, 30, 40] * 2})
    logged = {
        "train/labelled": [0.4, 0.3, 0.2, 0.1] * 2,
        "train/unlabelled": [np.nan] * 6 + [0.5, 0.4],
        "train/total_variation": [np.nan] * 6 + [0.02, 0.01],
        "test/psnr_rgb": [np.nan, 20.0, np.nan, 22.0] * 2,
        "teacher/psnr_rgb": [np.nan] * 7 + [23.0],
    }
    return replace(frames, steps=steps.assign(**logged))


def test_shares_are_weight_times_loss_over_their_sum(multitask: Frames) -> None:
    table = term_steps(multitask).set_index(["cell", "step", "term"])["share"]
    assert table[PLAIN.id, 10, "pixel"] == pytest.approx(4 / (4 + 4))
    assert table[OTHER.id, 20, "edge"] == pytest.approx(1.6 / (1.6 + 1.6))
    assert np.isnan(table[OTHER.id, 30, "pixel"])  # a negative product has no share


def test_terms_are_drawn_cell_by_cell(multitask: Frames) -> None:
    figure = term_curves(multitask)
    losses, weights, norms, _ = figure.axes[4:]
    assert figure.axes[0].get_ylabel() == "plain"
    assert losses.get_ylabel() == "other"
    drawn = {line.get_gid(): list(line.get_ydata()) for line in losses.get_lines()}  # type: ignore[arg-type]
    assert drawn == {"pixel": [4.0, 2.0, 1.0], "edge": [9.0, 8.0, 7.0]}
    assert [list(line.get_ydata()) for line in weights.get_lines()] == [[0.5, 0.8, -0.1], [0.5, 0.2, 0.9]]  # type: ignore[arg-type]
    assert [list(line.get_ydata()) for line in norms.get_lines()] == [[3.0, 2.0, 1.0], [5.0, 6.0, 7.0]]  # type: ignore[arg-type]
    assert [text.get_text() for text in figure.axes[2].texts] == ["not logged"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pixel", "edge"]


def test_teacher_and_student_are_drawn_where_they_were_measured(taught: Frames) -> None:
    assert taught_cells(taught) == [OTHER.id]
    assert switch_step(taught, OTHER.id) == 30
    psnr, losses = teacher_curves(taught).axes
    drawn = {line.get_gid(): (list(line.get_xdata()), list(line.get_ydata())) for line in psnr.get_lines()}  # type: ignore[arg-type]
    assert drawn == {"student": ([20, 40], [20.0, 22.0]), "teacher": ([40], [23.0])}
    assert {line.get_gid(): len(line.get_xdata()) for line in losses.get_lines()} == {  # type: ignore[arg-type]
        "labelled": 4,
        "unlabelled": 2,
        "total variation": 2,
    }
    assert psnr.patches[0].get_width() == 30  # type: ignore[attr-defined]
    assert {text.get_text() for text in psnr.texts} == {"student", "teacher"}


def test_studies_of_another_kind_are_refused(frames_of: MakeFrames, multitask: Frames, taught: Frames) -> None:
    plain = frames_of([PLAIN], "variant")
    with pytest.raises(SlackoffError, match="no cell of several loss terms"):
        term_curves(plain)
    with pytest.raises(SlackoffError, match="no cell with a teacher"):
        teacher_curves(plain)
    with pytest.raises(SlackoffError, match="None of the cells nothing"):
        term_curves(multitask, ["nothing"])
    with pytest.raises(SlackoffError, match=f"None of the cells nothing has a teacher: choose of {OTHER.id}"):
        teacher_curves(taught, ["nothing"])
