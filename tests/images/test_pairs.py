"""Pairs of rainy and clean images: layouts, likeness, scenes that are left out, shares, crops."""

import hashlib
import io
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pictures import noise, save
from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder
from slackoff.images import (
    LabelledPairs,
    Pair,
    Scenes,
    chosen_by_place,
    crops_per_image,
    find_pairs,
    fingerprint,
    five_crops,
    limited,
    pair_sizes,
    read_pair,
)
from slackoff.images.labelled import shown_in, thumbnail
from slackoff.images.pairs import CropPlace

KEY = "evaluation.root"


def grey(*levels: int, height: int = 8, width: int = 12) -> np.ndarray:
    """Fields of a grey level each, side by side."""
    return np.hstack([np.full((height, width, 3), level, np.uint8) for level in levels])


def draw(root: Path, *names: str) -> None:
    """Save images whose grey level is the position in `names`, clean ones darker, as without rain."""
    for level, name in enumerate(names):
        save(root / name, grey(level + 100 * name.startswith(("rain", "Rain", "input"))))


def names(pairs: list[Pair]) -> list[str]:
    return [pair.name for pair in pairs]


NAMED_ALIKE = [("rainy", "norain"), ("rain", "norain"), ("input", "target"), ("rainy", "clean"), ("rainy", "gt"),
               ("Rain", "GroundTruth")]  # fmt: skip
