"""One layer of rain, whichever generator draws it."""

from torch import Generator, Tensor

from slackoff.rain.ranges import RainRange
from slackoff.rain.streaks import render_streaks
from slackoff.rain.thin import ThinRain


def render_layer(rain: RainRange | ThinRain, height: int, width: int, generator: Generator) -> Tensor:
    """Draw one layer.

    Args:
        rain: a training range or thin rain.
        height, width: size in px.
        generator: a CPU generator; the same state gives the same rain.

    Returns:
        R, float32, (1, 1, height, width), in [0, 1] in steps of 1/255.
    """
    if isinstance(rain, ThinRain):
        return rain.render(height, width, generator)
    return render_streaks(rain, 1, height, width, generator)
