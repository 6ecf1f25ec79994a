"""Rain layers: the training generator with its ranges (Table 1), and thin test rain that no training range makes.

Plain torch, any device; knows nothing of Lightning, Hydra or W&B.
"""

from slackoff.rain.ranges import OwnRain, RainParameters, RainRange, ThinRain
from slackoff.rain.render import add_rain, render_layer, render_streaks

__all__ = ["OwnRain", "RainParameters", "RainRange", "ThinRain", "add_rain", "render_layer", "render_streaks"]
