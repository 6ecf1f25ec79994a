"""How a cell of several ranks ends when one of them fails or is asked to stop: real ranks, with one fault each."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from slackoff import ranks
from slackoff.cell import main
from slackoff.errors import SlackoffError
from slackoff.handover import Exit, Handover
from slackoff.ranks import LastWords
from slackoff.record.ledger import Watch, attempts
from slackoff.record.signals import SIGNALS, Stopped
from slackoff.record.status import Status, read_status
from slackoff.sweep.cell_folders import prepare
from slackoff.sweep.plan import plan

BEGIN = """
import os, sys, time
from pathlib import Path
from slackoff import rank
from slackoff.handover import Handover
from slackoff.leave import leave
from slackoff.record import signals
number, marks = int(os.environ["RANK"]), Path(sys.argv[1]) / "marks"
marks.mkdir(exist_ok=True)
"""
END = """
leave(rank.main(Path(sys.argv[1]), Path(sys.argv[2]), Handover.read()))
"""
WITHOUT_TRAINING = """
def train(*_):
    {}
rank._train = train
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
def make(composed: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Prepare a cell whose ranks run the given code first; its folder."""

    def prepared(code: str, *overrides: str, name: str = "runs") -> Path:
        script = tmp_path / "rank.py"
        script.write_text(BEGIN + code + END)
        monkeypatch.setattr(ranks, "_PROGRAM", [str(script)])
        (cell,) = plan([composed(f"runs={tmp_path / name}", "schedule.log_every=500", *SHORT, *overrides)], [[]])
        prepare(cell, Watch())
        return cell.folder

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield prepared
    for number, handler in handlers.items():
        signal.signal(number, handler)


def train(folder: Path) -> Exit:
    return main(folder, Handover(ranks=2))


@contextmanager
def once(there: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Act in another thread as soon as a condition holds."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while not there() and time.monotonic() < deadline:
            time.sleep(0.02)
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


def state(folder: Path) -> Status:
    status = read_status(folder)
    assert status is not None
    return status


GLOO = "raise RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1')"


@pytest.mark.parametrize(
    "code",
    [
        f"if number == 1:\n        time.sleep(1)\n        {GLOO}\n    raise ValueError('no luck')",
        f"if number == 1:\n        {GLOO}\n    signals.ignore()\n    time.sleep(2)\n    raise ValueError('no luck')",
    ],
    ids=["before the others", "after the others"],
)
def test_a_cause_stays_and_its_traceback_is_kept(make: Make, code: str):
    folder = make(WITHOUT_TRAINING.format(code))
    (folder / "error.txt").write_text("of another attempt")
    assert train(folder) == Exit.FAILED
    status = state(folder)
    assert status.state == "failed"
    assert status.last_error == f"ValueError: no luck (traceback in {folder / 'error.txt'})"
    text = (folder / "error.txt").read_text()
    assert "of another attempt" not in text
    assert "rank.py" in text
    assert "ValueError: no luck" in text
    assert "Connection closed" not in text


LOST, CAUSE = LastWords("lost", 1.0, "Connection closed"), LastWords("cause", 2.0, "no luck", "trace")
LATER, STOPPED = LastWords("cause", 3.0, "consequence"), LastWords("stopped", 4.0)


@pytest.mark.parametrize(
    ("said", "asked", "message"),
    [
        ([LOST, CAUSE], False, "^no luck"),
        ([CAUSE, LATER], False, "^no luck"),
        ([CAUSE, STOPPED], False, "^no luck"),  # torchrun sends a signal when one rank fails
        ([CAUSE, STOPPED], True, "^no luck"),
        ([LOST], False, r"2 ranks lost each other \(Connection closed\); if one died, .*log\.txt says of what"),
        ([STOPPED], False, r"2 ranks died \(torchrun's exit code 1\)"),  # one was killed: it goes on in no other turn
        ([], False, r"2 ranks died \(torchrun's exit code 1\); their last words are in .*log\.txt"),
    ],
)
def test_what_a_failure_is_called(said: list[LastWords], asked: bool, message: str):
    with pytest.raises(SlackoffError, match=message):
        raise ranks._ending(said, asked, 1, 2, Path("cell"))


@pytest.mark.parametrize(
    ("said", "asked"),
    [([STOPPED, STOPPED], False), ([LOST, STOPPED], False), ([LOST], True), ([STOPPED], True), ([], True)],
)
def test_what_a_stop_leaves_behind_is_no_failure(said: list[LastWords], asked: bool):
    with pytest.raises(Stopped):
        raise ranks._ending(said, asked, 1, 2, Path("cell"))


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
        assert train(folder) == Exit.INTERRUPTED
    assert state(folder).state == "interrupted"
    assert [attempt.outcome for attempt in attempts(folder)] == ["interrupted"]


@pytest.mark.slow
def test_a_request_while_torchrun_starts_reaches_the_ranks(make: Make):
    folder = make("time.sleep(60)")
    with once(lambda: bool(torchruns()), signal_this()):
        assert train(folder) == Exit.INTERRUPTED
    assert state(folder).state == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("request_", [signal_this(), signal_torchrun], ids=["the cell", "torchrun itself"])
def test_slow_steps_are_stopped_with_a_checkpoint_far_from_the_next_log_line(make: Make, request_: Callable[[], None]):
    folder = make(SLOW_STEPS, "trainer.precision=32-true")
    with once((folder / "marks/step 10").exists, request_):
        assert train(folder) == Exit.INTERRUPTED
    assert state(folder).state == "interrupted"
    step = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert 10 < step < 60  # of 400; an interval of about 2 s is about 10 steps here
    assert state(folder).step == step


@pytest.mark.slow
def test_a_stopped_cell_goes_on_to_the_same_weights(make: Make):
    short = ("schedule.steps=20", "schedule.checkpoint_every=20", "schedule.evaluate_every=20")
    undisturbed = make("", "trainer.precision=32-true", *short, name="undisturbed")
    assert train(undisturbed) == Exit.DONE
    stopped = make(SLOW_STEPS, "trainer.precision=32-true", *short)
    with once((stopped / "marks/step 3").exists, signal_this()):
        assert train(stopped) == Exit.INTERRUPTED
    assert train(stopped) == Exit.DONE
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
        assert train(folder) == Exit.INTERRUPTED
    assert state(folder).state == "interrupted"
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
    assert train(folder) == Exit.FAILED
    assert state(folder).last_error == f"ValueError: no luck (traceback in {folder / 'error.txt'})"
    assert "in failing" in (folder / "error.txt").read_text()
