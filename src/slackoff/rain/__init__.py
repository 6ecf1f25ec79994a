"""Rain layers: the training generator with its ranges (Table 1), and thin test rain that no training range makes.

Plain torch, any device; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.rain.compose import add_rain
from slackoff.rain.layer import render_layer
from slackoff.rain.ranges import RainParameters, RainRange
from slackoff.rain.streaks import render_streaks
from slackoff.rain.thin import ThinRain

__all__ = ["RainParameters", "RainRange", "ThinRain", "add_rain", "render_layer", "render_streaks"]
