import re

import pytest
from weighting_problem import Small, images, say, started, three

from slackoff.errors import SlackoffError
from slackoff.losses import Fixed


def test_the_loss_is_the_weighted_sum_in_the_order_of_the_terms():
    found = say(Small().double(), three(), *images())
    chosen = {"absolutes": 5.0, "vgg": 9.0, "slopes": 0.0, "squares": 0.25}
    loss, weights = started(Fixed(chosen), three())(found)
    a, _, c = found.losses.tolist()
    assert weights.tolist() == [0.25, 0.0, 5.0]
    assert loss.item() == pytest.approx(0.25 * a + 5 * c, rel=1e-12)
    assert Fixed(chosen).state_dict() == {}


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"squares": 1, "slopes": 1}, "no weight for the term absolutes: give +task.weighting.weights.absolutes="),
        ({"squares": 0, "slopes": 0, "absolutes": 0}, "one of squares, slopes, absolutes must be above 0"),
        ({"squares": -1}, "task.weighting.weights.squares=-1 must be a finite weight of at least 0"),
        ({"squares": float("nan")}, "task.weighting.weights.squares=nan must be a finite weight of at least 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, sentence):
    with pytest.raises(SlackoffError, match=re.escape(sentence)):
        started(Fixed(weights), three())
