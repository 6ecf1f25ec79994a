"""Small pictures of three methods on six images."""

from pathlib import Path

import pytest
from study_pictures import picture

METHODS = ("clean", "blurred", "rainy")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Method -> folder; the originals are in "originals" beside them. Grey level: 40 per method, 1 per image."""
    for number in range(6):
        picture(tmp_path / "originals" / f"im{number}.png", number)
        for place, method in enumerate(METHODS):
            picture(tmp_path / method / f"im{number}.png", 40 * (place + 1) + number)
    return {method: str(tmp_path / method) for method in METHODS}
