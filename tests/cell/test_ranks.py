"""A cell of several ranks: the same losses as of one; how it ends when a rank fails or is asked to stop."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest
import torch
from lightning import Trainer
from safetensors.torch import load_file
from torch import nn

from slackoff.cell import ranks
from slackoff.cell.launch import STOP_SIGNALS, CellExit, LaunchOptions, Stopped
from slackoff.cell.process import main
from slackoff.cell.ranks import RankReport
from slackoff.cell.training import refuse_split_norm
from slackoff.errors import SlackoffError
from slackoff.record.files import read_lines
from slackoff.record.ledger import attempts
from slackoff.sweep.plan import Cell
from train_here import train_here, written
from wait import wait_for

BEGIN = """
import os, sys, time
from pathlib import Path
from slackoff.cell import launch, ranks
number, marks = int(os.environ["RANK"]), Path(sys.argv[1]) / "marks"
marks.mkdir(exist_ok=True)
"""
END = """
launch.exit_now(ranks.main(Path(sys.argv[1]), Path(sys.argv[2]), launch.LaunchOptions.read()))
"""
WITHOUT_TRAINING = """
def train(*_):
    {}
ranks._train = train
"""
SLOW_STEPS = """
from slackoff.tasks import SupervisedTask
losses = SupervisedTask.losses
def slow(self, batch, step):
    (marks / f"step {step}").touch()
    time.sleep(0.2)
    return losses(self, batch, step)
SupervisedTask.losses = slow
"""
SHORT = ("schedule.steps=400", "schedule.checkpoint_every=400", "schedule.evaluate_every=400", "evaluation.count=1")
Make = Callable[..., Path]


@pytest.fixture
def make(prepared: Callable[..., Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Prepare a cell whose ranks run the given code first; its folder."""

    def prepare(code: str, *overrides: str, name: str = "runs") -> Path:
        script = tmp_path / "rank.py"
        script.write_text(BEGIN + code + END)
        monkeypatch.setattr(ranks, "_PROGRAM", [str(script)])
        return prepared(f"runs={tmp_path / name}", "schedule.log_every=500", *SHORT, *overrides).folder

    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield prepare
    for number, handler in handlers.items():
        signal.signal(number, handler)


def train(folder: Path) -> CellExit:
    return main(folder, LaunchOptions(ranks=2))


