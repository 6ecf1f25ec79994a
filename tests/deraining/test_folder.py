"""Which result goes where, and what is refused before anything starts."""

from pathlib import Path

import pytest

from slackoff.deraining.photos import natural, plan_jobs
from slackoff.errors import SlackoffError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch) -> Path:
    """a.png, b.JPG, notes.txt, a hidden one, and frames in a folder below."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "video").mkdir(parents=True)
    for name in ("a.png", "b.JPG", "notes.txt", ".hidden.png", *(f"video/frame{i}.png" for i in (1, 2, 10))):
        (folder / name).touch()
    return Path("photos")


def planned(*arguments, **options) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in plan_jobs(*arguments, **options).jobs}


def test_folders_keep_their_structure_and_frames_their_order(photos):
    found = planned([photos], Path("out"))
    frames = [f"video/frame{i}.png" for i in (1, 2, 10)]
    names = ["a.png", "b.JPG", *frames]
    assert found == {f"photos/{name}": f"out/{name}" for name in names}
    assert list(found) == [f"photos/{name}" for name in names]


def test_frames_are_in_the_order_of_their_numbers():
    names = ["f10.png", "f9.png", "f009b.png", "2/f1.png", "10/f1.png", "f.png"]
    assert sorted(names, key=natural) == ["2/f1.png", "10/f1.png", "f9.png", "f009b.png", "f10.png", "f.png"]


def test_files_go_to_a_folder_or_to_a_name(photos):
    assert planned([photos / "a.png"], Path("out")) == {"photos/a.png": "out/a.png"}
    assert planned([photos / "a.png"], Path("clean.jpg")) == {"photos/a.png": "clean.jpg"}
    assert planned([photos / "a.png", photos / "b.JPG"], Path("out.png")) == {
        "photos/a.png": "out.png/a.png",
        "photos/b.JPG": "out.png/b.JPG",
    }


@pytest.mark.parametrize(
    ("name", "ending", "target"),
    [
        ("a.png", "jpg", "a.jpg"),
        ("b.JPG", "jpg", "b.JPG"),
        ("b.JPG", "png", "b.png"),
        ("notes.txt", "keep", "notes.txt.png"),
        ("notes.txt", "jpg", "notes.txt.jpg"),
    ],
)
def test_formats(name, ending, target, photos):
    assert planned([photos / name], Path("out"), ending=ending) == {f"photos/{name}": f"out/{target}"}


def test_an_output_inside_the_input_is_no_input(photos):
    (photos / "derained").mkdir()
    (photos / "derained" / "a.png").touch()
    (photos / "sheet.png").touch()
    found = planned([photos], photos / "derained", left_out=[photos / "sheet.png"])
    assert len(found) == 5
    assert found["photos/a.png"] == "photos/derained/a.png"


def test_an_input_inside_the_output_is_fine_unless_it_would_be_overwritten(photos):
    assert planned([photos], Path())["photos/a.png"] == "a.png"
    with pytest.raises(SlackoffError, match="the input itself"):
        plan_jobs([photos], photos)
    with pytest.raises(SlackoffError, match=r"photos/a\.png is an input"):
        plan_jobs([photos / "a.png"], photos)
    Path("frame1.png").touch()
    with pytest.raises(SlackoffError, match=r"frame1\.png is an input"):
        plan_jobs([photos / "video", Path("frame1.png")], Path())


def test_two_results_of_one_name_are_refused(photos):
    (photos / "a.jpg").touch()
    with pytest.raises(SlackoffError, match=r"a\.jpg and photos/a\.png would both be written to out/a\.png"):
        plan_jobs([photos], Path("out"), ending="png")
    Path("other").mkdir()
    Path("other/a.png").touch()
    with pytest.raises(SlackoffError, match=r"photos/a\.png and other/a\.png would both"):
        plan_jobs([photos, Path("other")], Path("out"))


def test_the_same_photo_twice_is_one_job(photos):
    assert list(planned([photos / "a.png", photos / "a.png"], Path("out"))) == ["photos/a.png"]
    assert len(plan_jobs([photos / "a.png", photos], Path("out")).jobs) == 5


def test_links_in_circles_end(photos):
    (photos / "video" / "again").symlink_to(photos.resolve(), target_is_directory=True)
    assert len(planned([photos], Path("out"))) == 5


def test_a_folder_that_cannot_be_listed_is_a_failure_and_the_others_go_on(photos, monkeypatch):
    from slackoff.deraining import photos as folder

    listed = folder.visible_entries

    def refuse(path, key):
        if path.name == "video":
            raise SlackoffError(f"{key}: the folder {path} cannot be listed (Permission denied)")
        return listed(path, key)

    monkeypatch.setattr(folder, "visible_entries", refuse)
    plan = plan_jobs([photos], Path("out"))
    assert [job.source.name for job in plan.jobs] == ["a.png", "b.JPG"]
    assert len(plan.failures) == 1
    assert "photos/video cannot be listed" in plan.failures[0]


@pytest.mark.parametrize(
    ("inputs", "out", "options", "sentence"),
    [
        (["nowhere.png"], "out", {}, r"nowhere\.png is not there"),
        (["photos"], "photos/a.png", {}, "is a file: name a folder"),
        (["empty"], "out", {}, "empty: there is no photo"),
        (["photos/a.png"], "clean.jpg", {"ending": "png"}, "contradict each other"),
    ],
)
def test_mistakes(inputs, out, options, sentence, photos):
    Path("empty").mkdir()
    with pytest.raises(SlackoffError, match=sentence):
        plan_jobs([Path(name) for name in inputs], Path(out), **options)