NUMBERS = ("1", "10", "2")
RAIN14000 = [("12_3", 12), ("1_1", 1), ("1_14", 1), ("1_2", 1)]
LAYOUTS = {
    **{f"{r} {c}": ([(n, f"{r}/{n}.png", f"{c}/{n}.png") for n in "ab"], []) for r, c in NAMED_ALIKE},
    "numbers": ([(f"rain-{a}", f"rain/rain-{a}.png", f"norain/norain-{int(a)}.png") for a in ("002", "010")], []),
    "another suffix": ([("1", "input/1.jpg", "target/1.png")], []),
    "all numbers of a name count": (
        [(f"set100_rain_{n}", f"rainy/set100_rain_{n}.png", f"gt/set100_{n}.png") for n in "12"], []),
    **{f"Rain100 release {p}": (
        [(f"rain-00{n}", f"{p}rain-00{n}.png", f"norain-00{n}.png") for n in "12"],
        ["rainstreak-001.png", "rainregion-001.png", "screenrainy-001.png", "rain-001x2.png", "readme-001.png"],
    ) for p in ("", "rainy/", "rain/")},
    "no leading zeros": ([(f"rain-{n}", f"rain-{n}.png", f"norain-{n}.png") for n in (1, 12)], []),
    "streaks and masks beside rain": (
        [("rain-001", "rainy/rain-001.png", "norain/norain-001.png")],
        ["rainy/rainstreak-001.png", "rainy/rainregion-001.png", "rainy/screenrainy-001.png"]),
    **{f"partner of {c}": ([(Path(r).stem, r, c)], [f"rainstreak{c[6:]}", f"screen{r.replace('rain', 'rainy')}",
                                                   "rainregion-1.png"])
       for c, r in (("norain1.png", "rain1.png"), ("norain-1x2.png", "rain-1x2.png"),
                    ("norain_007a.jpg", "rain_007a.png"))},
    "release with others": ([("rain-001", "rain-001.png", "norain-001.png")], ["rain-001x2.png", "norain002.png"]),
    "Rain1400": ([(name, f"rainy_image/{name}.jpg", f"ground_truth/{scene}.jpg") for name, scene in RAIN14000], []),
    "one version of each": ([(f"{n}_1", f"rainy/{n}_1.png", f"gt/{n}.png") for n in "12"], []),
    "underscores on both sides": ([(f"1_{n}", f"rainy/1_{n}.png", f"gt/1_{n}.png") for n in "12"], []),
    "DDN-SIRR": ([(f"input{n}", f"input_val/input{n}.png", f"label_val/norain{n}.png") for n in NUMBERS], []),
}  # fmt: skip
"""Name to the pairs that are found, in order, and files that are no part of one."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_known_by_its_names(tmp_path, layout):
    pairs, others = LAYOUTS[layout]
    draw(tmp_path, *sorted({file for pair in pairs for file in pair[1:]}, reverse=True), *others)
    found = [pair[:3] for pair in find_pairs(tmp_path, KEY)]
    assert found == [(name, tmp_path / rainy, tmp_path / clean) for name, rainy, clean in pairs]


VERSIONS_1 = ["rainy_image/1_1.png", "rainy_image/1_2.png", "ground_truth/1.png"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.png"], "holds no rainy/clean pairs, but a.png. Accepted are a rainy folder (rainy, rain, "),
        (["rainy/a.png"], "holds no rainy/clean pairs"),
        (["rainy/sub/a.png", "norain/a.png"], "holds no image: put the images directly into it"),
        (["rainy/a.png", "input/a.png", "gt/a.png"], "holds input/ and rainy/, which play the same part"),
        *((["rainy/a.png", "norain/a.png", orphan], f"{orphan} in {KEY} has no partner: add its partner or remove it")
          for orphan in ("rainy/c.png", "norain/c.png")),
        (["rainy/a.png", "norain/a.png", "rainy/b.png", "rainy/c.png", "norain/d.png"],
         "no partner (2 other files have none either)"),
        *(([*VERSIONS_1, orphan], f"{orphan} in {KEY} has no partner")
          for orphan in ("rainy_image/3_1.png", "ground_truth/3.png", "rainy_image/3.png")),
        *(([*VERSIONS_1, twin], "claim the same partner") for twin in ("rainy_image/1_1.jpg", "ground_truth/1.jpg")),
        (["rainy/a.png", "rainy/a.jpg", "norain/a.png"], f"rainy/a.jpg in {KEY} has no partner"),
        ([], "holds no rainy/clean pairs"),
    ],
)  # fmt: skip
def test_files_that_make_no_pairs_are_named(tmp_path, files, words):
    draw(tmp_path, *files)
    assert words in refusal(tmp_path)


def refusal(root: Path) -> str:
    with pytest.raises(SlackoffError) as caught:
        find_pairs(root, KEY)
    sentence = str(caught.value)
    assert KEY in sentence or root.name in sentence
    assert "\n" not in sentence
    return sentence


def test_different_sizes_name_both_files_and_sizes(tmp_path):
    save(tmp_path / "rainy/a.png", grey(0))
    save(tmp_path / "norain/a.png", grey(0, height=12, width=8))
    sizes = f"{tmp_path / 'rainy/a.png'} (12 x 8 px) and {tmp_path / 'norain/a.png'} (8 x 12 px)"
    assert f"{sizes} are a pair but differ in size: crop them" in refusal(tmp_path)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory) -> list[Pair]:
    root = tmp_path_factory.mktemp("twenty")
    draw(root, *(f"{folder}/input{number}.png" for number in range(1, 21) for folder in ("rainy", "norain")))
    return find_pairs(root, KEY)


@pytest.mark.parametrize("places", [(1, 10), (11, 20), (2, 2)])
def test_places_are_counted_in_the_order_of_numbers(twenty, places):
    expected = [f"input{number}" for number in range(places[0], places[1] + 1)]
    assert names(chosen_by_place(twenty, places, KEY)) == expected


NO_CHOICE = rf"of {KEY} is no choice of pairs: give \[first, last\]"


@pytest.mark.parametrize(
    ("places", "words"),
    [
        *((places, NO_CHOICE) for places in ([0, 3], [3, 2])),
        ([1, 21], r"numbers=\[1, 21\] of evaluation\.root: there are only 20 pairs; give it the whole data set"),
    ],
)
def test_what_is_no_choice_of_places_is_refused(twenty, places, words):
    with pytest.raises(SlackoffError, match=words):
        chosen_by_place(twenty, places, KEY)


@pytest.mark.parametrize(("layout", "files"), [("auto", "rainy/2.png norain/2.png"), ("side_by_side", "2.png 1.png")])
def test_the_rainy_image_is_read_first_or_is_the_left_half(tmp_path, layout, files):
    for level, file in enumerate(files.split()):
        save(tmp_path / file, grey(200 + level, 50) if layout == "side_by_side" else grey(200 - 150 * level))
    pair = find_pairs(tmp_path, KEY, layout)[-1]
    assert (pair.name, pair.side_by_side, pair_sizes([pair])) == ("2", layout == "side_by_side", [(8, 12)])
    rainy, clean = read_pair(pair)
    np.testing.assert_array_equal(rainy, grey(200), strict=True)
    np.testing.assert_array_equal(clean, grey(50), strict=True)


def test_the_clean_half_may_be_the_left_one(tmp_path):
    save(tmp_path / "1.png", grey(50, 200))
    (pair,) = find_pairs(tmp_path, KEY, "side_by_side_clean_left")
    rainy, clean = read_pair(pair)
    assert (rainy.max(), clean.max()) == (200, 50)
    assert LabelledPairs(str(tmp_path), layout="side_by_side_clean_left").all_pairs == [pair]


@pytest.mark.parametrize(
    ("layout", "cure"),
    [
        ("auto", "give the two folders each other's names"),
        (
            "side_by_side",
            "the clean one, not the rainy one, set its layout=side_by_side_clean_left",
        ),
        (
            "side_by_side_clean_left",
            "the rainy one, not the clean one, set its layout=side_by_side,",
        ),
    ],
)
def test_pairs_the_wrong_way_round_are_refused_with_the_cure(tmp_path, layout, cure):
    """In most of a sample, which takes no regular part of the pairs. Whoever has such pairs can say so."""
    for number in range(20):
        rainy, clean = (50, 60) if number % 5 else (60, 50)
        if layout == "auto":
            save(tmp_path / f"rainy/{number}.png", grey(rainy))
            save(tmp_path / f"norain/{number}.png", grey(clean))
        else:
            save(tmp_path / f"{number}.png", grey(*((rainy, clean) if layout == "side_by_side" else (clean, rainy))))
    with pytest.raises(SlackoffError, match=cure) as caught:
        find_pairs(tmp_path, KEY, layout)
    assert "darker_rain=true" in str(caught.value)
    assert len(find_pairs(tmp_path, KEY, layout, darker_rain=True)) == 20
    for kind in (LabelledPairs, PairFolder):
        with pytest.raises(SlackoffError, match=cure):
            kind(str(tmp_path), layout=layout).fingerprint()
        assert kind(str(tmp_path), layout=layout, darker_rain=True).fingerprint()


@pytest.mark.parametrize("name", ["rain100l", "rain100h", "sirr"])
def test_real_pairs_are_the_right_way_round_and_refused_the_other_way(shared_data, tmp_path, name):
    assert find_pairs(shared_data(name), KEY)
    for folder, other in (("rainy", "norain"), ("norain", "rainy")):
        (tmp_path / folder).symlink_to(shared_data(name) / other)
    with pytest.raises(SlackoffError, match=r"darker than the clean ones in 1. of 1. pairs"):
        find_pairs(tmp_path, KEY)


def test_a_file_that_changed_is_looked_at_again(tmp_path):
    draw(tmp_path, "rainy/1.png", "norain/1.png")
    assert find_pairs(tmp_path, KEY)
    save(tmp_path / "norain/1.png", grey(250))
    with pytest.raises(SlackoffError, match="darker"):
        find_pairs(tmp_path, KEY)


NFC, NFD = "é", "e\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    ("rainy", "clean"),
    [
        (["a.png", "a.jpg"], ["a.png", "a.jpg"]),
        ([f"{NFC}.png", f"{NFD}.png"], [f"{NFC}.png", f"{NFD}.png"]),
        (["A.png", "a.png"], ["A.png", "a.png"]),
        ([f"{NFC}_1.png", f"{NFC}_2.png"], [f"{NFD}.png", f"{NFD}.png"]),
        ([f"{NFC}.png", "DSC 1.JPG"], [f"{NFD}.png", "dsc 1.jpg"]),
        (["巴黎.png", "东京.png"], ["巴黎.jpg", "东京.jpg"]),
        (["a$b_{c}.png", "#1 [x]?.png"], ["a$b_{c}.png", "#1 [x]?.png"]),
        (["x" * 251 + ".png"], ["x" * 251 + ".png"]),
        ([os.fsdecode(b"\xff.png"), os.fsdecode(b"\xfe.png")], [os.fsdecode(b"\xff.png"), os.fsdecode(b"\xfe.png")]),
    ],
)
def test_partners_are_found_by_any_lawful_name(tmp_path, rainy, clean):
    """Equal stems, equal but for case or the form of accents, other alphabets, marks, 255 bytes, not UTF-8."""
    for folder, level, files in (("rainy", 200, rainy), ("norain", 50, clean)):
        (tmp_path / folder).mkdir()
        for file in files:
            Image.fromarray(grey(level)).save(tmp_path / folder / file)
    pairs = find_pairs(tmp_path, KEY)
    assert {pair.rainy_path.name: pair.clean_path.name for pair in pairs} == dict(zip(rainy, clean, strict=True))
    assert all(pair.name.isprintable() for pair in pairs)
    assert fingerprint(pairs)


def test_side_by_side_is_never_guessed_but_named_where_it_may_be_meant(tmp_path):
    save(tmp_path / "1.png", grey(1, 2))
    assert "rainy left and clean right, set its layout=side_by_side" in refusal(tmp_path)
    (tmp_path / "none").mkdir()
    assert "layout=side_by_side" not in refusal(tmp_path / "none")


@pytest.mark.parametrize(
    ("files", "width", "words"),
    [
        (["1.png"], 25, r"1\.png is 25 px wide: an image that holds a pair .* even width, one half"),
        ([], 24, "holds no image: put the images with both halves directly into it"),
    ],
)
def test_images_that_hold_no_pair_side_by_side_are_refused(tmp_path, files, width, words):
    for file in files:
        save(tmp_path / file, grey(1, width=width))
    with pytest.raises(SlackoffError, match=words):
        find_pairs(tmp_path, KEY, "side_by_side")


def test_ddn_sirr_is_paired_by_number_also_under_its_own_names(shared_data, tmp_path):
    """The original names, given to the files that lie here under one name in two folders."""
    original = shared_data("sirr")
    for folder, renamed, name in (("rainy", "input_val", "input"), ("norain", "label_val", "norain")):
        (tmp_path / renamed).mkdir()
        for path in (original / folder).iterdir():
            (tmp_path / renamed / f"{name}{int(path.stem)}.png").symlink_to(path)
    here, there = (chosen_by_place(find_pairs(root, KEY), [1, 20], KEY) for root in (original, tmp_path))
    assert names(there) == [f"input{number}" for number in range(1, 21)]
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


def picture(seed: int) -> np.ndarray:
    """A smooth scene of a few shapes: uint8, (120, 180, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((180, 120), Image.Resampling.BICUBIC))