@contextmanager
def once(there: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Act in another thread as soon as a condition holds."""

    def watch() -> None:
        wait_for(there)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


def signal_this(number: int = signal.SIGTERM) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def torchruns() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "torch.distributed.run" in child.cmdline()]


def signal_torchrun() -> None:
    (torchrun,) = torchruns()
    torchrun.terminate()


GLOO = "raise RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1')"


@pytest.mark.parametrize(
    "code",
    [
        f"if number == 1:\n        time.sleep(1)\n        {GLOO}\n    raise ValueError('no luck')",
        f"if number == 1:\n        {GLOO}\n    launch.ignore_stop_signals()\n    time.sleep(2)\n"
        "    raise ValueError('no luck')",
    ],
    ids=["before the others", "after the others"],
)
def test_a_cause_stays_and_its_traceback_is_kept(make: Make, code: str):
    folder = make(WITHOUT_TRAINING.format(code))
    (folder / "error.txt").write_text("of another attempt")
    assert train(folder) == CellExit.FAILED
    status = written(folder)
    assert status.state == "failed"
    assert status.last_error == f"ValueError: no luck (traceback in {folder / 'error.txt'})"
    text = (folder / "error.txt").read_text()
    assert "of another attempt" not in text
    assert "rank.py" in text
    assert "ValueError: no luck" in text
    assert "Connection closed" not in text


LOST, ERROR = RankReport("connection", 1.0, "Connection closed"), RankReport("error", 2.0, "no luck", "trace")
LATER, STOPPED = RankReport("error", 3.0, "consequence"), RankReport("stopped", 4.0)


@pytest.mark.parametrize(
    ("reports", "asked", "message"),
    [
        ([LOST, ERROR], False, "^no luck"),
        ([ERROR, LATER], False, "^no luck"),
        ([ERROR, STOPPED], False, "^no luck"),  # torchrun sends a signal when one rank fails
        ([ERROR, STOPPED], True, "^no luck"),
        ([LOST], False, r"2 ranks lost each other \(Connection closed\); if one died, .*log\.txt says of what"),
        ([STOPPED], False, r"2 ranks died \(torchrun's exit code 1\)"),  # one was killed: it goes on in no other turn
        ([], False, r"2 ranks died \(torchrun's exit code 1\); their last words are in .*log\.txt"),
        ([STOPPED, STOPPED], False, None),
        ([LOST, STOPPED], False, None),
        ([LOST], True, None),
        ([STOPPED], True, None),
        ([], True, None),
    ],
)
def test_what_a_failure_is_called_and_that_a_stop_is_none(reports: list[RankReport], asked: bool, message: str | None):
    with pytest.raises(SlackoffError if message else Stopped, match=message):
        raise ranks._summary(reports, asked, 1, 2, Path("cell"))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(signal_this(), id="SIGTERM"),
        pytest.param(signal_this(signal.SIGUSR1), id="SIGUSR1", marks=pytest.mark.slow),
        pytest.param(signal_torchrun, id="torchrun itself", marks=pytest.mark.slow),
    ],
)
def test_ranks_that_have_not_begun_to_train_stop(make: Make, request_: Callable[[], None]):
    folder = make(WITHOUT_TRAINING.format("(marks / str(number)).touch()\n    time.sleep(60)"))
    with once(lambda: all((folder / f"marks/{number}").exists() for number in range(2)), request_):
        assert train(folder) == CellExit.INTERRUPTED
    assert written(folder).state == "interrupted"
    assert [attempt.outcome for attempt in attempts(folder)] == ["interrupted"]


@pytest.mark.slow
def test_a_request_while_torchrun_starts_reaches_the_ranks(make: Make):
    folder = make("time.sleep(60)")
    with once(lambda: bool(torchruns()), signal_this()):
        assert train(folder) == CellExit.INTERRUPTED
    assert written(folder).state == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("request_", [signal_this(), signal_torchrun], ids=["the cell", "torchrun itself"])
def test_slow_steps_are_stopped_with_a_checkpoint_far_from_the_next_log_line(make: Make, request_: Callable[[], None]):
    folder = make(SLOW_STEPS, "trainer.precision=32-true")
    with once((folder / "marks/step 10").exists, request_):
        assert train(folder) == CellExit.INTERRUPTED
    assert written(folder).state == "interrupted"
    step = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert 10 < step < 60  # of 400; an interval of about 2 s is about 10 steps here
    assert written(folder).step == step


@pytest.mark.slow
def test_a_stopped_cell_goes_on_to_the_same_weights(make: Make):
    short = ("schedule.steps=20", "schedule.checkpoint_every=20", "schedule.evaluate_every=20")
    undisturbed = make("", "trainer.precision=32-true", *short, name="undisturbed")
    assert train(undisturbed) == CellExit.DONE
    stopped = make(SLOW_STEPS, "trainer.precision=32-true", *short)
    with once((stopped / "marks/step 3").exists, signal_this()):
        assert train(stopped) == CellExit.INTERRUPTED
    assert train(stopped) == CellExit.DONE
    weights, again = (load_file(folder / "network.safetensors") for folder in (undisturbed, stopped))
    assert all(torch.equal(value, again[name]) for name, value in weights.items())


@pytest.mark.slow
def test_the_first_rank_stops_while_it_measures(make: Make):
    slow = """
from slackoff.evaluation.evaluator import Evaluator
def evaluate(self, network):
    (marks / "evaluation").touch()
    time.sleep(60)
Evaluator.evaluate = evaluate
"""
    folder = make(slow, "schedule.steps=4", "schedule.checkpoint_every=4", "schedule.evaluate_every=4")
    with once((folder / "marks/evaluation").exists, signal_this()):
        assert train(folder) == CellExit.INTERRUPTED
    assert written(folder).state == "interrupted"
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_an_error_in_one_real_rank_is_the_one_that_is_told(make: Make, number: int):
    fault = f"""
from slackoff.tasks import SupervisedTask
losses = SupervisedTask.losses
def failing(self, batch, step):
    if number == {number} and step == 2:
        raise ValueError("no luck")
    return losses(self, batch, step)
SupervisedTask.losses = failing
"""
    folder = make(fault, "trainer.precision=32-true")
    assert train(folder) == CellExit.FAILED
    assert written(folder).last_error == f"ValueError: no luck (traceback in {folder / 'error.txt'})"
    assert "in failing" in (folder / "error.txt").read_text()


STEPS = 6
SWEEP = ["+experiment=patchcount", "-m", "size=smoke", "trainer.precision=32-true", "schedule.log_every=1"]
SWEEP += [f"schedule.steps={STEPS}", "schedule.evaluate_every=3", "schedule.checkpoint_every=6"]
SWEEP += ["background.patch_count=4", "evaluation.count=2", "hydra.launcher.gpus_per_cell=2"]
ABOVE = {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_PORT": "1", "PET_NNODES": "2", "SLURM_PROCID": "3"}
"""What a launcher above the sweep has told it."""


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slackoff", *SWEEP, *overrides],
        cwd=folder,
        env={**os.environ, **ABOVE, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of one cell that two ranks have trained."""
    folder = tmp_path_factory.mktemp("ranks")
    result = sweep(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_there_is_one_cell_with_one_record_and_one_wandb_run(swept: Path):
    (cell,) = (swept / "runs/cells").iterdir()
    (run,) = swept.glob("runs/cells/*/wandb/offline-run-*")
    assert run.name.endswith(f"-{cell.name}")
    assert [attempt.outcome for attempt in attempts(cell)] == ["done"]
    steps = [row["step"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row]
    assert steps == list(range(1, STEPS + 1))
    assert json.loads((cell / "environment.json").read_text())["ranks"] == 2


@pytest.mark.slow
def test_losses_and_weights_are_those_of_one_rank(swept: Path, tmp_path: Path):
    (two,) = (swept / "runs/cells").iterdir()
    one = tmp_path / two.name
    one.mkdir()
    for name, old, new in (("config.yaml", "wandb: true", "wandb: false"), ("status.json", "done", "pending")):
        text = (two / name).read_text()
        assert text.count(old) == 1
        (one / name).write_text(text.replace(old, new))
    assert train_here(one) == CellExit.DONE
    losses = [
        torch.tensor([row["train/loss"] for row in read_lines(cell / "steps.jsonl") if "train/loss" in row])
        for cell in (one, two)
    ]
    assert len(losses[0]) == STEPS
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=0)
    weights = load_file(one / "network.safetensors")
    for key, value in load_file(two / "network.safetensors").items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "ranks", "device", "refused"),
    [
        (nn.BatchNorm2d(3), 2, "cpu", True),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)), 4, "cpu", True),
        (nn.BatchNorm2d(3), 1, "cpu", False),
        (nn.BatchNorm2d(3), 2, "cuda", False),
        (nn.GroupNorm(3, 3), 2, "cpu", False),
    ],
)
def test_what_normalises_over_the_batch_is_not_split_on_a_cpu(network, ranks, device, refused):
    on = SimpleNamespace(root_device=torch.device(device))
    trainer = cast("Trainer", SimpleNamespace(world_size=ranks, strategy=on))
    if not refused:
        refuse_split_norm(network, trainer)
        return
    with pytest.raises(SlackoffError, match=f"{type(network).__name__} normalises over the batch .*gpus_per_cell=1"):
        refuse_split_norm(network, trainer)


@pytest.mark.slow
def test_a_refusal_of_both_ranks_is_said_by_the_sweep(tmp_path: Path):
    result = sweep(tmp_path, "network=rcdnet_small", "task=rcdnet")
    assert result.returncode != 0
    assert "RCDNet normalises over the batch (BatchNorm), which ranks on a CPU cannot do together" in result.stdout
