"""A packed record that may come from anybody: what it may hold, and what it is refused for before anything is read."""

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from slackoff.errors import SlackoffError
from slackoff.record.archive import MANIFEST, VERSION, Archive, row_digests, write_archive

STUDY = "studies/s-1/study.json"
STATUS = "cells/abc/status.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small one: a study, and two pictures of the same bytes."""
    found = tmp_path / "record.zip"
    pictures = {f"cells/{cell}/pictures/set/a/rainy.png": b"pixels" for cell in ("abc", "def")}
    write_archive(found, {STUDY: b"{}", STATUS: b"{}\n", **pictures}, ["s-1"])
    return found


def refused(path: Path) -> str:
    with pytest.raises(SlackoffError) as error:
        Archive(path)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def rewrite(path: Path, change: Callable[[dict[str, bytes], dict], object]) -> Path:  # type: ignore[type-arg]
    """Change members and manifest."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(members, manifest)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*members.items(), (MANIFEST, json.dumps(manifest).encode())]:
            archive.writestr(name, content)
    return path


def entry(content: bytes, **more: object) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "same_as": None, **more}


def test_a_file_is_the_same_for_the_same_record_and_equal_files_are_stored_once(path: Path, tmp_path: Path):
    with Archive(path) as archive:
        assert archive.cells == ["abc", "def"]
        assert archive.read(STATUS) == b"{}\n"
        assert archive.read("cells/def/pictures/set/a/rainy.png") == b"pixels"
        assert archive.extract(tmp_path / "out", (".json",)) == []
        assert archive.digest == hashlib.sha256(zipfile.ZipFile(path).read(MANIFEST)).hexdigest()
    assert sorted(p.relative_to(tmp_path / "out").parts[1] for p in (tmp_path / "out").rglob("*.png")) == ["abc", "def"]
    infos = zipfile.ZipFile(path).infolist()
    assert sum(info.filename.endswith(".png") for info in infos) == 1
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    again = tmp_path / "again.zip"
    (tmp_path / "study").write_bytes(b"{}")
    pictures = {f"cells/{cell}/pictures/set/a/rainy.png": b"pixels" for cell in ("def", "abc")}
    write_archive(again, {**pictures, STATUS: b"{}\n", STUDY: tmp_path / "study"}, ["s-1"])
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/etc/cron.d/x",
        "cells/../../escaped/status.json",
        "cells/abc/../../status.json",
        "cells/abc\\..\\status.json",
        "C:/x/status.json",
        "cells/abc/sitecustomize.py",
        "cells/abc/attempts/0001.json",
        "cells/.abc/status.json",
        "cells/abc/pictures/../set/rainy.png",
        "cells/abc/pictures/set/../rainy.png",
        "studies/../study.json",
        "studies/s-1/tables/../../x.csv",
        "studies/s-1/index.html",
        "slurm/result.pkl",
        "cells/abc/status.json\n",
        "cells/abc/",
    ],
)
def test_no_member_leads_anywhere_else(name: str, path: Path, tmp_path: Path):
    content = path.read_bytes()
    assert "is no file of a record" in refused(rewrite(path, lambda members, _: members.update({name: b"x"})))
    path.write_bytes(content)  # by the manifest alone, as another name of a file that is there
    stand_in = entry(b"{}\n", same_as=STATUS)
    assert "is no file of a record" in refused(rewrite(path, lambda _, m: m["files"].update({name: stand_in})))
    with pytest.raises(SlackoffError, match="cannot be packed"):
        write_archive(path, {name: b"x"}, [])
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_folders_are_refused(path: Path):
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("cells/abc/images.parquet")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/home/somebody/.ssh/id_rsa")
    assert "images.parquet is no plain file" in refused(path)


def test_a_packed_record_is_no_larger_than_it_looks(path: Path, tmp_path: Path):
    content = path.read_bytes()
    bomb = bytes(80 << 20)

    def inflate(members: dict[str, bytes], manifest: dict[str, dict[str, object]]) -> None:
        members["cells/abc/steps.jsonl"] = bomb
        manifest["files"]["cells/abc/steps.jsonl"] = entry(bomb)

    assert "would take 0.1 GB unpacked" in refused(rewrite(path, inflate))
    assert path.stat().st_size < 200_000

    path.write_bytes(content)
    big = bytes(8 << 20)

    def repeat(members: dict[str, bytes], manifest: dict[str, dict[str, object]]) -> None:
        members["cells/abc/steps.jsonl"] = big
        manifest["files"]["cells/abc/steps.jsonl"] = entry(big)
        for number in range(300):
            manifest["files"][f"cells/x{number}/steps.jsonl"] = entry(big, same_as="cells/abc/steps.jsonl")

    assert "would take 2.5 GB unpacked" in refused(rewrite(path, repeat))

    path.write_bytes(content)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(STATUS, b"{}")
    assert "members overlap or stand in it twice" in refused(path)


def test_a_size_that_is_a_lie_is_a_damaged_member(path: Path, tmp_path: Path):
    """No more is unpacked than the sizes that were added up."""
    big = b"x" * 100_000
    write_archive(path, {STUDY: b"{}", "cells/abc/steps.jsonl": big}, ["s-1"])
    content = path.read_bytes()
    lie = content.replace(struct.pack("<L", len(big)), struct.pack("<L", 7))
    path.write_bytes(lie.replace(b'"bytes": 100000', b'"bytes": 7'))
    manifest = rewrite_size(path, lie)
    with Archive(manifest) as archive, pytest.raises(SlackoffError, match=r"steps\.jsonl: Bad CRC-32"):
        archive.extract(tmp_path / "out")
    assert (tmp_path / "out/cells/abc/steps.jsonl").stat().st_size <= 7


def rewrite_size(path: Path, lie: bytes) -> Path:
    """The archive with the lie in the member's headers, and a manifest that repeats it."""
    path.write_bytes(lie)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read(MANIFEST))
    manifest["files"]["cells/abc/steps.jsonl"]["bytes"] = 7
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist = [info for info in archive.filelist if info.filename != MANIFEST]
        del archive.NameToInfo[MANIFEST]
        archive.writestr(MANIFEST, json.dumps(manifest))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _, manifest: manifest.update(version=VERSION + 1), "update slackoff"),
        (lambda _, manifest: manifest.update(format="another"), "manifest.json of"),
        (lambda _, manifest: manifest.pop("files"), "files: Field required"),
        (lambda _, manifest: manifest.update(studies=["other"]), "the study 'other' is not in it"),
        (lambda members, _: members.pop(STATUS), "cells/abc/status.json stands in the zip or in its manifest alone"),
        (lambda members, _: members.update({STATUS: b"{ }\n"}), "another size than its manifest says"),
        (lambda _, manifest: manifest["files"][STATUS].update(sha256="x"), "sha256"),
        (lambda _, manifest: manifest["files"][STATUS].update(same_as=STATUS), "in its manifest alone"),
        (lambda _, manifest: manifest["files"][STATUS].update(bytes=-1), "bytes"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_sentence(
    path: Path, change: Callable[[dict[str, bytes], dict[str, object]], object], words: str
):
    assert words in refused(rewrite(path, change))


def test_a_damaged_file_is_one_sentence(path: Path, tmp_path: Path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert "or it is damaged" in refused(path)
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    assert "it has no manifest.json" in refused(path)
    (tmp_path / "text.zip").write_text("hello")
    assert "is no record that slackoff pack wrote" in refused(tmp_path / "text.zip")
    assert "There is no file" in refused(tmp_path / "none.zip")
    place = whole.index(b"pixels")
    path.write_bytes(whole[:place] + b"PIXELS" + whole[place + 6 :])
    with Archive(path) as archive, pytest.raises(SlackoffError, match="Bad CRC-32"):
        archive.extract(tmp_path / "out")


def test_other_bytes_than_the_manifest_says_are_named(path: Path, tmp_path: Path):
    rewrite(path, lambda members, _: members.update({STATUS: b"{}\t"}))
    with Archive(path) as archive:
        assert archive.extract(tmp_path / "out") == [STATUS]


def test_the_digest_of_a_row_is_of_all_its_values():
    table = pa.table({"test_set": ["a", "a"], "image": ["1", "2"], "e_r": [1.0, None]})
    digests = row_digests(table)
    text = json.dumps({"e_r": 1.0, "image": "1", "test_set": "a"}, sort_keys=True)
    assert digests["a"]["1"] == hashlib.sha256(text.encode()).hexdigest()[:16]
    nearly = table.set_column(2, "e_r", pa.array([1.0000000000000002, None]))
    assert row_digests(nearly)["a"]["1"] != digests["a"]["1"]
    assert row_digests(nearly)["a"]["2"] == digests["a"]["2"]
