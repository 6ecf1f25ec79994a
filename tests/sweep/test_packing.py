"""Records that travel: a study in one file, merged elsewhere, verified, and half a sweep that goes on elsewhere."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console
from safetensors.torch import load_file

from slackoff.analysis import load
from slackoff.cell.callbacks import StopRequest
from slackoff.cell.launch import CellExit
from slackoff.errors import SlackoffError
from slackoff.record.archive import Archive
from slackoff.record.ledger import HeartbeatMonitor, claim, end_attempt
from slackoff.sweep.backend import Resources, Slot
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.expand import resolved
from slackoff.sweep.local import LocalBackend
from slackoff.sweep.manifest import Job
from slackoff.sweep.packing import pack, unpack
from slackoff.sweep.plan import Cell, plan
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.sweep.study import _write_study, run_jobs
from slackoff.sweep.verify import verify
from train_here import measures, train_here, written
from verbs import call, mistake

Cells = list[Cell]
COUNTS = (4, 8)


@pytest.fixture(scope="module")
def record(once: Callable[[str, Callable[[Path], None]], Path], conf: Path) -> Path:
    """Two trained cells of a study of smoke size, and their study: the folder above ``runs``."""
    from hydra import compose, initialize_config_dir

    def train(folder: Path) -> None:
        jobs = [[f"background.patch_count={count}"] for count in COUNTS]
        fixed = ["+experiment=patchcount", "size=smoke", f"runs={folder}/runs", "trainer.precision=32-true"]
        fixed += ["logger.wandb=false", "evaluation.count=6", "schedule.steps=4", "schedule.evaluate_every=4"]
        with initialize_config_dir(str(conf), version_base="1.3"):
            cells = plan([compose("config", [*fixed, *job]) for job in jobs], jobs)
        for cell in cells:
            prepare(cell, HeartbeatMonitor())
            assert train_here(cell.folder) == CellExit.DONE
        _write_study(cells)

    return once("packed_record", train)


@pytest.fixture
def runs(record: Path, tmp_path: Path) -> Path:
    """A copy of that record, to change."""
    shutil.copytree(record / "runs", tmp_path / "a")
    return tmp_path / "a"


@pytest.fixture
def packed(runs: Path, tmp_path: Path) -> Path:
    pack([study_of(runs)], runs, tmp_path / "packed.zip", weights=True)
    return tmp_path / "packed.zip"


def study_of(runs: Path) -> str:
    (folder,) = (runs / "studies").iterdir()
    return folder.name


def cells_of(runs: Path) -> list[Path]:
    return sorted((runs / "cells").iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object], honest: bool = True) -> Path:
    """Change the members of a packed record; ``honest``: its manifest says what they are now."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if honest:
        manifest = json.loads(members["manifest.json"])
        for name, content in members.items():
            if name in manifest["files"]:
                known = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                manifest["files"][name] |= known
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def change_rows(name: str, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        frame = pd.read_parquet(BytesIO(members[name]))
        changed = change(frame)
        members[name] = (frame if changed is None else changed).to_parquet()

    return apply


def lower_e_r(frame: pd.DataFrame) -> None:
    frame.loc[2, "e_r"] -= 10


# Packing and unpacking.


def test_what_is_unpacked_is_what_was_packed_byte_for_byte(runs: Path, packed: Path, tmp_path: Path):
    merged = unpack(packed, tmp_path / "b")
    assert len(merged.new) == 2
    ours, theirs = contents(runs), contents(tmp_path / "b")
    assert {name: ours[name] for name in theirs} == theirs
    assert {name.split("/", 2)[2] for name in theirs if name.startswith("cells")} >= {
        "config.yaml",
        "identity.json",
        "status.json",
        "environment.json",
        "images.parquet",
        "steps.parquet",
        "network.safetensors",
    }
    assert [name for name in theirs if name.endswith("output.png")] != []
    assert not any("attempts" in name or "checkpoints" in name for name in theirs)
    assert [path.name for path in (tmp_path / "b").iterdir()] in (["cells", "studies"], ["studies", "cells"])
    again = pack([study_of(runs)], tmp_path / "b", tmp_path / "again.zip", weights=True)
    assert again.path.read_bytes() == packed.read_bytes()


def test_equal_files_and_cells_of_two_studies_travel_once(runs: Path, tmp_path: Path):
    first = runs / "studies" / study_of(runs)
    second = first.with_name("second-one")
    shutil.copytree(first, second)
    study = json.loads((second / "study.json").read_text())
    study["cells"] = study["cells"][:1]
    (second / "study.json").write_text(json.dumps(study))
    both = pack([first.name, "second-one"], runs, tmp_path / "both.zip")
    assert (len(both.done), both.unfinished, both.missing, both.troubles) == (2, [], [], [])
    with zipfile.ZipFile(both.path) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert sum(name.endswith("images.parquet") for name in names) == 2
    assert [name.rpartition("/")[2] for name in names if name.endswith(".png")].count("rainy.png") == 1
    assert [name.rpartition("/")[2] for name in names if name.endswith(".png")].count("output.png") == 2
    unpack(both.path, tmp_path / "b")
    assert len(cells_of(tmp_path / "b")) == len(list((tmp_path / "b/studies").iterdir())) == 2
    assert len(list((tmp_path / "b").glob("cells/*/pictures/*/*/rainy.png"))) == 2
    assert verify(both.path, data=False).wrong == []
    assert len(load(both.path / "second-one").cells) == 1
    with pytest.raises(SlackoffError, match="holds the studies"):
        load(both.path)


def test_nothing_is_written_twice_and_what_is_here_is_kept(packed: Path, tmp_path: Path):
    unpack(packed, tmp_path / "b")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*") if path.is_file()}
    merged = unpack(packed, tmp_path / "b")
    assert (merged.new, merged.replaced, len(merged.there), merged.kept, merged.said) == ([], [], 2, [], [])
    assert {path: path.stat().st_mtime_ns for path in before} == before

    first, second = cells_of(tmp_path / "b")
    (first / "network.safetensors").unlink()
    frame = pd.read_parquet(second / "images.parquet")
    frame["e_b"] += 0.5
    frame.to_parquet(second / "images.parquet")
    (study,) = (tmp_path / "b/studies").glob("*/study.json")
    study.write_text(study.read_text().replace('"How many backgrounds?"', '"Mine"'))
    merged = unpack(packed, tmp_path / "b")
    assert (merged.there, merged.kept) == ([first.name], [second.name])
    assert f"The cell {second.name} is here with other results, which are kept: 6 of 6 rows" in merged.said[0]
    assert "e_b by up to 0.5" in merged.said[0]
    assert "is here already and is kept: title differ" in merged.said[1]
    assert (first / "network.safetensors").exists()  # what was lacking came with it
    pd.testing.assert_frame_equal(pd.read_parquet(second / "images.parquet"), frame)


def test_a_file_loads_without_being_unpacked_among_the_records(runs: Path, packed: Path, tmp_path: Path):
    ours, theirs = load(study_of(runs), runs), load(packed)
    pd.testing.assert_frame_equal(theirs.images, ours.images)
    pd.testing.assert_frame_equal(theirs.steps, ours.steps)
    pd.testing.assert_frame_equal(theirs.cells, ours.cells)
    assert load(packed).study.folder == theirs.study.folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "packed.zip"]


