"""The training rain: ranges, kernels and layers against the public generator, written once more with OpenCV."""

from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from rain_measures import coverage, rms

from slackoff.errors import SlackoffError
from slackoff.rain import RainParameters, RainRange, add_rain, render_streaks
from slackoff.rain.render import line_kernels, streaks_from_noise

PLUS = np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]])


class Setting(NamedTuple):
    """Parameters of one rain layer, named as in Table 1."""

    quantity: int
    width: int
    length: int
    angle_deg: int


def as_parameters(settings: list[Setting]) -> RainParameters:
    return RainParameters(*torch.tensor(settings).unbind(1))


def as_settings(parameters: RainParameters) -> list[Setting]:
    return [Setting(*row) for row in torch.stack(list(parameters), 1).tolist()]


def line_kernel(setting: Setting, legacy_scale: bool = True) -> NDArray[np.float64]:
    """L x L: the rotated diagonal, blurred to a width."""
    length = setting.length
    scale = 1 - length / 100 if legacy_scale else 1.0
    rotation = cv2.getRotationMatrix2D((length / 2, length / 2), setting.angle_deg - 45, scale)
    line = cv2.warpAffine(np.eye(length), rotation, (length, length))
    return cv2.GaussianBlur(line, (setting.width, setting.width), 0)


def rain_layer(
    noise: NDArray[np.float32], setting: Setting, legacy_scale: bool = True, border: int = cv2.BORDER_REFLECT_101
) -> NDArray[np.uint8]:
    """Noise in [0, 256) of shape (H, W) to a rain layer of the same shape, 0..255."""
    seeds = noise.astype(np.float64)
    seeds[seeds < 256 - 0.01 * setting.quantity] = 0
    drops = cv2.filter2D(seeds, -1, PLUS, borderType=border)
    streaks = cv2.filter2D(drops, -1, line_kernel(setting, legacy_scale), borderType=border)
    return cv2.normalize(streaks, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def test_rain_is_added_to_each_channel_and_clipped():
    random = np.random.default_rng(0)
    background = random.random((2, 3, 5, 7), dtype=np.float32)
    rain = random.random((2, 1, 5, 7), dtype=np.float32)
    rainy = add_rain(torch.from_numpy(background), torch.from_numpy(rain))
    expected = np.clip(background + np.repeat(rain, 3, axis=1), 0, 1)
    np.testing.assert_array_equal(rainy.numpy(), expected)
    assert (expected == 1).any()
    assert rainy.dtype == torch.float32


def test_config_holds_table_1(conf, table_1, range_name):
    node = OmegaConf.to_container(OmegaConf.load(conf / "rain" / f"{range_name}.yaml"))
    assert {key: node[key] for key in table_1[range_name]} == table_1[range_name]
    assert node["legacy_scale"] is True


def test_draws_are_uniform_and_include_both_ends(range_name, rain_range, table_1):
    count = 40_000
    drawn = rain_range.sample(count, torch.Generator().manual_seed(3))._asdict()
    for key, allowed in table_1[range_name].items():
        values = drawn[key].numpy()
        expected = np.array(allowed) if key == "width" else np.arange(allowed[0], allowed[1] + 1)
        found, counts = np.unique(values, return_counts=True)
        np.testing.assert_array_equal(found, expected)
        # Counts of a uniform draw: within five standard deviations.
        mean = count / len(expected)
        assert np.abs(counts - mean).max() < 5 * np.sqrt(mean) + 1


def test_parameters_are_drawn_independently():
    wide = RainRange([200, 300], [1, 3, 5, 7, 9], [5, 60], [-70, 70])
    drawn = torch.stack(list(wide.sample(20_000, torch.Generator().manual_seed(0)))).double()
    correlation = np.corrcoef(drawn.numpy())
    assert np.abs(correlation - np.eye(4)).max() < 0.03


@pytest.mark.parametrize(("length", "side"), [([30, 31], 32), ([20, 40], 40), ([5, 60], 60), ([1, 1], 2)])
def test_kernel_side_is_the_smallest_even_one_that_fits(length, side):
    assert RainRange([200, 300], [1], length, [0, 0]).kernel_side == side


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": [300, 200]}, r"^rain\.quantity is reversed.*write \[200, 300\]"),
        ({"length": [31, 30]}, r"^rain\.length is reversed.*write \[30, 31\]"),
        ({"angle_deg": [5, -5]}, r"^rain\.angle_deg is reversed.*write \[-5, 5\]"),
        ({"quantity": [0, 300]}, r"^rain\.quantity is \[0, 300\]: both ends must lie in \[1, 25600\]"),
        ({"length": [30, 61]}, r"^rain\.length is \[30, 61\]: both ends must lie in \[1, 60\]"),
        ({"angle_deg": [-91, 0]}, r"^rain\.angle_deg is \[-91, 0\]: both ends must lie in \[-90, 90\]"),
        ({"width": []}, r"^rain\.width is \[\]: give at least one odd width"),
        ({"width": [9], "length": [4, 31]}, r"^rain\.width 9 does not fit rain\.length 4"),
    ],
)
def test_a_bad_range_is_refused_by_name(table_1, change, message):
    with pytest.raises(SlackoffError, match=message):
        RainRange(**table_1["small"] | change)