def saved_with_loss(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


COPIES = {
    "the same": lambda pixels: pixels,
    "a row and a column less": lambda pixels: pixels[:-1, :-1],
    "saved with a loss": saved_with_loss,
    "half as large": lambda pixels: np.asarray(Image.fromarray(pixels).resize((90, 60))),
    "darker": lambda pixels: (pixels * 0.7).astype(np.uint8),
    "mirrored": lambda pixels: pixels[:, ::-1],
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_scene(copy):
    scenes = np.stack([thumbnail(picture(seed)) for seed in range(4)])
    changed = np.stack([thumbnail(np.ascontiguousarray(copy(picture(seed)))) for seed in (2, 9)])
    assert shown_in(changed, scenes).tolist() == [True, False]


def test_thumbnails_correlate_as_numpy_says():
    first, second = thumbnail(picture(1)), thumbnail(saved_with_loss(picture(1)))
    assert float(first @ second) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-5)
    assert float(first @ first) == pytest.approx(1.0)


def test_an_image_of_one_grey_level_is_like_no_other():
    flat = thumbnail(np.full((20, 30, 3), 128, dtype=np.uint8))
    assert not shown_in(flat[None], np.stack([flat, thumbnail(picture(1))])).any()


def write(root: Path, scenes: list[int], first: int = 1) -> Path:
    """norain-1.png, rain-1.png and so on, all rains different; MENET's names, with the files that it ignores."""
    for number, seed in enumerate(scenes, first):
        save(root / f"norain-{number}.png", noise(8, 12, seed))
        save(root / f"rain-{number}.png", noise(8, 12, 0, number))
        save(root / f"rainstreak-{number}.png", noise(8, 12, 0))
    return root


@pytest.fixture
def training(tmp_path: Path) -> Path:
    return write(tmp_path / "train", [1, 2, 3, 2, 4, 5])


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """Scenes 2 and 5, the first in a file of other bytes."""
    root = write(tmp_path / "test", [2, 9, 5], first=101)
    save(root / "norain-101.png", noise(8, 12, 2), compress_level=0)
    return root


def test_pairs_that_show_a_test_scene_are_left_out(training, tested, tmp_path):
    everything = LabelledPairs(str(training))
    strict = LabelledPairs(str(training), leave_out=Scenes(str(tested), "roots.rain100h"), key="roots.rain_train_h")
    assert names(everything.all_pairs) == [f"rain-{number}" for number in (1, 2, 3, 4, 5, 6)]
    assert names(strict.all_pairs) == names(strict.split[0]) == ["rain-1", "rain-3", "rain-5"]
    assert everything.notes == []
    assert strict.notes == ["3 of 6 pairs in roots.rain_train_h are left out: they show a scene of roots.rain100h"]
    third = LabelledPairs(str(training), share=0.34, leave_out=Scenes(str(tested)))
    assert [len(part) for part in third.split] == [1, 2]  # of what is left
    assert strict.fingerprint() != everything.fingerprint()
    more = write(tmp_path / "more", [5, 2], first=301)
    assert LabelledPairs(str(training), leave_out=Scenes(str(more))).fingerprint() == strict.fingerprint()


def test_nothing_left_is_refused(tested):
    both = LabelledPairs(str(tested), leave_out=Scenes(str(tested), "roots.rain100h"), key="roots.rain_train_h")
    message = (
        rf"^Every pair of roots\.rain_train_h={tested} shows a scene of roots\.rain100h={tested}: none is left to "
        r"train on, so give other training pairs or set labelled\.leave_out=null\.$"
    )
    with pytest.raises(SlackoffError, match=message):
        _ = both.all_pairs


def test_a_missing_test_folder_is_named_by_its_key(training, tmp_path):
    strict = LabelledPairs(str(training), leave_out=Scenes(str(tmp_path / "nowhere"), "roots.rain100h"))
    with pytest.raises(SlackoffError, match=r"^roots\.rain100h=\S+ does not exist"):
        _ = strict.all_pairs


def test_rain100l_shows_eight_scenes_of_sirr(shared_data):
    """Theirs are a row and a column larger, so that no file and no array is the same."""
    strict = LabelledPairs(str(shared_data("rain100l")), leave_out=Scenes(str(shared_data("sirr"))))
    found = {*names(LabelledPairs(strict.root).all_pairs)} - {*names(strict.all_pairs)}
    assert found == {"020", "022", "029", "034", "040", "041", "048", "057"}


SCENES, VERSIONS = 20, 3


@pytest.fixture(scope="module")
def rain1400(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty scenes under three rains each, noise of 12 x 8 px."""
    root = tmp_path_factory.mktemp("rain1400")
    for scene in range(1, SCENES + 1):
        save(root / f"ground_truth/{scene}.png", noise(8, 12, scene) // 2)
        for version in range(1, VERSIONS + 1):
            save(root / f"rainy_image/{scene}_{version}.png", noise(8, 12, scene, version))
    return root


def scenes(pairs: list[Pair]) -> set[str]:
    return {pair.clean_path.stem for pair in pairs}


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_smaller_share_is_part_of_a_larger_one_and_the_rest_is_the_rest(rain1400, seed):
    pairs = find_pairs(rain1400, "root")
    before: set[str] = set()
    for share, count in ((0.01, 1), (0.1, 2), (0.2, 4), (0.4, 8), (0.6, 12), (0.99, 20), (1, 20), (None, 20)):
        labelled, rest = limited(pairs, share, seed)
        assert len(scenes(labelled)) == count
        assert len(labelled) == count * VERSIONS  # all versions of a scene are on one side
        assert before <= {*names(labelled)}
        assert sorted([*labelled, *rest]) == pairs
        assert not scenes(labelled) & scenes(rest)
        before = {*names(labelled)}


def test_the_order_is_that_of_a_hash_of_the_clean_files(rain1400):
    labelled, _ = limited(find_pairs(rain1400, "root"), 0.2, seed=3)
    files = sorted((rain1400 / "ground_truth").iterdir())
    digest = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    ranked = sorted(digest, key=lambda stem: hashlib.sha256(f"3:{digest[stem]}".encode()).digest())
    assert scenes(labelled) == set(ranked[:4])
    assert scenes(limited(find_pairs(rain1400, "root"), 0.2, seed=4)[0]) != set(ranked[:4])


def test_neither_names_nor_order_nor_place_count(rain1400, tmp_path):
    for folder in ("rainy_image", "ground_truth"):
        (tmp_path / folder).mkdir()
        for path in (rain1400 / folder).iterdir():
            scene, *version = path.stem.split("_")
            renamed = "_".join([str(100 - int(scene)), *version])
            shutil.copy(path, tmp_path / folder / f"{renamed}.png")
    here, there = find_pairs(rain1400, "root"), find_pairs(tmp_path, "root")
    expected = {str(100 - int(scene)) for scene in scenes(limited(here, 0.4, 0)[0])}
    assert scenes(limited(there, 0.4, 0)[0]) == expected
    assert {*names(limited(here[::-1], 0.4, 0)[0])} == {*names(limited(here, 0.4, 0)[0])}


def test_side_by_side_images_of_one_scene_stay_together(tmp_path):
    """Their files differ; what decides is the clean half."""
    for scene in range(6):
        for version in (1, 2):
            save(tmp_path / f"{scene}_{version}.png", np.hstack([noise(8, 12, scene, version), noise(8, 12, scene)]))
    labelled, rest = limited(find_pairs(tmp_path, "root", "side_by_side"), 0.5, 0)
    assert [len(labelled), len(rest)] == [6, 6]
    assert not {name.split("_")[0] for name in names(labelled)} & {name.split("_")[0] for name in names(rest)}


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(SlackoffError, match=r"^labelled\.share=\S+ is no share: give a number above 0 and up to 1"):
        limited([], share, 0)
    with pytest.raises(SlackoffError, match=r"^labelled\.share="):
        LabelledPairs("anywhere", share=share)


def test_pairs_smaller_than_a_patch_are_named(rain1400):
    folder = LabelledPairs(str(rain1400), share=0.1)
    folder.check(8)
    message = r"10_1\.png \(12 x 8 px\) is smaller than a patch, background\.patch_size_px=9: .*60 of 60 images are too"
    with pytest.raises(SlackoffError, match=message):
        folder.check(9)


def test_the_digest_follows_every_file_and_not_the_share(rain1400, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(rain1400, moved)
    first = LabelledPairs(str(rain1400)).fingerprint()
    assert LabelledPairs(str(moved), share=0.1, seed=4).fingerprint() == first
    save(moved / "ground_truth/3.png", grey(0))
    assert LabelledPairs(str(moved)).fingerprint() != first


def test_pairs_of_which_others_are_tested_on_are_taken_by_their_numbers(rain1400):
    some = LabelledPairs(str(rain1400), numbers=[4, 9])
    assert names(some.all_pairs) == ["2_1", "2_2", "2_3", "3_1", "3_2", "3_3"]
    assert some.fingerprint() != LabelledPairs(str(rain1400)).fingerprint()


NAMES = ["top_left", "top_right", "bottom_left", "bottom_right", "centre"]


def cut(image: np.ndarray, crop: CropPlace, side: int) -> np.ndarray:
    square = image[crop.top : crop.top + side, crop.left : crop.left + side]
    return square[:, ::-1] if crop.mirrored else square


@pytest.mark.parametrize(
    ("height", "width", "side"), [(321, 481, 224), (481, 321, 224), (320, 480, 224), (7, 10, 4), (5, 5, 5)]
)
def test_ten_crops_are_five_of_the_image_and_five_of_its_mirror_image(height, width, side):
    """The crops of the mirrored image are cut from it here, and not mirrored afterwards."""
    image = np.arange(height * width).reshape(height, width)
    crops = five_crops(height, width, side)
    assert [crop.name for crop in crops] == NAMES + [f"mirrored_{name}" for name in NAMES]
    for picture, five in ((image, crops[:5]), (image[:, ::-1], crops[5:])):
        top, left = round((height - side) / 2), round((width - side) / 2)
        expected = [
            picture[:side, :side],
            picture[:side, -side:],
            picture[-side:, :side],
            picture[-side:, -side:],
            picture[top : top + side, left : left + side],
        ]
        for crop, square in zip(five, expected, strict=True):
            np.testing.assert_array_equal(cut(image, crop, side), square)


def test_the_centre_of_a_berkeley_photo_begins_at_48_and_128():
    """(321 - 224) / 2 = 48.5 and (481 - 224) / 2 = 128.5, rounded to even."""
    centre, mirrored = (five_crops(321, 481, 224)[number] for number in (4, 9))
    assert centre == ("centre", 48, 128, False)
    assert mirrored == ("mirrored_centre", 48, 129, True)  # 129 from the left is 128 from the right


def test_how_many_training_images_one_makes():
    for mirror, count in ((True, 10), (False, 5)):
        assert crops_per_image("five", mirror) == len(five_crops(9, 9, 5, mirror)) == count
        assert crops_per_image("random", mirror) == 1