# Half a sweep that goes on elsewhere.


def test_half_a_sweep_goes_on_elsewhere_bit_for_bit(
    runs: Path, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One cell is done, one is at its first checkpoint, and its process lives while it is packed."""
    stopped, done = cells_of(runs)
    undisturbed = {path.name: path for path in cells_of(record / "runs")}[stopped.name]
    shutil.rmtree(stopped)
    status = written(undisturbed)
    config = (undisturbed / "config.yaml").read_text().replace(str(record / "runs"), str(runs))
    stopped.mkdir()
    for name in ("identity.json", "environment.json"):
        shutil.copy(undisturbed / name, stopped / name)
    (stopped / "config.yaml").write_text(config)
    status.state, status.step, status.attempts, status.finished_at = "pending", 0, 0, None
    status.write(stopped)
    monkeypatch.setattr(StopRequest, "_all_agree", lambda self, trainer: trainer.global_step == 2)
    assert train_here(stopped) == CellExit.INTERRUPTED
    monkeypatch.undo()
    status = written(stopped)
    status.state = "running"
    status.write(stopped)
    attempt = claim(stopped)

    made = pack([study_of(runs)], runs, tmp_path / "half.zip", checkpoints=True)
    assert (made.done, made.unfinished) == ([done.name], [stopped.name])
    merged = unpack(made.path, tmp_path / "b")
    assert set(merged.new) == {stopped.name, done.name}
    there = tmp_path / "b" / "cells" / stopped.name
    assert written(there).state == "interrupted"
    assert torch.load(there / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert train_here(there) == CellExit.DONE
    weights, again = (load_file(folder / "network.safetensors") for folder in (undisturbed, there))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert measures(there) == measures(undisturbed)

    back = pack([study_of(runs)], tmp_path / "b", tmp_path / "whole.zip")
    assert unpack(back.path, runs).said == [f"The cell {stopped.name} is being trained here: it is left alone"]
    end_attempt(attempt, "interrupted")
    merged = unpack(back.path, runs)
    assert (merged.replaced, merged.there, merged.kept) == ([stopped.name], [done.name], [])
    assert written(stopped).state == "done"
    assert unpack(made.path, runs).kept == [stopped.name]  # the older file takes nothing back
    assert written(stopped).state == "done"


def test_what_cannot_travel_is_said_and_left_out(runs: Path, tmp_path: Path):
    first, second = cells_of(runs)
    (first / "images.parquet").write_bytes(b"PAR1")
    (second / "status.json").unlink()
    made = pack([study_of(runs)], runs, tmp_path / "some.zip")
    assert (made.done, made.unfinished, made.missing) == ([], [], [second.name])
    (trouble,) = made.troubles
    assert f"The cell {first.name} is left out" in trouble
    assert "images.parquet cannot be read" in trouble
    secret = tmp_path / "secret"
    secret.write_text("{}")
    (second / "environment.json").unlink()
    (second / "environment.json").symlink_to(secret)
    shutil.copy(next(runs.glob("cells/*/status.json")), second / "status.json")
    status = written(second)
    status.id = second.name
    status.write(second)
    troubles = pack([study_of(runs)], runs, tmp_path / "some.zip").troubles
    assert any(
        f"The cell {second.name} is left out" in each and "is a link that leads out" in each for each in troubles
    )


# Verifying.


def test_what_was_not_changed_holds(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    found = verify(packed)
    assert found.wrong == []
    assert "12 rows of results are those that were packed" in found.held
    assert any("numbers of the tables and claims" in held for held in found.held)
    assert "background: the data of this machine have the same bytes (2 cells)" in found.held
    result = call("verify", packed, "--no-data")
    assert result.exit_code == 0
    assert found.digest in result.output
    assert len(found.digest) == 64


@pytest.mark.parametrize("honest", [False, True], ids=["manifest kept", "manifest changed too"])
def test_a_row_that_was_changed_is_named_and_what_follows_from_it(packed: Path, runs: Path, honest: bool):
    cell = cells_of(runs)[0].name
    image = pd.read_parquet(runs / "cells" / cell / "images.parquet")["image"][2]
    name = f"cells/{cell}/images.parquet"
    rewrite(packed, change_rows(name, lower_e_r), honest=True)
    if not honest:
        with Archive(packed) as archive:
            sha = archive.manifest.files[name].sha256
        rewrite(
            packed, lambda m: m.update({"manifest.json": m["manifest.json"].replace(sha.encode(), b"0" * 64)}), False
        )
    found = verify(packed, data=False)
    assert any(name in wrong and "changed after it was packed" in wrong for wrong in found.wrong) is not honest
    (row,) = (wrong for wrong in found.wrong if wrong.startswith("The row"))
    assert f"/{image} of the cell {cell} (" in row
    assert "was changed after packing (images.parquet)" in row
    assert any("tables/study.csv" in wrong and "e_r of patch_count" in wrong for wrong in found.wrong)
    assert any(wrong.startswith(f"The cell {cell}") and "logged a mean e_r" in wrong for wrong in found.wrong)
    assert not any("psnr" in wrong for wrong in found.wrong)
    result = call("verify", packed, "--no-data")
    assert result.exit_code == 10 + len(found.wrong)
    assert f"WRONG: {row}" in result.output


def test_rows_that_were_added_or_removed_are_named(packed: Path, runs: Path):
    one, other = (cell.name for cell in cells_of(runs))
    image = pd.read_parquet(runs / "cells" / one / "images.parquet")["image"][1]
    rewrite(
        packed, change_rows(f"cells/{one}/images.parquet", lambda frame: frame.drop(index=1).reset_index(drop=True))
    )
    add = lambda frame: pd.concat([frame, frame[:1].assign(image="new")], ignore_index=True)  # noqa: E731
    rewrite(packed, change_rows(f"cells/{other}/images.parquet", add))
    rows = [wrong for wrong in verify(packed, data=False).wrong if wrong.startswith("The row")]
    assert [f"/{image} of the cell {one}" in rows[0], "was removed" in rows[0]] == [True, True]
    assert [f"/new of the cell {other}" in rows[1], "was added" in rows[1]] == [True, True]


def test_stated_numbers_that_do_not_follow_from_the_rows_are_named(packed: Path, runs: Path):
    name = study_of(runs)

    def lie(members: dict[str, bytes]) -> None:
        path = f"studies/{name}/tables/study.csv"
        table = pd.read_csv(BytesIO(members[path]))
        table.loc[1, "psnr_rgb"] += 1e-6
        members[path] = table.to_csv(index=False).encode()
        claims = json.loads(members[f"studies/{name}/claims.json"])
        claims[0]["verdict"] = "contradicted"
        claims[0]["numbers"]["levels"][1]["mean"] = 12.5
        members[f"studies/{name}/claims.json"] = json.dumps(claims).encode()

    found = verify(rewrite(packed, lie), data=False)
    *claims, table = found.wrong
    assert table.startswith(
        f"tables/study.csv of the study {name}: psnr_rgb of patch_count 4, output network is stated as"
    )
    assert f"claims.json of the study {name}: verdict of e_r_falls is stated as contradicted" in claims[0]
    assert "numbers.levels.1.mean of e_r_falls is stated as 12.5, and its rows give" in claims[1]
    assert len(found.wrong) == 3


def test_axes_and_labels_are_those_of_the_configs(packed: Path, runs: Path):
    """Two cells that change places would change every conclusion, and no row."""
    name = study_of(runs)
    path = f"studies/{name}/study.json"

    def swap(members: dict[str, bytes]) -> None:
        study = json.loads(members[path])
        one, other = study["cells"]
        one["axes"], other["axes"] = other["axes"], one["axes"]
        members[path] = json.dumps(study).encode()

    wrong = verify(rewrite(packed, swap), data=False).wrong
    assert sum("says patch_count" in each and "whose config has" in each for each in wrong) == 2


def test_other_data_and_other_code_are_told_apart_from_the_same(packed: Path, monkeypatch: pytest.MonkeyPatch):
    from slackoff.images import BuiltinSource

    monkeypatch.setattr(BuiltinSource, "fingerprint", lambda self: "others")
    monkeypatch.setattr("slackoff.sweep.verify.code_of", lambda config: {"slackoff.networks.unet.UNet": "other"})
    found = verify(packed)
    assert found.wrong == []
    assert "background: the data of this machine have other bytes (2 cells)" in found.notes
    assert any("trained here they would be other cells" in note for note in found.notes)


# The verbs.


def test_the_verbs_say_what_they_did(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = call("pack", study_of(runs), "--runs", "a")
    assert result.exit_code == 0, result.output
    assert f"{study_of(runs)}.zip" in result.output
    assert "cells: 2 done" in result.output
    result = call("unpack", f"{study_of(runs)}.zip", "--runs", "b")
    assert "Cells: 2 new" in result.output
    assert f"python -m slackoff report {study_of(runs)} --runs b" in result.output
    assert "2 here already" in call("unpack", f"{study_of(runs)}.zip", "--runs", "b").output
    assert "slackoff unpack" in mistake("report", f"{study_of(runs)}.zip", "--runs", "b")
    assert "There is no study 'none'" in mistake("pack", "none", "--runs", "a")
    assert "Two of the studies have the name" in mistake("pack", study_of(runs), study_of(runs), "--runs", "a")
    (tmp_path / "thesis.zip").write_text("mine")
    assert "choose another place with --out" in mistake("pack", study_of(runs), "--runs", "a", "--out", "thesis.zip")
    assert (tmp_path / "thesis.zip").read_text() == "mine"
    assert "There is no folder nowhere" in mistake("pack", study_of(runs), "--runs", "a", "--out", "nowhere/x.zip")
    for verb in ("verify", "unpack"):
        assert "thesis.zip is no record that slackoff pack wrote" in mistake(verb, "thesis.zip")
        assert "There is no file none.zip" in mistake(verb, "none.zip")


def test_a_study_is_on_record_while_it_trains(composed: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch):
    """Else half a sweep could not be packed."""
    config = composed("+experiment=patchcount")
    runs = Path(config.runs)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slackoff.sweep.study.run_cells", stopped)
    here = Resources([Slot({}, "cpu 0")], LocalBackend, local=True)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([Job([])], [resolved(config)], here, PlannerProcess(), Console(quiet=True))
    assert json.loads((runs / "studies" / study_of(runs) / "study.json").read_text())["experiment"] == "patchcount"
    made = pack([study_of(runs)], runs, runs / "early.zip")
    assert (made.done, made.unfinished, len(made.missing)) == ([], [], 1)
    assert verify(made.path, data=False).wrong == []