def every_setting(angles: range, lengths: range = range(1, 61)) -> list[Setting]:
    fitting = ((width, length) for length in lengths for width in (1, 3, 5, 7, 9) if length > width // 2)
    return [Setting(250, width, length, angle) for width, length in fitting for angle in angles]


def placed(kernel: np.ndarray, side: int) -> np.ndarray:
    """The kernel in a square of zeros, its anchor L//2 at side/2."""
    start = side // 2 - len(kernel) // 2
    square = np.zeros((side, side))
    square[start : start + len(kernel), start : start + len(kernel)] = kernel
    return square


@pytest.mark.parametrize("legacy_scale", [True, False])
def test_kernels_equal_opencv(legacy_scale):
    settings = every_setting(range(-90, 91, 15))
    drawn = line_kernels(as_parameters(settings), legacy_scale).numpy()
    assert drawn.shape == (len(settings), 60, 60)
    for setting, kernel in zip(settings, drawn, strict=True):
        expected = placed(line_kernel(setting, legacy_scale), 60)
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-6, err_msg=str(setting))


def grey(rain: torch.Tensor) -> np.ndarray:
    """(N, 1, H, W) in [0, 1] to (N, H, W) in grey levels."""
    return (rain[:, 0] * 255).numpy()


def noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) * 256


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
        Setting(300, 9, 5, 70),
        Setting(200, 1, 60, 70),
        Setting(250, 5, 31, 5),
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


# Share of pixels with R > 0, 5, 10, 20, 50; mean R; RMS R; RMS of R where R > 20 (grey levels).
REFERENCE = {
    "small": (0.77, 0.73, 0.65, 0.57, 0.31, 37.8, 53.8, 70.7),
    "medium": (0.86, 0.80, 0.75, 0.66, 0.39, 45.9, 60.9, 74.4),
    "large": (0.72, 0.65, 0.60, 0.54, 0.33, 38.3, 55.0, 75.9),
}
"""Of 128 px patches; the public generator was drawn from 150 times."""


def test_statistics_of_patches(range_name, rain_range):
    """Of 600 draws: the spread between draws is then small beside the 10 %, which also cover the reference's 150."""
    layers = grey(render_streaks(rain_range, 600, 128, 128, torch.Generator().manual_seed(0)))
    found = [[*coverage(layer), layer.mean(), rms(layer), rms(layer[layer > 20])] for layer in layers]
    np.testing.assert_allclose(np.mean(found, axis=0), REFERENCE[range_name], rtol=0.10)
