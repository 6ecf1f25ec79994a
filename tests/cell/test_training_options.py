"""Clipping, warm-up, moving average, best checkpoint, and cells that begin with another one."""

import copy
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from slackoff.cell import callbacks
from slackoff.cell.best import BestWeights
from slackoff.cell.launch import CellExit, LaunchOptions
from slackoff.cell.process import main
from slackoff.config import build
from slackoff.config.checks import Checks
from slackoff.deraining.model import from_cell
from slackoff.errors import SlackoffError
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.plan import Cell
from train_here import measures, train_here, written

OPTIONS = ("trainer.gradient_clip_norm=0.05", "trainer.ema_decay=0.7", "schedule.warmup_steps=4")
CONSTANT = ("~task.decay.minimum_learning_rate", "task.decay._target_=slackoff.tasks.Steps", "+task.decay.at=[]")
CONSTANT += ("+task.decay.factor=1.0",)


@pytest.fixture
def cheap(prepared) -> Callable[..., Cell]:
    """A prepared cell that is measured quickly."""
    few = ("schedule.checkpoint_every=3", "evaluation.count=2", "evaluation.quick_count=1", "schedule.log_every=1")
    return partial(prepared, *few, "trainer.precision=32-true")


@pytest.fixture
def validation(tmp_path: Path) -> tuple[str, ...]:
    """Two pairs in which noise stands for rain, and the options that name them."""
    generator = torch.Generator().manual_seed(5)
    for kind in ("rainy", "norain"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
    for number in (1, 2):
        clean = torch.rand(3, 48, 48, generator=generator) * 0.5
        rainy = clean + 0.4 * (torch.rand(1, 48, 48, generator=generator) > 0.8)
        for kind, image in (("rainy", rainy), ("norain", clean)):
            pixels = (image * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / "pairs" / kind / f"{number}.png")
    return ("+validation=pairs", f"evaluation.validation.root={tmp_path / 'pairs'}")


def done(cell: Cell) -> Path:
    assert train_here(cell.folder) == CellExit.DONE, written(cell.folder).last_error
    return cell.folder


def test_clipping_warm_up_and_average_are_those_of_a_bare_loop(cheap):
    cell = cheap("schedule.steps=5", *OPTIONS, *CONSTANT)
    folder = done(cell)
    config = cell.config
    network = build.build_network(config).to(memory_format=torch.channels_last)
    data = build.build_training_data(config, build.build_backgrounds(config))
    stream = data.open_stream(torch.device("cpu"))
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    average = copy.deepcopy(network)
    norms = []
    for step in range(5):
        batch = stream.batch(step)
        optimizer.zero_grad()
        (network(batch.rainy) - batch.background).abs().mean().backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)))
        optimizer.param_groups[0]["lr"] = config.schedule.learning_rate * min(1, (step + 1) / 4)
        optimizer.step()
        for own, other in zip(average.parameters(), network.parameters(), strict=True):
            own.data.mul_(0.7).add_(other.data, alpha=0.3)
    assert min(norms) > 0.05, "nothing was clipped"
    for name, expected in (("network", network), ("ema", average)):
        found = load_file(folder / f"{name}.safetensors")
        for key, value in expected.state_dict().items():
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    rates = [row["train/learning_rate"] for row in measures(folder) if "train/learning_rate" in row]
    assert rates == pytest.approx([config.schedule.learning_rate * part for part in (0.5, 0.75, 1.0, 1.0, 1.0)])


def test_the_average_is_measured_recorded_and_used_as_a_network_of_its_own(cheap):
    cell = cheap("schedule.steps=4", "schedule.evaluate_every=2", "trainer.ema_decay=0.7")
    folder = done(cell)
    runs = folder.parents[1]
    average = from_cell(cell.id, runs, "ema")
    backgrounds = build.build_backgrounds(cell.config)
    expected = build.build_evaluator(cell.config, backgrounds).evaluate(average.network)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "images_ema.parquet"), expected.rows, rtol=1e-4)
    logged = {key for row in measures(folder) for key in row}
    assert {"ema/psnr_rgb", "final/ema/psnr_rgb"} <= logged
    assert average.name.startswith(f"cell {cell.id}, moving average of the weights")
    assert not torch.equal(*(next(from_cell(cell.id, runs, w).network.parameters()) for w in ("ema", "last")))
    with pytest.raises(SlackoffError, match="has no --weights best: it has last, ema"):
        from_cell(cell.id, runs, "best")


