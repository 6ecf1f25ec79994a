from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.evaluation.pairs import find_pairs, read_pair

KEY = "evaluation.root"
RAIN100L = Path(__file__).parents[2] / "../shared/data/rain100l"


def draw(root: Path, *names: str, size: tuple[int, int] = (12, 8)) -> None:
    """Save images whose grey level is the position in `names`."""
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (level, level, level)).save(root / name)


def found(root: Path) -> list[tuple[str, str, str]]:
    return [
        (
            pair.name,
            pair.rainy_path.relative_to(root).as_posix(),
            pair.clean_path.relative_to(root).as_posix(),
        )
        for pair in find_pairs(root, KEY)
    ]


def refusal(root: Path) -> str:
    with pytest.raises(SlackoffError) as caught:
        find_pairs(root, KEY)
    sentence = str(caught.value)
    assert KEY in sentence or root.name in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        ("rainy", "norain"),
        ("rain", "norain"),
        ("input", "target"),
        ("rainy", "clean"),
        ("rainy", "gt"),
        ("Rain", "GroundTruth"),
    ],
)
def test_two_folders_with_the_same_names(tmp_path, rainy, clean):
    draw(tmp_path, f"{rainy}/b.png", f"{clean}/b.png", f"{rainy}/a.png", f"{clean}/a.png")
    assert found(tmp_path) == [
        ("a", f"{rainy}/a.png", f"{clean}/a.png"),
        ("b", f"{rainy}/b.png", f"{clean}/b.png"),
    ]


def test_two_folders_with_the_same_numbers_or_another_suffix(tmp_path):
    draw(tmp_path, "rain/rain-002.png", "rain/rain-010.png", "norain/norain-2.png", "norain/norain-10.png")
    assert found(tmp_path) == [
        ("rain-002", "rain/rain-002.png", "norain/norain-2.png"),
        ("rain-010", "rain/rain-010.png", "norain/norain-10.png"),
    ]
    other = tmp_path / "other"
    draw(other, "input/1.jpg", "target/1.png")
    assert found(other) == [("1", "input/1.jpg", "target/1.png")]


def test_all_numbers_of_a_name_count(tmp_path):
    draw(tmp_path, "rainy/set100_rain_1.png", "rainy/set100_rain_2.png", "gt/set100_1.png", "gt/set100_2.png")
    assert found(tmp_path)[1] == ("set100_rain_2", "rainy/set100_rain_2.png", "gt/set100_2.png")


@pytest.mark.parametrize("prefix", ["", "rainy/", "rain/"])
def test_the_rain100_release(tmp_path, prefix):
    streaks = [
        "rainstreak-001.png",
        "rainregion-001.png",
        "screenrainy-001.png",
        "rain-001x2.png",
        "readme-001.png",
    ]
    draw(
        tmp_path,
        f"{prefix}rain-001.png",
        "norain-001.png",
        f"{prefix}rain-002.png",
        "norain-002.png",
        *streaks,
    )
    assert found(tmp_path) == [
        ("rain-001", f"{prefix}rain-001.png", "norain-001.png"),
        ("rain-002", f"{prefix}rain-002.png", "norain-002.png"),
    ]


def test_training_names_without_leading_zeros(tmp_path):
    draw(tmp_path, "rain-1.png", "norain-1.png", "rain-12.png", "norain-12.png")
    assert [name for name, *_ in found(tmp_path)] == ["rain-1", "rain-12"]


def test_streak_layers_and_masks_in_the_rainy_folder_are_ignored(tmp_path):
    draw(tmp_path, "rainy/rain-001.png", "norain/norain-001.png")
    draw(tmp_path, "rainy/rainstreak-001.png", "rainy/rainregion-001.png", "rainy/screenrainy-001.png")
    assert [name for name, *_ in found(tmp_path)] == ["rain-001"]


def test_read_pair_gives_the_rainy_image_first(tmp_path):
    draw(tmp_path, "rainy/a.png", "norain/a.png")
    rainy, clean = read_pair(find_pairs(tmp_path, KEY)[0])
    assert rainy.shape == clean.shape == (8, 12, 3)
    assert rainy.dtype == clean.dtype == np.uint8
    assert (rainy == 0).all()
    assert (clean == 1).all()


@pytest.mark.parametrize("orphan", ["rainy/c.png", "norain/c.png"])
def test_a_file_without_partner_is_named(tmp_path, orphan):
    draw(tmp_path, "rainy/a.png", "norain/a.png", orphan)
    assert f"{tmp_path / orphan} in {KEY} has no partner: add its partner or remove it" in refusal(tmp_path)


def test_many_files_without_partner_are_counted(tmp_path):
    draw(tmp_path, "rainy/a.png", "norain/a.png", "rainy/b.png", "rainy/c.png", "norain/d.png")
    assert "no partner (2 other files have none either)" in refusal(tmp_path)


def test_two_claims_on_one_partner_are_named(tmp_path):
    draw(tmp_path, "rainy/a.png", "rainy/a.jpg", "norain/a.png")
    sentence = refusal(tmp_path)
    assert str(tmp_path / "rainy/a.jpg") in sentence
    assert str(tmp_path / "rainy/a.png") in sentence
    assert "rename" in sentence


def test_different_sizes_name_both_files_and_sizes(tmp_path):
    draw(tmp_path, "rainy/a.png", size=(12, 8))
    draw(tmp_path, "norain/a.png", size=(8, 12))
    sentence = refusal(tmp_path)
    assert f"{tmp_path / 'rainy/a.png'} (12 x 8 px)" in sentence
    assert f"{tmp_path / 'norain/a.png'} (8 x 12 px)" in sentence
    assert "crop them" in sentence


def test_a_file_that_is_no_image_is_named_before_anything_is_read(tmp_path):
    draw(tmp_path, "rainy/a.png", "norain/a.png")
    (tmp_path / "norain/a.png").write_bytes(b"text")
    assert f"{tmp_path / 'norain/a.png'} is not a readable" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.png"], "holds no rainy/clean pairs: give it a rainy/ and a norain/ folder"),
        (["rainy/a.png"], "holds no rainy/clean pairs"),
        (["rainy/sub/a.png", "norain/a.png"], "holds no image: put the images directly into it"),
        (["rainy/a.png", "input/a.png", "gt/a.png"], "holds both input/ and rainy/"),
    ],
)
def test_unknown_layouts(tmp_path, files, words):
    draw(tmp_path, *files)
    assert words in refusal(tmp_path)


def test_missing_empty_and_unset_folders(tmp_path):
    assert "holds no rainy/clean pairs" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "gone")
    with pytest.raises(SlackoffError, match=r"evaluation\.root is not set"):
        find_pairs(None, KEY)


@pytest.mark.skipif(not RAIN100L.is_dir(), reason="../shared/data/rain100l is not there")
def test_rain100l_is_paired_and_read_as_opencv_does():
    """Partners have one name, rain only brightens, and the error between them is the one OpenCV measures."""
    pairs = find_pairs(RAIN100L, KEY)
    names = sorted(path.name for path in (RAIN100L / "rainy").iterdir())
    assert [pair.rainy_path.name for pair in pairs] == [pair.clean_path.name for pair in pairs] == names
    for pair in pairs:
        rainy, clean = read_pair(pair)
        assert (rainy >= clean).all()
        files = (str(RAIN100L / folder / f"{pair.name}.png") for folder in ("rainy", "norain"))
        reference = cv2.PSNR(*map(cv2.imread, files))
        error = np.mean((rainy.astype(float) - clean) ** 2)
        assert 10 * np.log10(255**2 / error) == pytest.approx(reference, abs=1e-6)
