import cv2
import numpy as np
import pytest
import torch
from opencv_rain import Setting, as_parameters, as_settings, rain_layer

from slackoff.rain import RainRange, render_streaks
from slackoff.rain.render import streaks_from_noise


def grey(rain: torch.Tensor) -> np.ndarray:
    """(N, 1, H, W) in [0, 1] to (N, H, W) in grey levels."""
    return (rain[:, 0] * 255).numpy()


def noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) * 256


def one_seed(row: int, column: int, size: int = 128) -> torch.Tensor:
    single = torch.zeros(1, size, size)
    single[0, row, column] = 255.0
    return single


@pytest.mark.parametrize(("height", "width", "seed"), [(128, 128, 0), (64, 64, 1), (64, 101, 2), (97, 48, 3)])
def test_layers_equal_opencv_within_one_grey_level(rain_range, height, width, seed):
    count = 16
    parameters = rain_range.sample(count, torch.Generator().manual_seed(100 + seed))
    seeds = noise(count, height, width, seed)
    drawn = grey(streaks_from_noise(seeds, parameters))
    for i, setting in enumerate(as_settings(parameters)):
        difference = np.abs(drawn[i].round() - rain_layer(seeds[i].numpy(), setting).astype(int))
        assert difference.max() <= 1, setting
        assert (difference > 0).mean() < 0.001, setting


@pytest.mark.parametrize(
    "setting",
    [
        Setting(200, 1, 5, -70),
        Setting(300, 9, 5, 70),
        Setting(200, 1, 60, 70),
        Setting(300, 9, 60, -70),
        Setting(250, 5, 30, 0),
        Setting(250, 5, 31, 5),
        Setting(200, 9, 20, -30),
        Setting(300, 7, 40, 30),
        Setting(1000, 3, 47, 45),
        Setting(20, 1, 1, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("legacy_scale", [True, False])
def test_corners_of_the_ranges_equal_opencv(setting, legacy_scale):
    seeds = noise(1, 128, 128, seed=9)
    drawn = grey(streaks_from_noise(seeds, as_parameters([setting]), legacy_scale))[0]
    expected = rain_layer(seeds[0].numpy(), setting, legacy_scale)
    assert expected.max() > 200
    assert np.abs(drawn.round() - expected.astype(int)).max() <= 1


def test_the_border_is_reflected_without_repeating_its_last_pixel():
    seeds = noise(1, 64, 64, seed=4)
    seeds[:, 3:-3, 3:-3] = 0
    setting = Setting(2000, 5, 30, 20)
    drawn = grey(streaks_from_noise(seeds, as_parameters([setting])))[0]

    def distance(border: int) -> float:
        return np.abs(drawn - rain_layer(seeds[0].numpy(), setting, border=border)).max()

    assert distance(cv2.BORDER_REFLECT_101) <= 1
    assert min(distance(border) for border in (cv2.BORDER_REFLECT, cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)) > 20


def test_layers_are_achromatic_eight_bit_and_stretched(rain_range):
    rain = render_streaks(rain_range, 12, 64, 80, torch.Generator().manual_seed(0))
    assert rain.shape == (12, 1, 64, 80)
    assert rain.dtype == torch.float32
    levels = grey(rain).astype(np.float64)
    np.testing.assert_allclose(levels, levels.round(), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(levels.round().min((1, 2)), np.zeros(12))
    assert levels.round().max((1, 2)).min() >= 254
    assert rain.max() <= 1


def test_no_seed_gives_no_rain():
    rain = streaks_from_noise(torch.full((1, 64, 64), 100.0), as_parameters([Setting(250, 5, 30, 0)]))
    assert torch.equal(rain, torch.zeros(1, 1, 64, 64))


def test_the_same_state_gives_the_same_rain_and_another_state_other_rain(rain_range):
    def draw(seed: int) -> torch.Tensor:
        return render_streaks(rain_range, 3, 64, 64, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(5), draw(5))
    assert (draw(5) - draw(6)).abs().mean() > 0.05


@pytest.mark.parametrize("part", [slice(1, 4), slice(0, None, 2), slice(3, None, 4), slice(5, 6)])
def test_a_part_equals_that_part_of_the_whole(rain_range, part):
    def draw(part: slice) -> torch.Tensor:
        return render_streaks(rain_range, 8, 64, 64, torch.Generator().manual_seed(2), part)

    whole = draw(slice(None))
    assert torch.equal(draw(part), whole[part])
    assert whole[0].ne(whole[1]).any()


def test_a_smaller_kernel_square_changes_nothing_but_a_rounding(range_name, rain_range):
    parameters = rain_range.sample(16, torch.Generator().manual_seed(0))
    seeds = noise(16, 128, 128)
    small = grey(streaks_from_noise(seeds, parameters, kernel_side=rain_range.kernel_side))
    assert (rain_range.kernel_side < 60) == (range_name != "large")
    difference = np.abs(small - grey(streaks_from_noise(seeds, parameters))).round()
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.0005


def extent_px(length: int, legacy_scale: bool) -> int:
    """Rows that one vertical streak covers at half its brightness."""
    rain = streaks_from_noise(one_seed(64, 64), as_parameters([Setting(250, 1, length, 0)]), legacy_scale)
    return int((rain[0, 0].amax(1) > 0.5).sum())


def test_streaks_of_length_60_are_no_longer_than_those_of_40():
    assert [extent_px(length, True) for length in (20, 30, 40, 50, 60)] == [20, 30, 34, 35, 34]


def test_without_the_legacy_scale_length_is_length():
    assert [extent_px(length, False) for length in (20, 30, 40, 50)] == [20, 30, 40, 50]
    assert extent_px(60, False) >= 59


def test_legacy_scale_changes_the_layer():
    wide = {"quantity": [250, 250], "width": [5], "length": [50, 50], "angle_deg": [0, 0]}
    layers = [
        render_streaks(RainRange(**wide, legacy_scale=scale), 2, 128, 128, torch.Generator().manual_seed(0))
        for scale in (True, False)
    ]
    assert (layers[0] - layers[1]).abs().mean() > 0.02


@pytest.mark.parametrize("angle", [30, -30])
def test_a_positive_angle_runs_from_upper_left_to_lower_right(angle):
    rain = streaks_from_noise(one_seed(64, 64), as_parameters([Setting(250, 1, 30, angle)]))[0, 0]
    rows, columns = np.nonzero(rain.numpy() > 0.25)
    slope = np.polyfit(rows, columns, 1)[0]
    assert slope == pytest.approx(np.tan(np.radians(angle)), abs=0.02)
    assert rows.max() - rows.min() > 20


def test_a_layer_of_the_same_seeds_is_dimmer_on_a_larger_canvas():
    """Each layer is stretched by itself: more streaks, a brighter crossing among them, all others dimmer."""
    narrow = RainRange([250, 250], [5], [30, 30], [0, 0])
    sizes = [render_streaks(narrow, 8, size, size, torch.Generator().manual_seed(1)).mean() for size in (64, 256)]
    assert sizes[1] < 0.9 * sizes[0]
