"""The GPU check runs at tiny sizes on a CPU, and each of its checks sees the fault that it is there for."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from slackoff.cell.launch import CellExit
from slackoff.data import StepNumbers
from slackoff.sweep.manifest import read_manifest
from slackoff.tasks import SupervisedTask

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not part of the package

from benchmarks import gpu_check, gpu_sections  # noqa: E402
from benchmarks.gpu_sections import CPU, Imitation, Outcome, Pass, Run, judged, skipped  # noqa: E402

CUDA = torch.device("cuda")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(CPU, tmp_path)


def after_the_first(found: Callable[..., Any], changed: Callable[..., Any]) -> Callable[..., Any]:
    """The first call is the reference's; the calls after it that imitate nothing are the device's, with a fault."""
    calls = []

    def call(*arguments: Any, **options: Any) -> Any:
        if options.get("imitated"):
            return found(*arguments, **options)
        calls.append(arguments)
        return found(*arguments, **options) if len(calls) == 1 else changed(*arguments, **options)

    return call


@pytest.mark.parametrize("network", ["unet_tiny", pytest.param("swinir_tiny", marks=pytest.mark.slow)])
def test_a_network_is_equal_to_itself(run: Run, network: str) -> None:
    outcome = gpu_sections.check_parity(run, network)
    assert outcome.verdict == "pass", outcome.detail
    assert outcome.figures["float32"]["output"] == 0
    assert 0 < outcome.figures["bf16"]["output"] < outcome.figures["bf16"]["output_limit"]


take_pass = gpu_sections.take_pass
FAULTS = {
    "another output": lambda *given: Pass((found := take_pass(*given)).output * 1.00005, found.gradient),
    "another gradient": lambda *given: Pass((found := take_pass(*given)).output, found.gradient * 1.00005),
    "a turned gradient": lambda *given: Pass((found := take_pass(*given)).output, found.gradient.flip(0)),
    "a gradient that is not finite": lambda *given: Pass(
        (found := take_pass(*given)).output, found.gradient * math.nan
    ),
    "not finite": lambda *given: Pass((found := take_pass(*given)).output * math.nan, found.gradient),
    "TF32 left on": lambda *given: take_pass(*given, imitated="TF32"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parity_sees(run: Run, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(gpu_sections, "take_pass", after_the_first(take_pass, FAULTS[fault]))
    monkeypatch.setattr(gpu_sections, "forms", lambda device: (["float32"], ""))
    assert gpu_sections.check_parity(run, "unet_tiny").verdict == "fail"


def test_a_method_without_weights_has_no_parity(run: Run) -> None:
    assert gpu_sections.check_parity(run, "dsc").verdict == "skipped"


def test_parity_goes_through_every_preset_on_a_gpu_and_stops_when_its_time_is_over(tmp_path: Path) -> None:
    device = SimpleNamespace(type="cuda")
    gone = {name: check for name, check in gpu_sections.parity(Run(CPU, tmp_path)) if name != "forms"}
    assert set(gone) == {"unet_tiny", "swinir_tiny"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_sections, "forms", lambda device: (["float32"], ""))
        patch.setattr(gpu_sections, "check_parity", lambda run, name: judged(True, name))
        names = [name for name, _ in gpu_sections.parity(Run(device, tmp_path, time.monotonic() + 300))]
        assert names[-1] not in gpu_sections.NETWORKS_OF_PAPER
        assert set(names) == set(gpu_sections.preset_names())
        checks = gpu_sections.parity(Run(device, tmp_path, time.monotonic() + 300))
        next(checks)
        now = time.monotonic()
        patch.setattr(gpu_sections.time, "monotonic", lambda: now + 70)
        assert [check().verdict for _, check in checks] == ["skipped"] * (len(names) - 1)


def test_imitations_round_as_the_formats_do() -> None:
    values = torch.randn(40, 40, generator=torch.Generator().manual_seed(0))
    for form, bits in (("TF32", 10), ("bf16", 7)):
        rounded = Imitation(form)._rounded(values)
        mantissa, exponent = torch.frexp(values.double())
        expected = torch.ldexp((mantissa * 2 ** (bits + 1)).round(), exponent - bits - 1)
        torch.testing.assert_close(rounded.double(), expected, rtol=0, atol=0)
    assert torch.equal(Imitation("bf16")._rounded(values), values.bfloat16().float())
    convolved = torch.conv2d(values[None, None], values[None, None, :3, :3])
    with Imitation("TF32"):
        assert not torch.equal(torch.conv2d(values[None, None], values[None, None, :3, :3]), convolved)
        product = values @ values  # convolutions alone are in TF32
    assert torch.equal(product, values @ values)


def test_an_imitation_draws_on_the_cpu_for_every_device() -> None:
    torch.manual_seed(3)
    expected = torch.rand(5), torch.empty(50, 1).bernoulli_(0.3)
    torch.manual_seed(3)
    with Imitation():
        assert torch.equal(torch.rand(5, device=CPU), expected[0])
        assert torch.equal(torch.empty(50, 1).bernoulli_(0.3), expected[1])
        assert torch.rand(5, device="meta").device.type == "meta"
    torch.manual_seed(3)
    with Imitation():
        torch.rand(5, device="meta")
        assert not torch.equal(torch.rand(5), expected[0])  # five were drawn for meta


@pytest.mark.parametrize(("form", "allowed"), [("float32", False), ("TF32", True), ("bf16", False)])
def test_forms_are_set_and_set_back(form: str, allowed: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    with gpu_sections.computing(form, CPU, benchmark=True):
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (False, allowed, True)
        assert torch.is_autocast_enabled("cpu") == (form == "bf16")
    assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == before


@pytest.mark.parametrize(("capability", "found"), [((9, 0), 3), ((8, 0), 3), ((7, 5), 1)])
def test_forms_are_those_of_the_hardware(monkeypatch: pytest.MonkeyPatch, capability: Any, found: int) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "some GPU")
    names, reason = gpu_sections.forms(CUDA)
    assert len(names) == found
    assert bool(reason) == (found == 1)


@pytest.mark.parametrize("rain", gpu_sections.RANGES)
def test_batches_are_equal(run: Run, rain: str) -> None:
    assert gpu_sections.check_batches(run, rain).verdict == "pass"


def test_batches_of_another_seed_are_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = gpu_sections._stream

    def other(config: Any, device: torch.device) -> Any:
        found = stream(config, device)
        found.seed += 1
        return found

    monkeypatch.setattr(gpu_sections, "_stream", after_the_first(stream, other))
    outcome = gpu_sections.check_batches(run, "small")
    assert outcome.verdict == "fail"
    assert "other backgrounds are drawn" in outcome.detail
    assert "a second time" not in outcome.detail


@pytest.mark.parametrize(("levels", "share", "verdict"), [(1, 0.005, "pass"), (2, 0.005, "fail"), (1, 0.05, "fail")])
def test_rain_may_be_a_grey_level_off_in_few_pixels(
    run: Run, monkeypatch: pytest.MonkeyPatch, levels: int, share: float, verdict: str
) -> None:
    stream = gpu_sections._stream

    def other(config: Any, device: torch.device) -> Any:
        found = stream(config, device)
        make = found.batch

        def batch(step: int) -> Any:
            made = make(step)
            off = torch.zeros(made.rain.numel())
            off[: int(share * len(off))] = levels / 255
            return made._replace(rain=made.rain + off.view_as(made.rain))

        found.batch = batch
        return found

    monkeypatch.setattr(gpu_sections, "_stream", after_the_first(stream, other))
    assert gpu_sections.check_batches(run, "small").verdict == verdict


def test_rain_is_timed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = gpu_sections.check_rain(run, "small")
    assert outcome.verdict == "pass"
    assert outcome.figures["layers_per_s"] > 0
    monkeypatch.setattr(gpu_sections, "render_streaks", lambda *_, **__: torch.full((4, 1, 64, 64), math.nan))
    assert gpu_sections.check_rain(run, "small").verdict == "fail"


SEMI = [f"network=unet_tiny {' '.join(gpu_sections.SEMI_SUPERVISED)} unlabelled.patch_count=4"]


@pytest.mark.parametrize(
    "given",
    [["network=unet_tiny"], pytest.param(SEMI[0].split(), marks=pytest.mark.slow)],
    ids=["supervised", "semi-supervised"],
)
def test_a_resumed_cell_is_equal(run: Run, given: list[str]) -> None:
    outcome = gpu_sections.check_resume(run, given, "cell")
    assert outcome.verdict == "pass", outcome.detail


def test_a_broken_resume_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepNumbers, "__iter__", lambda numbers: iter(range(100)))
    outcome = gpu_sections.check_resume(run, ["network=unet_tiny"], "cell")
    assert outcome.verdict == "fail"
    assert outcome.detail.endswith("two undisturbed runs are equal")


def test_a_cell_that_does_not_stop_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_sections.signal, "raise_signal", lambda number: None)
    outcome = gpu_sections.check_resume(run, ["network=unet_tiny"], "cell")
    assert outcome.verdict == "fail"
    assert "did not stop" in outcome.detail


def test_every_task_is_watched(tmp_path: Path) -> None:
    names = {name for name, _ in gpu_sections.sync(Run(CPU, tmp_path))}
    assert names == {path.stem for path in (ROOT / "conf/task").glob("*.yaml")}


@pytest.mark.parametrize("task", ["supervised", pytest.param("syn2real", marks=pytest.mark.slow)])
def test_a_step_does_not_wait(run: Run, task: str) -> None:
    (check,) = (check for name, check in gpu_sections.sync(run) if name == task)
    assert check().verdict == "pass"


@pytest.mark.parametrize("ask", [lambda loss: loss.item(), lambda loss: loss.reshape(1).nonzero()])
def test_a_step_that_waits_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]) -> None:
    losses = SupervisedTask.losses

    def waiting(*given: Any) -> Any:
        found = losses(*given)
        ask(found["loss"])
        return found

    monkeypatch.setattr(SupervisedTask, "losses", waiting)
    outcome = gpu_sections.check_sync(run, "supervised", "unet_tiny")
    assert outcome.verdict == "fail"
    assert "waits for the device" in outcome.detail
    torch.ones(1).item()  # nothing is left armed


def test_on_a_gpu_torch_itself_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with pytest.raises(ZeroDivisionError), gpu_sections._no_waiting(CUDA):
        _ = 1 / 0
    assert modes == ["error", "default"]


def test_evaluation_is_float32_and_tf32_in_it_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_sections.check_evaluation(run, "unet_tiny").verdict == "pass"
    restored = gpu_sections._restored
    monkeypatch.setattr(
        gpu_sections, "_restored", after_the_first(restored, lambda *given: restored(*given, imitated="TF32"))
    )
    assert gpu_sections.check_evaluation(run, "unet_tiny").verdict == "fail"


def test_ranks_need_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    outcomes = [check() for _, check in gpu_sections.ranks(Run(CUDA, tmp_path))]
    assert {outcome.verdict for outcome in outcomes} == {"skipped"}


def test_batch_norm_is_not_split_on_a_cpu(run: Run) -> None:
    assert gpu_sections.check_ranks(run, "rcdnet_small").verdict == "skipped"


@pytest.mark.parametrize(("second", "verdict"), [([], "pass"), (["seed=1"], "fail")])
def test_two_trainings_are_compared(run: Run, monkeypatch: pytest.MonkeyPatch, second: list[str], verdict: str) -> None:
    """Both by one rank: the second as it is, or from another seed."""
    done = gpu_sections._done
    monkeypatch.setattr(
        gpu_sections, "_done", lambda given, runs, ranks=1: done([*given, *(second if ranks == 2 else [])], runs)
    )
    assert gpu_sections.check_ranks(run, "unet_tiny").verdict == verdict


@pytest.mark.parametrize(
    ("code", "reason", "age_s", "verdict"),
    [
        (CellExit.FAILED, f"ValueError: {gpu_sections.FAULT}", 5, "pass"),
        (CellExit.FAILED, "RuntimeError: Connection closed by peer", 5, "fail"),
        (CellExit.FAILED, f"ValueError: {gpu_sections.FAULT}", 60, "fail"),
        (CellExit.DONE, "None", 5, "fail"),
    ],
)
def test_a_failing_rank_must_end_both_soon_and_say_why(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: CellExit, reason: str, age_s: float, verdict: str
) -> None:
    (tmp_path / "fault").touch()
    os.utime(tmp_path / "fault", (time.time() - age_s,) * 2)
    monkeypatch.setattr(gpu_sections, "train", lambda *given, **options: (tmp_path, code))
    monkeypatch.setattr(gpu_sections, "_why", lambda folder: reason)
    assert gpu_sections.check_failing_rank(run, "unet_tiny").verdict == verdict


@pytest.mark.slow
def test_two_ranks_train_as_one_process_and_one_that_fails_ends_both(run: Run) -> None:
    outcomes = {name: check() for name, check in gpu_sections.ranks(run)}
    assert outcomes["unet_tiny"].verdict == "pass", outcomes["unet_tiny"].detail
    assert outcomes["a failing rank"].verdict == "pass", outcomes["a failing rank"].detail


def test_speed_without_a_known_peak_has_no_share_of_it(run: Run) -> None:
    outcome = gpu_sections.check_speed(run, "unet_tiny", "float32")
    assert (outcome.verdict, outcome.figures["share_of_peak"]) == ("pass", None)
    assert run.step_s["unet_tiny"] == outcome.figures["step_s"]


def test_weights_that_are_no_longer_finite_are_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    step = gpu_sections.BareLoop.step

    def spoilt(loop: Any, number: int) -> None:
        step(loop, number)
        next(loop.network.parameters()).data.fill_(math.nan)

    monkeypatch.setattr(gpu_sections.BareLoop, "step", spoilt)
    outcome = gpu_sections.check_speed(run, "unet_tiny", "float32")
    assert outcome.verdict == "fail"
    assert "no longer finite" in outcome.detail


def test_speed_on_a_gpu_says_its_memory_and_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls to torch.cuda, with a GPU that is not there; the step itself is a CPU's."""
    calls: list[str] = []
    for name, value in {
        "empty_cache": None,
        "reset_peak_memory_stats": None,
        "synchronize": None,
        "max_memory_allocated": 3 * 2**30,
        "get_device_name": "NVIDIA H200",
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *given, name=name, value=value: calls.append(name) or value)
    run, config = Run(CUDA, tmp_path), Run(CPU, tmp_path).config("network=unet_tiny")
    monkeypatch.setattr(Run, "config", lambda run, *given: config)
    outcome = gpu_sections.check_speed(run, "unet_tiny", "TF32", benchmark=False)
    assert outcome.verdict == "pass"
    assert "% of the peak, 3 GiB" in outcome.detail
    assert calls[:2] == ["empty_cache", "reset_peak_memory_stats"]
    assert run.step_s["unet_tiny"] == outcome.figures["step_s"]
    monkeypatch.setitem(gpu_sections.PEAKS, "H200", (1e-9, 1e-9, 1e-9))
    assert gpu_sections.check_speed(run, "unet_tiny", "TF32").verdict == "fail"


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 495),
        ("NVIDIA H100 80GB HBM3", 495),
        ("NVIDIA A100-SXM4-40GB", 156),
        ("NVIDIA GeForce RTX 3090", 35.6),
        ("NVIDIA L4", 60),
        ("NVIDIA L40S", 183),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA A10G", None),
        ("", None),
    ],
)
def test_peaks_are_known_by_name(name: str, peak: float | None) -> None:
    assert gpu_sections.peak(name, "TF32") == peak


