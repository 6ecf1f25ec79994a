"""Layouts of published releases, lists of pairs, two folders or patterns; refusals; and a survey of a set."""

from pathlib import Path

import numpy as np
import pytest

from pictures import noise, save
from slackoff.errors import SlackoffError
from slackoff.images import find_pairs
from slackoff.images.survey import contact_sheet, survey

KEY = "evaluation.root"


def draw(root: Path, rainy: list[str], clean: list[str]) -> None:
    for names, level in ((rainy, 90), (clean, 40)):
        for number, name in enumerate(names):
            save(root / name, np.full((8, 12, 3), level + number, np.uint8))


def found(root: Path, **given: str) -> dict[str, str]:
    pairs = find_pairs(None if given else root, KEY, **given)
    return {str(p.rainy_path.relative_to(root)): str(p.clean_path.relative_to(root)) for p in pairs}


FOLDERS = ["input target", "inputs targets", "in gt", "LQ GT", "LR HR", "data gt", "rainy clear", "hazy clear"]
FOLDERS += ["blur sharp", "Input GroundTruth"]
RELEASES = {
    **{pair: {f"{pair.split()[0]}/{n}.png": f"{pair.split()[1]}/{n}.png" for n in "ab"} for pair in FOLDERS},
    "new Rain100": {f"rain/X2/norain-{n}x2.png": f"norain/norain-{n}.png" for n in (1, 2, 12, 21)},
    "Outdoor-Rain": {
        f"in/im_{n:04}_s{s}_a0{a}.png": f"gt/im_{n:04}.png" for n in (1, 2) for s, a in ((80, 4), (85, 5), (95, 6))
    },
    "GT-RAIN": {
        f"{scene}/{scene}-Webcam-R-{n:03}.png": f"{scene}/{scene}-Webcam-C-000.png" for scene in "AB" for n in range(3)
    },
    "DeRaindrop": {f"data/{n}_rain.png": f"gt/{n}_clean.png" for n in (0, 1, 10)},
}
"""A release's name to its rainy files and the clean file of each."""


@pytest.mark.parametrize("release", RELEASES)
def test_the_pairs_of_a_release_are_found(tmp_path, release):
    expected = RELEASES[release]
    draw(tmp_path, list(expected), sorted(set(expected.values())))
    assert found(tmp_path) == expected


SPA = {"real_world/0001_0.png": "real_world_gt/0001.png", "real_world/0001_1.png": "real_world_gt/0001.png"}


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"/{r} /{c}\n" for r, c in SPA.items()),
        "".join(f"{r},{c}\n" for r, c in SPA.items()),
        "clean,rainy\n" + "".join(f"{c},{r}\n" for r, c in SPA.items()),
        "\ufeff# heading\r\n\r\n" + "".join(f"{r}\t{c}\r\n" for r, c in SPA.items()),
    ],
)
def test_a_list_names_the_pairs(tmp_path, text):
    draw(tmp_path, list(SPA), ["real_world_gt/0001.png"])
    (tmp_path / "real_world.txt").write_text(text, encoding="utf-8")
    assert found(tmp_path, pairs=str(tmp_path / "real_world.txt")) == SPA
    assert len(find_pairs(tmp_path / "real_world.txt", KEY)) == 2


