"""Identity, axes and folders of cells."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.sweep.plan import plan


def identity(composed, *overrides: str) -> str:
    return plan([composed(*overrides)], [[]])[0].id


@pytest.mark.parametrize(
    "override",
    ["runs=elsewhere", "logger.project=other", "trainer.accelerator=cpu", "network.name=mine", "study.title=x"],
)
def test_what_cannot_change_the_result_does_not_change_the_identity(composed, override):
    assert identity(composed) == identity(composed, override)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "background.patch_count=5",
        "rain=medium",
        "network.width=5",
        "task.learning_rate=2e-3",
        "schedule.steps=21",
        "trainer.precision=32-true",
        "evaluation.count=5",
        "fixed_rain_per_patch=true",
    ],
)
def test_whatever_can_change_the_result_changes_the_identity(composed, override):
    assert identity(composed) != identity(composed, override)


def write_photos(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(4):
        pixels = generator.integers(0, 256, (140, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_moved_folder_is_the_same_cell_and_a_changed_picture_another(composed, tmp_path):
    first = write_photos(tmp_path / "a")
    second = write_photos(tmp_path / "b")
    third = write_photos(tmp_path / "c", seed=1)
    ids = [
        identity(composed, "background=folder", f"background.root={root}", "background.held_out=1")
        for root in (first, second, third)
    ]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_equal_cells_are_planned_once_and_axes_are_what_differs(composed):
    overrides = [["network=unet_tiny", "seed=0"], ["network=resnet_small", "seed=0"], ["network=unet_tiny", "seed=0"]]
    cells = plan([composed(*job) for job in overrides], overrides)
    assert [cell.axes for cell in cells] == [
        {"patch_count": 4, "network": "unet_tiny"},
        {"patch_count": 4, "network": "resnet_small"},
    ]
    assert cells[0].folder.name == cells[0].id
    assert cells[0].label["background"] == "builtin"


def test_a_value_that_must_be_given_is_named(composed):
    with pytest.raises(SlackoffError, match=r"background\.root is not given: add background\.root="):
        plan([composed("background=folder")], [[]])