SEMI = ("task=semi_supervised", "task.supervised=2steps", "task.learning_rate=1e-3", "unlabelled=synthesised")
SEMI += ("unlabelled.patch_count=4", "unlabelled.batch_size=2")
SIRR = ("task=sirr", "unlabelled=synthesised", "unlabelled.patch_count=4", "unlabelled.batch_size=2")


@pytest.mark.parametrize(
    ("regime", "left"),
    [
        ((), {"network", "ema", "best"}),
        (SEMI, {"network", "teacher", "ema", "best"}),
        (("task=multitask", "terms@task.terms=pixel_edge", "weighting@task.weighting=pcgrad"), None),
        (("task=multitask", "terms@task.terms=pixel_edge", "weighting@task.weighting=gradnorm"), None),
        pytest.param(SIRR, None, marks=pytest.mark.slow),
        pytest.param(("task=syn2real", "network=syn2real_small", "task.gp_weight=0"), None, marks=pytest.mark.slow),
    ],
    ids=["supervised", "semi_supervised", "pcgrad", "gradnorm", "sirr", "syn2real"],
)
def test_stopped_and_resumed_with_all_options_is_bit_for_bit_the_same(cheap, validation, regime, left, monkeypatch):
    """Stopped two steps after the best checkpoint so far and within the warm-up, then gone on with."""
    steps = ("schedule.steps=8", "schedule.evaluate_every=2", "schedule.keep_best=psnr_rgb", "schedule.warmup_steps=6")
    cell = cheap(*regime, *steps, *OPTIONS[:2], *validation)
    folder = done(cell)
    names = {path.stem for path in folder.glob("*.safetensors")}
    assert names == (left or {"network", "ema", "best"})
    weights = {name: load_file(folder / f"{name}.safetensors") for name in names}
    rows, notes = measures(folder), written(folder).notes
    assert any(note.startswith("best checkpoint: step ") for note in notes)

    for path in [*folder.glob("*.parquet"), *folder.glob("*.safetensors"), folder / "steps.jsonl"]:
        path.unlink()
    shutil.rmtree(folder / "checkpoints")
    status = written(folder)
    status.state = "interrupted"
    status.write(folder)
    log = callbacks.TrainingLogger.on_train_batch_end

    def stopping(self, trainer, *rest):
        log(self, trainer, *rest)
        if trainer.global_step == 5:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.TrainingLogger, "on_train_batch_end", stopping)
        assert train_here(folder) == CellExit.INTERRUPTED
    assert not (folder / "network.safetensors").exists()
    done(cell)
    for name in names:
        again = load_file(folder / f"{name}.safetensors")
        assert all(torch.equal(again[key], value) for key, value in weights[name].items()), name
    assert measures(folder) == rows


def test_the_best_checkpoint_is_the_one_whose_mean_on_the_validation_pairs_is_best(cheap, validation):
    cell = cheap("schedule.steps=6", "schedule.evaluate_every=2", "schedule.keep_best=e_b", *validation)
    folder = done(cell)
    found = {row["step"]: row["validation/e_b"] for row in measures(folder) if "validation/e_b" in row}
    assert list(found) == [2, 4, 6]
    step = min(found, key=found.__getitem__)
    assert any(f"best checkpoint: step {step}, e_b" in note for note in written(folder).notes)
    evaluator = build.build_validation(
        cell.config, build.build_evaluator(cell.config, build.build_backgrounds(cell.config))
    )
    best = from_cell(cell.id, folder.parents[1], "best").network
    assert evaluator.evaluate(best).means["e_b"] == pytest.approx(found[step], rel=1e-4)


def test_a_cell_trained_longer_is_the_cell_that_was_trained_that_long_at_once(cheap):
    """Under a rate that does not depend on the length of the run; Adam's moments and the average go on, too."""
    given = ("trainer.ema_decay=0.7", *CONSTANT)
    whole, short = cheap("schedule.steps=8", *given), cheap("schedule.steps=5", *given)
    done(whole), done(short)
    longer = cheap("schedule.steps=8", *given, f"+continue_from={short.id[:6]}")
    fresh = cheap("schedule.steps=8", *given, f"+start_from='{short.id}'")
    assert len({whole.id, short.id, longer.id, fresh.id}) == 4
    folder = done(longer)
    assert f"goes on from step 5 of the cell {short.id}" in written(folder).notes
    assert [row["step"] for row in measures(folder) if "train/loss" in row] == [6, 7, 8]
    for name in ("network", "ema"):
        one, other = (load_file(cell.folder / f"{name}.safetensors") for cell in (whole, longer))
        assert all(torch.equal(one[key], other[key]) for key in one), name
    started = build.build_started_network(fresh.config).state_dict()
    assert all(
        torch.equal(started[key], value) for key, value in load_file(short.folder / "network.safetensors").items()
    )
    by_file = {**fresh.content, "start_from": str(short.folder / "network.safetensors")}
    assert Fingerprints().of(by_file) == fresh.data, "the digest is that of the weights"


