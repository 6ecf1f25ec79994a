"""What a study in W&B is read as, from runs without a server; tests/wandb_view reads back what was published."""

from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from slackoff.analysis import Frames, load
from slackoff.errors import SlackoffError
from slackoff.record.status import Status


class FakeApi:
    """Runs without a server."""

    def __init__(self, *runs: Any) -> None:
        self.given = runs

    def runs(self, path: str, *, filters: dict[str, Any], lazy: bool) -> list[Any]:
        return list(self.given)


Load = Callable[..., Frames]


@pytest.fixture
def load_from(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a study from an Api that is no server."""

    def load_with(api: Any, where: str = "me/rain/study") -> Frames:
        monkeypatch.setattr(wandb, "Api", lambda: api)
        return load(f"wandb:{where}")

    return load_with


def fake_run(state: str = "finished", history: Any = (), summary: Any = None, **told: Any) -> Any:
    status = asdict(Status("abc", {}, 9)) | told.pop("status", {})
    config = {"slackoff": {"id": "abc", "axis": "patch_count", "axes": {"patch_count": 8}, "status": status, **told}}
    found = {"id": "cell-abc", "state": state, "config": config, "summary_metrics": summary or {}}
    return SimpleNamespace(**found, scan_history=lambda: history, file=None)


def test_a_run_that_logged_no_table_has_no_images(load_from: Load) -> None:
    frames = load_from(FakeApi(fake_run()))
    assert (frames.cells["state"][0], len(frames.images), len(frames.steps)) == ("done", 0, 0)
    assert str(frames.images["patch_count"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("seen", "stated", "state", "step"),
    [
        ("finished", "running", "done", 9),
        ("running", "running", "running", 3),
        ("crashed", "running", "interrupted", 3),
        ("failed", "interrupted", "interrupted", 3),
        ("failed", "running", "failed", 3),
    ],
)
def test_the_state_is_the_one_that_wandb_saw(load_from: Load, seen: str, stated: str, state: str, step: int) -> None:
    frames = load_from(FakeApi(fake_run(seen, status={"state": stated, "step": 3, "steps_total": 9})))
    assert frames.cells.loc[0, ["state", "step", "wandb_id"]].tolist() == [state, step, "cell-abc"]


def test_events_of_a_history_are_merged_and_what_is_no_number_is_left_out(load_from: Load) -> None:
    """Training and evaluation of a step are two events, the last one of a resumed step counts, NaN is a text."""
    rows = [
        {"trainer/global_step": 5, "train/loss": 7.0, "_runtime": 1.0, "_step": 0},
        {"trainer/global_step": 5, "train/loss": "NaN", "epoch": 0, "_runtime": 2.0, "_step": 1},
        {"trainer/global_step": 5, "test/psnr_rgb": "Infinity", "video": {"_type": "x"}, "_runtime": 3.0, "_step": 2},
        {"trainer/global_step": 5, "images": {"_type": "table-file"}, "_runtime": 4.0, "_step": 3},
        {"trainer/global_step": 9, "train/loss": 2, "elapsed_s": 0.5, "_runtime": 5.0, "_step": 4},
        {"images": {"_type": "table-file"}, "_step": 5},
    ]
    steps = load_from(FakeApi(fake_run(history=rows))).steps
    assert list(steps.columns) == ["cell", "step", "elapsed_s", "train/loss", "test/psnr_rgb"]
    assert (list(steps["step"]), list(steps["elapsed_s"])) == ([5, 9], [3.0, 0.5])
    assert list(steps["train/loss"]) == [7.0, 2.0]
    assert steps["test/psnr_rgb"][0] == float("inf")


def test_a_damaged_run_is_unreadable_and_a_newer_one_is_refused(load_from: Load) -> None:
    frames = load_from(FakeApi(fake_run(status={"attempts": "x"})))
    assert list(frames.cells["state"]) == ["unreadable"]
    assert "The run cell-abc in W&B cannot be read" in frames.cells["last_error"][0]
    with pytest.raises(SlackoffError, match="The run cell-abc in W&B is of record version 9"):
        load_from(FakeApi(fake_run(status={"record_version": 9})))


class LostApi(FakeApi):
    """A server that is not there."""

    def runs(self, path: str, *, filters: dict[str, Any], lazy: bool) -> list[Any]:
        raise ConnectionError("nobody answers\nat that address")


@pytest.mark.parametrize(
    ("where", "api", "words"),
    [
        ("study", FakeApi(), "write wandb:ENTITY/PROJECT/STUDY"),
        ("a/b/c/d", FakeApi(), "write wandb:ENTITY/PROJECT/STUDY"),
        ("me/rain/study", FakeApi(), "The project me/rain in W&B has no cell of a study 'study'.*wandb sync"),
        ("me/rain/study", FakeApi(SimpleNamespace(config={"seed": 0})), "has no cell of a study 'study'"),
        ("me/rain/study", FakeApi(fake_run(axes=None)), "damaged under 'slackoff'"),
        ("me/rain/study", LostApi(), r"wandb:me/rain/study cannot be read \(nobody answers\): .*wandb login"),
    ],
)
def test_what_cannot_be_read_from_wandb_is_said_in_a_sentence(
    load_from: Load, where: str, api: Any, words: str
) -> None:
    with pytest.raises(SlackoffError, match=words):
        load_from(api, where)
