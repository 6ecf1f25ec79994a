"""Rain layers: the training generator with its ranges (Table 1), and thin test rain that no training range makes.

Plain torch, any device; knows nothing of Lightning, Hydra or W&B.

    generator = torch.Generator().manual_seed(0)
    rain = render_streaks(TABLE_1["medium"], 4, 256, 256, generator)   # (4, 1, 256, 256), in [0, 1]
    rainy = add_rain(background, rain)                                 # background: (4, 3, 256, 256), in [0, 1]
"""

from slackoff.rain.ranges import TABLE_1, OwnRain, RainParameters, RainRange, ThinRain
from slackoff.rain.render import add_rain, render_layer, render_streaks

__all__ = [
    "TABLE_1",
    "OwnRain",
    "RainParameters",
    "RainRange",
    "ThinRain",
    "add_rain",
    "render_layer",
    "render_streaks",
]
