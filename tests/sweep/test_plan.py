"""Identity, axes and folders of cells."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from slackoff.analysis.study import find_study
from slackoff.config.checks import Checks
from slackoff.errors import SlackoffError
from slackoff.evaluation import PairFolder
from slackoff.record.status import Status
from slackoff.sweep.cell_folders import told_apart
from slackoff.sweep.display import status_table
from slackoff.sweep.expand import resolved
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.manifest import Row
from slackoff.sweep.plan import check_cells, plan
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.sweep.study import _write_study


def write_photos(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(4):
        pixels = generator.integers(0, 256, (140, 150, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_moved_folder_is_the_same_cell_and_a_changed_picture_another(planned, tmp_path):
    roots = [write_photos(tmp_path / "a"), write_photos(tmp_path / "b"), write_photos(tmp_path / "c", seed=1)]
    jobs = [["background=folder", f"background.root={root}", "background.held_out=1"] for root in roots]
    first, moved, changed = (planned(job)[0].id for job in jobs)
    assert first == moved != changed


NETWORKS = [["network=unet_tiny", "seed=0"], ["network=resnet_small", "seed=0"], ["network=unet_tiny", "seed=0"]]
PROTOCOLS = [["evaluation=rain100l", f"protocol@evaluation.protocol={choice}"] for choice in ("full_y", "slackoff_v1")]
TERMS = ("~task.terms", "+task.terms={pixel:{_target_:torch.nn.MSELoss},edge:{_target_:torch.nn.L1Loss}}")
WEIGHTINGS = [["task=multitask", *TERMS, f"weighting@task.weighting={choice}"] for choice in ("gb", "lb")]
TERM_SETS = [["task=multitask", f"terms@task.terms={choice}"] for choice in ("pixel_edge", "pixel_edge_texture")]


@pytest.mark.parametrize(
    ("jobs", "axis", "values"),
    [
        (NETWORKS, "network", ["unet_tiny", "resnet_small"]),  # equal cells are planned once
        ([["network.width=4"], ["network.width=4", "seed=3"]], "seed", [0, 3]),  # a key that only some jobs set
        (PROTOCOLS, "protocol", ["full_y", "slackoff-v1"]),
        (WEIGHTINGS, "weighting", ["gb", "lb"]),
        (TERM_SETS, "terms", ["pixel+edge", "pixel+edge+texture"]),
    ],
    ids=["networks", "some jobs", "protocols", "weightings", "terms"],
)
def test_axes_are_what_differs_by_the_names_of_choices(planned, jobs, axis, values):
    cells = planned(*jobs, missing_allowed=True)
    assert [cell.axes for cell in cells] == [{"patch_count": 4, axis: value} for value in values]
    assert [cell.folder.name for cell in cells] == [cell.id for cell in cells]
    assert {cell.label["background"] for cell in cells} == {"builtin"}


def test_plain_configs_are_the_same_cells_as_composed_ones(composed):
    config = composed("rain=medium")
    (cell,) = plan([resolved(config)], [[]])
    assert cell.id == plan([config], [[]])[0].id
    assert cell.config.rain.name == "medium"
    assert cell.config.background.seed == 0
    assert cell.status().steps_total == 20


def test_every_test_set_counts_and_its_folder_is_read_once(composed, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(PairFolder, "fingerprint", lambda pairs: read.append(pairs.root) or pairs.root)
    config = resolved(composed())
    pairs = {"_target_": "slackoff.evaluation.PairFolder"}
    also = [{}, {"more": {**pairs, "root": "a"}}, {"more": {**pairs, "root": "b"}}, {"more": {**pairs, "root": "a"}}]
    configs = [{**config, "evaluation": {**config["evaluation"], "also": further}} for further in also]
    assert len(plan(configs, [[]] * 4)) == 3
    assert read == ["a", "b"]


def test_a_missing_folder_makes_a_cell_provisional_where_that_is_allowed(composed, tmp_path):
    config = resolved(composed("background=folder", f"background.root={tmp_path / 'none'}"))
    with pytest.raises(SlackoffError, match=r"background\.root=.*none does not exist"):
        plan([config], [[]])
    fingerprints = Fingerprints(missing_allowed=True)
    cells = plan([config, resolved(composed())], [["a=1"], ["a=2"]], fingerprints=fingerprints)
    assert [cell.provisional for cell in cells] == [True, False]
    (problem,) = fingerprints.problems.values()
    assert problem.startswith("background.root=")


def variants(composed, *command_line: tuple[str, ...]) -> list[dict[str, object]]:
    """Axes of the cells of two rows, each with the further overrides of a job."""
    rows = [
        Row("rows.yaml", number, number, {key.partition("=")[0]: key for key in settings})
        for number, settings in enumerate(
            (["study.variant=wide", "network.width=8"], ["study.variant=long", "schedule.steps=21", "seed=1"]), start=1
        )
    ]
    jobs = [(row, [*row.assignments.values(), *more]) for row in rows for more in command_line]
    overrides = [given for _, given in jobs]
    configs = [composed("study.axis=study.variant", *given) for given in overrides]
    return [cell.axes for cell in plan(configs, overrides, [row for row, _ in jobs])]


def test_a_variant_stands_for_all_that_its_row_sets_but_the_seed(composed):
    assert variants(composed, ()) == [{"variant": "wide", "seed": 0}, {"variant": "long", "seed": 1}]


def test_what_the_command_line_varies_beside_a_variant_is_an_axis(composed):
    found = variants(composed, ("rain=small",), ("rain=medium",))
    assert [axes["rain"] for axes in found] == ["small", "medium"] * 2
    assert all(set(axes) == {"variant", "seed", "rain"} for axes in found)


def test_a_cell_that_is_only_measured_has_no_number_of_patches(planned):
    measured, trained = planned(["schedule.steps=0"], ["schedule.steps=4"])
    assert (measured.axes["patch_count"], measured.label["patch_count"]) == ("only measured", "only measured")
    assert trained.axes["patch_count"] == trained.label["patch_count"] == 4


def test_cells_that_nothing_names_are_told_apart_by_every_key_in_which_they_differ(composed):
    """Two rows of a manifest with one name, but for what they set; another seed is a repeat."""
    settings = (["network.width=8"], ["network.width=4"], ["network.width=4", "trainer.precision=bf16-mixed"])
    rows = [Row("rows.yaml", n, n, {key.partition("=")[0]: key for key in keys}) for n, keys in enumerate(settings, 1)]
    overrides = [["study.variant=same", *keys] for keys in settings]
    configs = [composed("study.axis=study.variant", *given) for given in overrides]
    cells = plan(configs, overrides, rows)
    assert [(cell.axes["width"], cell.axes["precision"]) for cell in cells] == [
        (8, "32-true"),
        (4, "32-true"),
        (4, "bf16-mixed"),
    ]
    assert all(cell.label.items() >= cell.axes.items() for cell in cells)
    repeats = [["study.variant=same"], ["study.variant=same", "seed=1"]]
    cells = plan([composed("study.axis=study.variant", *given) for given in repeats], repeats, [rows[0], rows[0]])
    assert [set(cell.axes) for cell in cells] == [{"variant", "seed"}] * 2


def test_keys_that_end_alike_are_axes_of_their_own(planned):
    jobs = [[f"network.width={width}", f"rain.width=[{rain}]"] for width, rain in ((4, 1), (4, 3), (8, 1))]
    cells = planned(*jobs)
    assert [(cell.axes["width"], cell.axes["rain.width"]) for cell in cells] == [(4, "[1]"), (4, "[3]"), (8, "[1]")]


def test_the_table_of_states_has_a_column_for_every_key_in_which_cells_differ():
    statuses = [Status("a", {"network": "unet", "patch_count": 4}, 8), Status("b", {"network": "unet", "width": 8}, 8)]
    console = Console(width=120, file=StringIO())
    console.print(*status_table(statuses))
    heading, first, second = console.file.getvalue().splitlines()[:3]
    assert heading.split()[:4] == ["cell", "patch_count", "width", "state"]
    assert (first.split()[:2], second.split()[:2]) == (["a", "4"], ["b", "8"])


def test_cells_of_two_studies_with_one_label_are_told_apart_by_their_configs(tmp_path):
    statuses = [Status(name, {"network": "unet"}, 8) for name in "abc"] + [Status("d", {"network": "ddn"}, 8)]
    for name, rate in (("a", 1), ("b", 2)):
        (tmp_path / "cells" / name).mkdir(parents=True)
        config = {"task": {"learning_rate": rate}, "seed": 0}
        (tmp_path / "cells" / name / "identity.json").write_text(json.dumps({"config": config}))
    labels = [status.label for status in told_apart(tmp_path, statuses)]
    assert [label.get("task.learning_rate") for label in labels] == [1, 2, None, None]
    assert all("seed" not in label for label in labels)


def test_a_study_draws_the_test_sets_of_all_its_cells(planned):
    jobs = [[f"evaluation={name}", "study.test_sets=[rain100h,rain100l,sirr]"] for name in ("rain100l", "rain100h")]
    folder = _write_study(planned(*jobs, missing_allowed=True))
    assert json.loads((folder / "study.json").read_text())["test_sets"] == ["rain100h", "rain100l"]


def test_cells_that_differ_in_the_seed_alone_are_checked_once(planned, monkeypatch):
    checked: list[int] = []
    monkeypatch.setattr(Checks, "check", lambda self, config: checked.append(config.background.patch_count) or 7.0)
    cells = planned(*([f"seed={seed}", f"background.patch_count={count}"] for count in (2, 4) for seed in range(5)))
    with PlannerProcess() as planner:
        assert check_cells(cells, planner) == dict.fromkeys((cell.id for cell in cells), 7.0)
    assert checked == [4, 2]


def test_the_folder_of_a_study_lies_in_that_of_studies_whatever_its_name_is(planned):
    for name in ("a/b", "..", "巴" * 90, "x" * 300):
        folder = _write_study(planned(["seed=0", f"study.name='{name}'"]))
        assert [path.parent for path in folder.parents[1].glob("studies/*/study.json")].count(folder) == 1
        assert find_study(folder.name, folder.parents[1]).name == folder.name