def test_a_compilation_is_left_out_where_no_time_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(CPU, tmp_path, time.monotonic() + 80)
    assert gpu_sections.check_speed(run, "unet_tiny", "float32", compiled=True).verdict == "skipped"
    run = Run(CPU, tmp_path, time.monotonic() + 91)
    monkeypatch.setattr(gpu_sections, "time_limit", late)
    outcome = gpu_sections.check_speed(run, "unet_tiny", "float32", compiled=True)
    assert (outcome.verdict, outcome.detail) == ("skipped", "compiling took too long")


def late(seconds: float) -> Any:
    assert seconds < 31
    raise TimeoutError("longer than 30 s")


def test_what_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError, match="longer than 0 s"), gpu_sections.time_limit(0.01):
        time.sleep(20)
    with gpu_sections.time_limit(0.2):
        pass
    time.sleep(0.3)  # no alarm is left


@pytest.mark.slow
def test_two_slots_are_compared_with_one(run: Run) -> None:
    outcome = gpu_sections.check_slots(run, run.config("network=unet_tiny"))
    assert outcome.verdict == "pass"
    assert outcome.figures["ratio"] > 0
    outcome = gpu_sections.check_slots(run, run.config("network=unet_tiny", "network.width=0"))
    assert outcome.verdict == "fail"


