"""A cell that Ray runs, as the driver sees it; Ray itself is a stand-in here, but its package must be there."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from slackoff.sweep.backend import Slot
from slackoff.sweep.plan import plan

pytest.importorskip("ray", reason="Ray is not installed: .venv/bin/pip install -e '.[ray]'")
from slackoff.sweep import ray
from slackoff.sweep.ray import Order, Place


class FakeActor:
    """Its methods note that they were called; ``place`` is answered when the test says so."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.answers: dict[str, Future[object]] = {}

    def __getattr__(self, name: str) -> SimpleNamespace:
        def remote() -> SimpleNamespace:
            self.called.append(name)
            return SimpleNamespace(future=lambda: self.answers.setdefault(name, Future()))

        return SimpleNamespace(remote=remote)


def test_a_cell_in_the_queue_has_run_for_no_time_and_is_taken_out_rather_than_asked(composed, monkeypatch):
    killed = []
    monkeypatch.setattr(ray.ray, "kill", killed.append)
    (cell,) = plan([composed()], [[]])
    actor, order = FakeActor(), Order("token", cell.folder, cell.folder, {}, 1, 0)
    running = ray.RayCell(cell, Slot({}), order, actor, None)
    assert (running.seconds(), running.ended()) == (0.0, False)
    running.stop()
    assert killed == [actor]
    actor.answers["place"].set_result(Place("node", "host", "", None))
    assert running.seconds() > 0.0
    running.stop()
    running.kill()
    assert (len(killed), actor.called) == (1, ["place", "run", "stop", "kill"])
