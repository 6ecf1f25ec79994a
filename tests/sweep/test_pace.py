"""Time left: of a cell by its own steps, of a sweep by its operations; what is shown when there is little room."""

import pytest
from rich.console import Console

from slackoff.record.status import State, Status
from slackoff.sweep.display import status_table
from slackoff.sweep.pace import Pace


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def status(name: str, step: int, state: State = "running", steps: int = 100) -> Status:
    return Status(name, {"patch_count": 8, "seed": name}, steps, state, step=step)


def test_a_cell_is_judged_by_its_own_steps_since_it_was_first_seen():
    clock = Clock()
    pace = Pace(clock=clock)
    pace.see([status("slow", 20), status("fast", 0)])
    clock.now = 10.0
    pace.see([status("slow", 30), status("fast", 50)])
    assert pace.left(status("slow", 30)) == pytest.approx(70.0)
    assert pace.left(status("fast", 50)) == pytest.approx(10.0)
    assert pace.left(status("new", 5)) is None


def test_steps_of_different_networks_count_by_their_operations():
    clock = Clock()
    pace = Pace({"small": 1.0, "large": 10.0}, clock)
    before = [status("small", 0), status("large", 0, "pending")]
    pace.see(before)
    clock.now = 10.0
    after = [status("small", 100, "done"), status("large", 0, "pending")]
    pace.see(after)
    assert pace.all_left(after) == pytest.approx(100.0)  # 1,000 units at 10 a second


def test_failed_cells_are_not_waited_for():
    clock = Clock()
    pace = Pace(clock=clock)
    pace.see([status("a", 0), status("b", 40, "failed")])
    clock.now = 10.0
    found = [status("a", 50), status("b", 40, "failed")]
    pace.see(found)
    assert pace.all_left(found) == pytest.approx(10.0)


def test_a_table_without_room_shows_running_and_failed_cells_in_their_order():
    states: list[State] = ["done"] * 5 + ["failed"] + ["pending"] * 5 + ["running"]
    statuses = [status(f"cell{number:02}", 0, state) for number, state in enumerate(states)]
    console = Console(record=True, width=120)
    console.print(*status_table(statuses, most_rows=3), sep="\n")
    lines = console.export_text().splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["cell05", "cell06", "cell11"]
    assert lines[4].startswith("... and 9 more")


def test_a_long_note_leaves_the_rest_of_its_line_whole():
    failed = status("cell00000001", 50, "failed")
    failed.last_error = "no space is left " * 20
    console = Console(record=True, width=80)
    console.print(*status_table([failed, status("cell00000002", 0, "pending")]), sep="\n")
    line = console.export_text().splitlines()[1]
    assert line.split()[:3] == ["cell00000001", "8", "cell00000001"]
    assert "failed" in line
    assert "50/100" in line