class Line:
    """One end of a pipe, or a barrier, in the place of another process's."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, found: Any) -> None:
        self.sent.append(found)

    wait = abort = lambda self: None


def test_a_slot_sends_its_rates_or_why_it_has_none(run: Run) -> None:
    config, line = run.config("network=unet_tiny"), Line()
    gpu_sections._slot(gpu_sections.OmegaConf.to_yaml(config), 0, 0.05, line, line)
    config.network.width = "none"
    gpu_sections._slot(gpu_sections.OmegaConf.to_yaml(config), 1, 0.05, line, line)
    rates, why = line.sent
    assert min(rates) > 0
    assert "network" in why


def test_paper150_costs_what_its_cells_cost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.step_s = dict.fromkeys(gpu_sections.NETWORKS_OF_PAPER, 0.036)
    outcome = gpu_sections.check_cost(run)
    assert outcome.verdict == "pass"
    assert sum(outcome.figures["cells"].values()) == 150
    assert sum(outcome.figures["hours"].values()) == pytest.approx(150 * 2.5)
    monkeypatch.setattr(gpu_sections, "read_manifest", lambda name: read_manifest(name)[1:])
    assert gpu_sections.check_cost(run).verdict == "fail"


def test_a_network_that_was_not_timed_is_timed_for_its_cost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(config: Any, threads: int, budget_s: float) -> Any:
        asked.append((config.network.name, config.schedule.batch_size, config.background.patch_size_px))
        return SimpleNamespace(seconds=1.0)

    monkeypatch.setattr(gpu_sections, "measure_step", measure)
    run.step_s = dict.fromkeys(("resnet", "unet", "swinir"), 0.1)
    assert gpu_sections.check_cost(run).verdict == "pass"
    assert sorted(asked) == [("rcdnet", 16, 128), ("spdnet", 16, 128)]
    del run.step_s["swinir"]
    monkeypatch.setattr(gpu_sections, "measure_step", without_memory)
    outcome = gpu_sections.check_cost(run)
    assert outcome.verdict == "fail"
    assert "swinir 36 x nan s" in outcome.detail
    assert outcome.figures["hours"]["resnet"] > 0


def without_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def sections_of(**checks: Callable[[], Outcome]) -> dict[str, Any]:
    return {name: lambda run, check=check: iter([("only", check)]) for name, check in checks.items()}


def broken() -> Outcome:
    raise RuntimeError("no such kernel")


def ended() -> Outcome:
    raise KeyboardInterrupt


@pytest.fixture
def check_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    def check(*arguments: str, **checks: Callable[[], Outcome]) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(gpu_check, "SECTIONS", sections_of(**checks))
        code = gpu_check.main(["--device=cpu", f"--out={tmp_path}", *arguments])
        (path,) = tmp_path.glob("*-gpu-check.json")
        return code, json.loads(path.read_text())["sections"]

    return check


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_verdicts_are_counted_and_a_failure_is_the_exit_code(check_all: Any, capsys: Any) -> None:
    code, kept = check_all(
        parity=lambda: judged(True, "fine", share=0.1), sync=broken, ranks=lambda: skipped("one GPU")
    )
    shown = capsys.readouterr().out
    assert code == 1
    assert "1 passed, 1 failed, 1 skipped; a skipped check proves nothing." in shown
    assert "RuntimeError: no such kernel" in shown
    assert kept["parity"][0]["figures"] == {"share": 0.1}
    assert "in broken" in kept["sync"][0]["figures"]["traceback"]


def test_skipped_checks_are_no_failure_but_are_said(check_all: Any, capsys: Any) -> None:
    assert check_all(ranks=lambda: skipped("one GPU"), speed=without_memory)[0] == 0
    shown = capsys.readouterr().out
    assert "0 passed, 0 failed, 2 skipped; a skipped check" in shown
    assert "the memory of the GPU does not suffice" in shown


def test_each_section_is_kept_when_it_ends_and_only_replaces_its_own(check_all: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        check_all(parity=lambda: judged(True, "first"), sync=ended)
    code, kept = check_all("--only=sync", sync=lambda: judged(True, "second"), parity=broken)
    assert code == 0
    assert [kept[name][0]["detail"] for name in ("parity", "sync")] == ["first", "second"]
    (table,) = tmp_path.glob("*-gpu-check.md")
    assert "| parity | only | pass | first |" in table.read_text()


def test_without_a_gpu_it_says_what_can_be_run(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main([])
    assert "--device=cpu" in capsys.readouterr().err


def test_the_help_says_how_to_do_without_a_registry(capsys: Any) -> None:
    with pytest.raises(SystemExit, match="0"):
        gpu_check.main(["--help"])
    shown = capsys.readouterr().out
    for word in ("hydra-core", "omegaconf", "antlr4-python3-runtime", "wandb", "kornia", "PYTHONPATH=src:", *SECTIONS):
        assert word in shown


SECTIONS = ("parity", "batches", "resume", "sync", "rain", "evaluation", "slots", "ranks", "speed", "cost")


@pytest.mark.slow
def test_make_gpu_check_runs_at_tiny_sizes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--device=cpu", f"--out={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*-gpu-check.json")
    assert tuple(json.loads(path.read_text())["sections"]) == SECTIONS