def test_two_folders_and_two_patterns(tmp_path):
    rainds = {f"{kind}/{n}.png": f"gt/{n}.png" for kind in ("rainstreak", "raindrop") for n in "12"}
    draw(tmp_path, list(rainds), ["gt/1.png", "gt/2.png"])
    with pytest.raises(
        SlackoffError, match=r"holds raindrop/ and rainstreak/.*evaluation\.rainy=FOLDER evaluation\.cl"
    ):
        find_pairs(tmp_path, KEY)
    streaks = {rainy: clean for rainy, clean in rainds.items() if "streak" in rainy}
    assert found(tmp_path, rainy=f"{tmp_path}/rainstreak", clean=f"{tmp_path}/gt") == streaks
    assert found(tmp_path, rainy=f"{tmp_path}/{{kind}}/{{n}}.png", clean=f"{tmp_path}/gt/{{n}}.png").keys() > set(
        streaks
    )
    scenes = {f"s{s}/wet{n}.png": f"s{s}/dry.png" for s in (1, 2) for n in (3, 4)}
    draw(tmp_path / "x", list(scenes), ["s1/dry.png", "s2/dry.png"])
    patterns = {"rainy": f"{tmp_path}/x/{{scene}}/wet{{n}}.png", "clean": f"{tmp_path}/x/{{scene}}/dry.png"}
    assert found(tmp_path / "x", **patterns) == scenes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rainy": "{root}/a"}, "evaluation.rainy is given without evaluation.clean: give both"),
        ({"rainy": "{root}/a", "clean": "{root}/b", "pairs": "x"}, "in two ways, by rainy and clean and by pairs"),
        ({"rainy": "{root}/a/{{n}}.png", "clean": "{root}/b/{{m}}.png"}, "no placeholder in common"),
        ({"rainy": "{root}/a/{{n}}.jpg", "clean": "{root}/b/{{n}}.png"}, "no image below {root}/a fits that pattern"),
        ({"rainy": "{root}/a/{{n}}.png", "clean": "{root}/b/{{n}}.png"}, "b/3.png in evaluation has no partner"),
        ({"pairs": "{root}/list.txt"}, "missing.png, in line 2 of {root}/list.txt, is no file"),
        ({"pairs": "{root}/one.csv"}, "Line 1 of {root}/one.csv (evaluation.pairs) does not hold two paths"),
        ({"pairs": "{root}/none.csv"}, "cannot be read as a list of pairs (No such file or directory)"),
        ({"pairs": "{root}/empty.csv"}, "lists no pair"),
    ],
)
def test_what_does_not_make_pairs_is_named(tmp_path, given, words):
    draw(tmp_path, ["a/1.png"], ["b/1.png", "b/3.png"])
    (tmp_path / "list.txt").write_text("a/1.png b/1.png\na/missing.png b/1.png\n")
    (tmp_path / "one.csv").write_text("a/1.png\n")
    (tmp_path / "empty.csv").write_text("\n")
    with pytest.raises(SlackoffError) as raised:
        find_pairs(None, KEY, **{name: value.format(root=tmp_path) for name, value in given.items()})
    assert words.format(root=tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["train/LQ/1.png", "train/GT/1.png"], ["but train/.", "train has such folders"]),
        (
            ["wet/1.png", "dry/1.png", "pairs.txt"],
            ["but dry/, wet/, pairs.txt", "pairs.txt may be such a list", "hazy"],
        ),
        (["a/a-R-000.png"], ["has 1 rainy images (-R-) and 0 clean ones (-C-)"]),
    ],
)
def test_a_refusal_says_what_is_there_and_what_would_do(tmp_path, files, words):
    draw(tmp_path, [name for name in files if name.endswith("png")], [])
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(SlackoffError) as raised:
        find_pairs(tmp_path, KEY)
    assert all(word in str(raised.value) for word in words)


def test_a_survey_counts_what_was_made(tmp_path):
    """Four pairs: two have the same clean bytes, one is darker, one shows a scene of the other set."""
    for number in range(4):
        scene = noise(40, 60, number % 3) // 2
        save(tmp_path / f"a/gt/{number}.png", scene)
        save(tmp_path / f"a/lq/{number}.png", scene + 30 if number else scene // 2)
    save(tmp_path / "b/gt/x.png", noise(40, 60, 1) // 2)
    save(tmp_path / "b/lq/x.png", noise(40, 60, 1) // 2 + 50)
    pairs, others = (find_pairs(tmp_path / name, KEY, darker_rain=True) for name in "ab")
    seen = survey(pairs, {"b": others})
    assert (seen.pairs, seen.clean_files, seen.sizes, seen.darker) == (4, 4, {(40, 60): 4}, 1)
    assert [[path.name for path in group] for group in seen.repeated] == [["0.png", "3.png"]]
    assert [pair.name for pair in seen.shared["b"]] == ["1"]
    text = "\n".join(seen.lines())
    assert "60 x 40 (4)" in text
    assert f"4 in {tmp_path}/a/lq" in text
    sheet = np.asarray(contact_sheet(pairs))
    assert sheet.shape == (4 * (40 + 20), 484, 3)
    assert np.array_equal(sheet[16:56, 244:304], noise(40, 60, 0) // 2)
