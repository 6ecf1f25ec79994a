import numpy as np
import torch

from slackoff.rain import add_rain


def test_rain_is_added_to_each_channel_and_clipped():
    random = np.random.default_rng(0)
    background = random.random((2, 3, 5, 7), dtype=np.float32)
    rain = random.random((2, 1, 5, 7), dtype=np.float32)
    rainy = add_rain(torch.from_numpy(background), torch.from_numpy(rain))
    expected = np.clip(background + np.repeat(rain, 3, axis=1), 0, 1)
    np.testing.assert_array_equal(rainy.numpy(), expected)
    assert (expected == 1).any()
    assert rainy.dtype == torch.float32
