import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from slackoff.errors import SlackoffError
from slackoff.rain import RainRange


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
        ({"quantity": []}, r"^rain\.quantity is \[\]: give two whole numbers"),
        ({"length": [30]}, r"^rain\.length is \[30\]: give two whole numbers"),
        ({"angle_deg": 5}, r"^rain\.angle_deg is 5: give two whole numbers"),
        ({"length": [30.5, 31]}, r"^rain\.length is \[30\.5, 31\]: give two whole numbers"),
        ({"quantity": ["a", "b"]}, r"^rain\.quantity is \['a', 'b'\]: give two whole numbers"),
        ({"quantity": [0, 300]}, r"^rain\.quantity is \[0, 300\]: both ends must lie in \[1, 25600\]"),
        ({"length": [30, 61]}, r"^rain\.length is \[30, 61\]: both ends must lie in \[1, 60\]"),
        ({"angle_deg": [-91, 0]}, r"^rain\.angle_deg is \[-91, 0\]: both ends must lie in \[-90, 90\]"),
        ({"width": []}, r"^rain\.width is \[\]: give at least one odd width"),
        ({"width": 5}, r"^rain\.width is 5: give at least one odd width"),
        ({"width": [5, 4]}, r"^rain\.width holds 4: a width is one of 1, 3, 5, 7, 9"),
        ({"width": [11]}, r"^rain\.width holds 11: a width is one of"),
        ({"width": [9], "length": [4, 31]}, r"^rain\.width 9 does not fit rain\.length 4"),
    ],
)
def test_a_bad_range_is_refused_by_name(table_1, change, message):
    with pytest.raises(SlackoffError, match=message):
        RainRange(**table_1["small"] | change)


def test_the_tightest_fit_of_width_and_length_is_accepted():
    assert RainRange([200, 300], [9], [5, 31], [0, 0]).width == [9]