def test_a_continued_cell_follows_the_rates_of_its_own_schedule(cheap):
    short = cheap("schedule.steps=3")
    done(short)
    longer = cheap("schedule.steps=6", f"+continue_from={short.id}")
    rates = [row["train/learning_rate"] for row in measures(done(longer)) if "train/learning_rate" in row]
    whole = cheap("schedule.steps=6")
    expected = [row["train/learning_rate"] for row in measures(done(whole)) if "train/learning_rate" in row]
    assert rates == expected[3:]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["schedule.keep_best=psnr_rgb"], "needs pairs to choose by, other than those of the test"),
        (
            ["schedule.keep_best=psnr", "VALIDATION"],
            "keep_best=psnr is no measure .* choose one of .*psnr_rgb",
        ),
        (["schedule.keep_best=psnr_rgb", "VALIDATION", "schedule.evaluate_every=50"], "is more than schedule.steps=20"),
        (["trainer.gradient_clip_norm=0"], "trainer.gradient_clip_norm=0 cannot be: give a number above 0"),
        (["trainer.ema_decay=1"], "trainer.ema_decay=1 cannot be: give a number from 0 to below 1"),
        (["schedule.warmup_steps=-1"], "schedule.warmup_steps=-1 cannot be: give a whole number from 0 up"),
        (["+start_from=PENDING"], "start_from=.* is pending, and only a done cell can be begun with: train it by"),
        (["+start_from=abcdef"], "start_from=abcdef: There is no cell 'abcdef' under"),
        (["+continue_from=PENDING", "schedule.steps=50"], "continue_from=.* is pending, and only a done cell"),
        (["+continue_from=DONE", "schedule.steps=2"], "has 2 steps already: give schedule.steps more than that"),
        (["+continue_from=DONE", "network.width=12"], "has another network, which its optimiser's state is for"),
        (["+continue_from=DONE", "trainer.ema_decay=0.9"], "has another trainer.ema_decay"),
        (["+continue_from=DONE", "+start_from=DONE"], "both say what the network begins with: give one"),
    ],
)
def test_what_cannot_be_is_said_before_training(cheap, composed, validation, overrides, sentence):
    ids = {}
    if any("DONE" in each for each in overrides):
        ids["DONE"] = (cell := cheap("schedule.steps=2")).id
        done(cell)
    if any("PENDING" in each for each in overrides):
        ids["PENDING"] = cheap("seed=7").id
    given = [part for each in overrides for part in (validation if each == "VALIDATION" else [each])]
    for word, identity in ids.items():
        given = [each.replace(word, f"'{identity}'") for each in given]
    with pytest.raises(SlackoffError, match=sentence):
        Checks().check(composed(*given))


def test_two_ranks_clip_average_and_choose_as_one_process_does(cheap, validation):
    """On a CPU of one machine; sums over ranks only round otherwise."""
    given = ("schedule.steps=4", "schedule.evaluate_every=2", "schedule.keep_best=psnr_rgb", *OPTIONS, *validation)
    one = done(cheap(*given))
    two = cheap(*given, f"runs={one.parents[2] / 'two'}", "trainer.accelerator=cpu")
    assert main(two.folder, LaunchOptions(ranks=2)) == CellExit.DONE, written(two.folder).last_error
    for name in ("network", "ema", "best"):
        alone, shared = (load_file(folder / f"{name}.safetensors") for folder in (one, two.folder))
        for key, value in alone.items():
            torch.testing.assert_close(shared[key], value, rtol=1e-3, atol=1e-5)


def test_what_was_best_before_a_stop_is_best_after_it():
    """The trained cells above are best at their last evaluation; here the first one is."""
    validation = SimpleNamespace(better=lambda measure, key: "lower")
    network = torch.nn.Linear(2, 1)
    before, after = BestWeights(validation, "e_b"), BestWeights(validation, "e_b")
    before.look(2, network, {"e_b": 1.0})
    first = {name: value.clone() for name, value in network.state_dict().items()}
    after.load_state_dict(before.state_dict())
    torch.nn.init.zeros_(network.weight)
    for step, value in ((4, 1.5), (6, float("nan")), (8, 1.0)):
        after.look(step, network, {"e_b": value})
    assert (after.step, after.value) == (2, 1.0)
    assert torch.equal(after.network(network).weight, first["weight"])
