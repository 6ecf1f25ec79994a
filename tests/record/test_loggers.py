"""The local record keeps every number once."""

import json
from pathlib import Path

import pandas as pd

from slackoff.record.files import read_lines
from slackoff.record.results import RecordLogger


def test_a_resume_drops_the_steps_that_are_trained_again_and_goes_on_counting_time(tmp_path: Path):
    lines = [{"step": step, "elapsed_s": step / 2, "train/loss": 1.0 / step} for step in (5, 10, 15)]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 20, "elap'
    (tmp_path / "steps.jsonl").write_text(text)
    logger = RecordLogger(tmp_path, resume_step=10)
    assert [row["step"] for row in read_lines(tmp_path / "steps.jsonl")] == [5, 10]
    assert 5.0 <= logger.elapsed() < 5.5
    logger.log_metrics({"train/loss": 0.25}, 15)
    row = read_lines(tmp_path / "steps.jsonl")[-1]
    assert (row["step"], row["train/loss"]) == (15, 0.25)
    assert row["elapsed_s"] >= 5.0


def test_closing_merges_the_events_of_a_step_into_one_row(tmp_path: Path):
    logger = RecordLogger(tmp_path)
    logger.log_metrics({"train/loss": 0.5}, 10)
    logger.log_metrics({"test/e_r": 40.0}, 10)
    logger.log_metrics({"train/loss": 0.25}, 20)
    logger.close()
    frame = pd.read_parquet(tmp_path / "steps.parquet")
    assert frame["step"].tolist() == [10, 20]
    assert frame["train/loss"].tolist() == [0.5, 0.25]
    assert frame["test/e_r"].tolist()[0] == 40.0


def test_a_cell_killed_after_its_last_measurement_records_it_once(tmp_path: Path):
    lines = [{"step": 5, "elapsed_s": 1.0, "train/loss": 0.5}, {"step": 10, "elapsed_s": 2.0, "final/e_r": 30.0}]
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    logger = RecordLogger(tmp_path, resume_step=10)
    logger.log_metrics({"final/e_r": 30.0}, step=10)
    rows = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(row["step"], "final/e_r" in row) for row in rows] == [(5, False), (10, True)]
