"""The pictures of a study: found by name, refused in one sentence."""

from pathlib import Path

import pytest
from study_pictures import picture

from slackoff.errors import SlackoffError
from slackoff.user_study.questionnaire import find_groups, image_names, named_folders


def refused(*arguments) -> str:
    with pytest.raises(SlackoffError) as error:
        find_groups(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_original_has_a_result_of_each_method(folders, tmp_path):
    groups = find_groups(tmp_path / "originals", folders)
    assert [group.image for group in groups] == [f"im{number}" for number in range(6)]
    assert groups[2].original == tmp_path / "originals" / "im2.png"
    assert groups[2].results == {name: tmp_path / name / "im2.png" for name in folders}
    assert image_names(tmp_path / "originals") == [group.image for group in groups]


def test_suffixes_may_differ_and_further_results_are_passed_over(folders, tmp_path):
    (tmp_path / "clean" / "im1.png").unlink()
    picture(tmp_path / "clean" / "im1.bmp", 3)
    picture(tmp_path / "clean" / "unknown.png", 3)
    groups = find_groups(tmp_path / "originals", folders)
    assert groups[1].results["clean"] == tmp_path / "clean" / "im1.bmp"
    assert len(groups) == 6


def test_a_cell_of_the_record_is_a_method_and_a_source_of_originals(tmp_path):
    for cell in ("one", "two"):
        for image in ("a", "b"):
            for kind in ("rainy", "background", "output"):
                picture(tmp_path / "cells" / cell / "pictures" / "set" / image / f"{kind}.png", 3)
    cells = {name: str(tmp_path / "cells" / name) for name in ("one", "two")}
    groups = find_groups(cells["one"], cells)
    assert [group.image for group in groups] == ["a", "b"]
    assert groups[0].original == tmp_path / "cells/one/pictures/set/a/rainy.png"
    assert groups[1].results["two"] == tmp_path / "cells/two/pictures/set/b/output.png"


def test_images_of_the_same_name_from_two_test_sets_of_a_cell_are_told_apart(tmp_path):
    for cell in ("one", "two"):
        for place in ("first/a", "second/a", "second/b"):
            for kind in ("rainy", "background", "output"):
                picture(tmp_path / cell / "pictures" / place / f"{kind}.png", 3)
    groups = find_groups(str(tmp_path / "one"), {name: str(tmp_path / name) for name in ("one", "two")})
    assert [group.image for group in groups] == ["first/a", "second/a", "b"]
    assert groups[1].results["two"] == tmp_path / "two/pictures/second/a/output.png"


def test_a_missing_result_is_refused_by_name(folders, tmp_path):
    (tmp_path / "blurred" / "im4.png").unlink()
    sentence = refused(tmp_path / "originals", folders)
    assert sentence.startswith(
        f"{tmp_path}/blurred, the folder of the method blurred, has no picture of the image im4:"
    )
    (tmp_path / "blurred" / "im1.png").unlink()
    assert "of the image im1 (nor of 1 others)" in refused(tmp_path / "originals", folders)


def test_a_result_of_another_size_is_refused(folders, tmp_path):
    picture(tmp_path / "clean" / "im5.png", 9, height=9)
    sentence = refused(tmp_path / "originals", folders)
    assert f"{tmp_path}/clean/im5.png has 12 x 9 px" in sentence
    assert f"{tmp_path}/originals/im5.png has 12 x 8 px" in sentence


def test_folders_that_are_no_use_are_refused(folders, tmp_path):
    assert "--images=" in refused(tmp_path / "nowhere", folders)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"--method clean={empty} holds no picture" in refused(
        tmp_path / "originals", folders | {"clean": str(empty)}
    )
    picture(tmp_path / "originals" / "im1.bmp", 3)
    assert "have the same name" in refused(tmp_path / "originals", folders)
    (tmp_path / "originals" / "im1.bmp").write_text("no picture")
    (tmp_path / "originals" / "im1.png").unlink()
    assert f"{tmp_path}/originals/im1.bmp is not a readable" in refused(tmp_path / "originals", folders)


def test_methods_are_named_folders():
    assert named_folders(["a=x/y", " b = z=1 "]) == {"a": "x/y", "b": "z=1"}


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (["a", "b=x"], "--method a is not of the form NAME=FOLDER"),
        (["=x", "b=x"], "is not of the form"),
        (["a=", "b=x"], "is not of the form"),
        (["a|b=x", "b=x"], "must not contain '|'"),
        (["a=x", "a=y"], "--method a=... is given twice"),
        (["a=x"], "two or more methods, not 1"),
        ([], "two or more methods, not 0"),
    ],
)
def test_methods_of_another_form_are_refused(methods, words):
    with pytest.raises(SlackoffError) as error:
        named_folders(methods)
    assert words in str(error.value)


def test_a_folder_of_pictures_may_hold_further_folders(folders, tmp_path):
    (Path(folders["clean"]) / "notes").mkdir()
    assert len(find_groups(tmp_path / "originals", folders)) == 6
