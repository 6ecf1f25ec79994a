"""What the rain tests share: the three training rain ranges, as the paper's Table 1 prints them."""

import pytest

from slackoff.rain import RainRange

TABLE_1 = {
    "small": {"quantity": [200, 300], "width": [5], "length": [30, 31], "angle_deg": [-5, 5]},
    "medium": {"quantity": [200, 300], "width": [5, 7, 9], "length": [20, 40], "angle_deg": [-30, 30]},
    "large": {"quantity": [200, 300], "width": [1, 3, 5, 7, 9], "length": [5, 60], "angle_deg": [-70, 70]},
}


@pytest.fixture
def table_1() -> dict[str, dict[str, list[int]]]:
    return {name: dict(values) for name, values in TABLE_1.items()}


@pytest.fixture(params=TABLE_1)
def range_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rain_range(range_name: str) -> RainRange:
    return RainRange(**TABLE_1[range_name])
