from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from slackoff.errors import SlackoffError
from slackoff.images import chosen_by_place, find_pairs, fingerprint, pair_sizes, read_pair

KEY = "evaluation.root"


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


def test_several_rainy_versions_share_a_clean_image(tmp_path):
    """The names of Rain1400: scene 1 under three rains, scene 12 under one."""
    rainy = ["rainy_image/1_1.jpg", "rainy_image/1_2.jpg", "rainy_image/1_14.jpg", "rainy_image/12_3.jpg"]
    draw(tmp_path, *rainy, "ground_truth/1.jpg", "ground_truth/12.jpg")
    assert found(tmp_path) == [
        ("12_3", "rainy_image/12_3.jpg", "ground_truth/12.jpg"),
        ("1_1", "rainy_image/1_1.jpg", "ground_truth/1.jpg"),
        ("1_14", "rainy_image/1_14.jpg", "ground_truth/1.jpg"),
        ("1_2", "rainy_image/1_2.jpg", "ground_truth/1.jpg"),
    ]


def test_one_version_of_each_scene_and_names_with_underscores_pair_as_before(tmp_path):
    draw(tmp_path / "a", "rainy/1_1.png", "rainy/2_1.png", "gt/1.png", "gt/2.png")
    assert [clean for *_, clean in found(tmp_path / "a")] == ["gt/1.png", "gt/2.png"]
    draw(tmp_path / "b", "rainy/1_1.png", "rainy/1_2.png", "gt/1_1.png", "gt/1_2.png")
    assert [clean for *_, clean in found(tmp_path / "b")] == ["gt/1_1.png", "gt/1_2.png"]


@pytest.mark.parametrize("orphan", ["rainy_image/3_1.png", "ground_truth/3.png", "rainy_image/3.png"])
def test_a_version_or_a_scene_without_partner_is_named(tmp_path, orphan):
    draw(tmp_path, "rainy_image/1_1.png", "rainy_image/1_2.png", "ground_truth/1.png", orphan)
    assert f"{tmp_path / orphan} in {KEY} has no partner" in refusal(tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        ("rainy_image/1_1.png", "rainy_image/1_1.jpg", "rainy_image/1_2.png", "ground_truth/1.png"),
        ("rainy_image/1_1.png", "rainy_image/1_2.png", "ground_truth/1.png", "ground_truth/1.jpg"),
    ],
)
def test_a_version_or_a_scene_that_is_there_twice_is_named(tmp_path, files):
    draw(tmp_path, *files)
    assert "claim the same partner" in refusal(tmp_path)


def test_the_validation_folders_of_ddn_sirr_pair_by_number(tmp_path):
    draw(
        tmp_path, *(f"{name}{number}.png" for number in (1, 2, 10) for name in ("input_val/input", "label_val/norain"))
    )
    assert found(tmp_path) == [
        (f"input{number}", f"input_val/input{number}.png", f"label_val/norain{number}.png") for number in (1, 10, 2)
    ]


def test_places_are_counted_in_the_order_of_numbers(tmp_path):
    draw(tmp_path, *(f"{folder}/input{number}.png" for number in range(1, 21) for folder in ("rainy", "norain")))
    pairs = find_pairs(tmp_path, KEY)
    names = [[pair.name for pair in chosen_by_place(pairs, places, KEY)] for places in ([1, 10], [11, 20], [2, 2])]
    assert names == [
        [f"input{number}" for number in range(1, 11)],
        [f"input{number}" for number in range(11, 21)],
        ["input2"],
    ]


@pytest.mark.parametrize("places", [[0, 3], [3, 2], [1], [1, 2.0], "12", [True, 2], 3])
def test_what_is_no_choice_of_places_is_refused(tmp_path, places):
    draw(tmp_path, "rainy/a1.png", "norain/a1.png")
    with pytest.raises(SlackoffError, match=rf"of {KEY} is no choice of pairs: give \[first, last\]"):
        chosen_by_place(find_pairs(tmp_path, KEY), places, KEY)


def test_more_places_than_pairs_are_refused(tmp_path):
    draw(tmp_path, "rainy/a1.png", "norain/a1.png")
    with pytest.raises(SlackoffError, match=r"numbers=\[1, 10\] of evaluation\.root: there are only 1 pairs"):
        chosen_by_place(find_pairs(tmp_path, KEY), [1, 10], KEY)


def halves(path: Path, left: int, right: int, width: int = 24, height: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2 :] = right
    Image.fromarray(pixels).save(path)


def test_a_side_by_side_image_is_rainy_left_and_clean_right(tmp_path):
    halves(tmp_path / "2.png", 200, 50)
    halves(tmp_path / "1.png", 100, 7)
    first, second = find_pairs(tmp_path, KEY, "side_by_side")
    assert (first.name, second.name) == ("1", "2")
    assert first.side_by_side
    assert pair_sizes([first, second]) == [(8, 12), (8, 12)]
    rainy, clean = read_pair(second)
    assert rainy.shape == clean.shape == (8, 12, 3)
    assert (rainy == 200).all()
    assert (clean == 50).all()


