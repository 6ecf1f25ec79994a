import pytest

from slackoff.errors import SlackoffError
from slackoff.tasks.semi_supervised import Length


@pytest.mark.parametrize(
    ("text", "steps"),
    [("40%", 400), ("0.1%", 1), ("2000steps", 2000), ("1 step", 1), ("10epochs", 75), ("0.5 epochs", 4), ("0%", 0)],
)
def test_lengths_in_steps_of_a_run_of_1000_with_7_and_a_half_steps_an_epoch(text, steps):
    assert Length.parse(text, "task.supervised").steps(1000, 7.5) == steps


@pytest.mark.parametrize("text", ["40", "half", "-3 steps", "ten epochs", "", "5%%"])
def test_anything_else_is_refused(text):
    with pytest.raises(SlackoffError, match=r"task.supervised=.* write it as 2000steps, 10epochs or 50%"):
        Length.parse(text, "task.supervised")