def test_an_odd_width_side_by_side_is_refused(tmp_path):
    halves(tmp_path / "1.png", 1, 2, width=25)
    with pytest.raises(
        SlackoffError, match=r"1\.png is 25 px wide: an image that holds a pair .* even width, the rainy"
    ):
        find_pairs(tmp_path, KEY, "side_by_side")


def test_side_by_side_is_never_guessed_but_named_where_it_may_be_meant(tmp_path):
    halves(tmp_path / "1.png", 1, 2)
    assert "rainy left and clean right, set its layout=side_by_side" in refusal(tmp_path)
    (tmp_path / "none").mkdir()
    assert "layout=side_by_side" not in refusal(tmp_path / "none")


def test_an_empty_folder_a_name_twice_and_an_unknown_layout_are_refused(tmp_path):
    with pytest.raises(SlackoffError, match=r"holds no image: put the images with both halves directly into it"):
        find_pairs(tmp_path, KEY, "side_by_side")
    with pytest.raises(SlackoffError, match=r"layout=guess is not known: choose one of auto, side_by_side"):
        find_pairs(tmp_path, KEY, "guess")
    for name in ("1.png", "1.bmp"):
        halves(tmp_path / name, 1, 2)
    with pytest.raises(SlackoffError, match=r"claim the same partner"):
        find_pairs(tmp_path, KEY, "side_by_side")


def test_ddn_sirr_is_paired_by_number_also_under_its_own_names(shared_data, tmp_path):
    """The original names, given to the files that lie here under one name in two folders."""
    original = shared_data("sirr")
    for folder, renamed, name in (("rainy", "input_val", "input"), ("norain", "label_val", "norain")):
        (tmp_path / renamed).mkdir()
        for path in (original / folder).iterdir():
            (tmp_path / renamed / f"{name}{int(path.stem)}.png").symlink_to(path)
    here, there = (chosen_by_place(find_pairs(root, KEY), [1, 20], KEY) for root in (original, tmp_path))
    assert [pair.name for pair in there] == [f"input{number}" for number in range(1, 21)]
    assert [pair.clean_path.resolve() for pair in there] == [pair.clean_path.resolve() for pair in here]
    assert set(pair_sizes(here)) <= {(321, 481), (481, 321)}
    for pair in there:
        rainy, clean = read_pair(pair)
        assert (rainy >= clean).all()


def test_the_fingerprint_of_pairs_is_what_it_was_before_this_room(tmp_path):
    """Identities of cells that were measured on pairs rest on it."""
    for folder, level in (("rainy", 9), ("norain", 5)):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 10):
            (tmp_path / folder / f"{number}.ppm").write_bytes(b"P6\n4 2\n255\n" + bytes([level + number] * 24))
    expected = "559c44f52a54259055a10d80ca7ac877c5728d3e05a747e0263f4e68a3ae090e"
    assert fingerprint(find_pairs(tmp_path, KEY)) == expected


def test_rain100l_is_paired_and_read_as_opencv_does(shared_data):
    """Partners have one name, rain only brightens, and the error between them is the one OpenCV measures."""
    folder_of_pairs = shared_data("rain100l")
    pairs = find_pairs(folder_of_pairs, KEY)
    names = sorted(path.name for path in (folder_of_pairs / "rainy").iterdir())
    assert [pair.rainy_path.name for pair in pairs] == [pair.clean_path.name for pair in pairs] == names
    for pair in pairs:
        rainy, clean = read_pair(pair)
        assert (rainy >= clean).all()
        files = (str(folder_of_pairs / folder / f"{pair.name}.png") for folder in ("rainy", "norain"))
        reference = cv2.PSNR(*map(cv2.imread, files))
        error = np.mean((rainy.astype(float) - clean) ** 2)
        assert 10 * np.log10(255**2 / error) == pytest.approx(reference, abs=1e-6)


@pytest.mark.parametrize(
    ("clean", "rainy"),
    [("norain1.png", "rain1.png"), ("norain-1x2.png", "rain-1x2.png"), ("norain_007a.jpg", "rain_007a.png")],
)
def test_other_names_that_begin_with_norain_and_rain_are_partners(tmp_path: Path, clean: str, rainy: str):
    draw(
        tmp_path, clean, rainy, f"rainstreak{clean[6:]}", f"screen{rainy.replace('rain', 'rainy')}", "rainregion-1.png"
    )
    assert found(tmp_path) == [(Path(rainy).stem, rainy, clean)]


def test_beside_the_names_of_the_release_other_ones_are_still_ignored(tmp_path: Path):
    draw(tmp_path, "norain-001.png", "rain-001.png", "rain-001x2.png", "norain002.png")
    assert found(tmp_path) == [("rain-001", "rain-001.png", "norain-001.png")]
