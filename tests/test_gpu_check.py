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
from typing import Any, NamedTuple
from unittest.mock import Mock

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


@pytest.mark.parametrize("network", ["unet_tiny", pytest.param("swinir_tiny", marks=pytest.mark.slow)])
def test_a_network_is_equal_to_itself(run: Run, network: str) -> None:
    outcome = gpu_sections.check_parity(run, network)
    assert outcome.verdict == "pass", outcome.detail
    assert outcome.figures["float32"]["output"] == 0
    assert 0 < outcome.figures["bf16"]["output"] < outcome.figures["bf16"]["output_limit"]


Function = Callable[..., Any]


def on_the_device(change: Callable[..., Any]) -> Callable[[Function], Function]:
    """A fault in the second call of a function and those after it: ``change`` is given the function and its arguments.

    The first call is the reference's; those that imitate another form have no fault either.
    """

    def fault(found: Function) -> Function:
        calls: list[Any] = []

        def call(*given: Any, **options: Any) -> Any:
            if options.get("imitated") or not calls:
                calls.extend([] if options.get("imitated") else [given])
                return found(*given, **options)
            return change(found, *given, **options)

        return call

    return fault


def brighter(levels: int, share: float) -> Callable[[Function], Function]:
    """Rain that is some grey levels off in a share of the pixels."""

    def change(found: Function, *given: Any) -> Any:
        stream = found(*given)
        make = stream.batch

        def batch(step: int) -> Any:
            made = make(step)
            off = torch.zeros(made.rain.numel())
            off[: int(share * len(off))] = levels / 255
            return made._replace(rain=made.rain + off.view_as(made.rain))

        stream.batch = batch
        return stream

    return on_the_device(change)


def other_seed(found: Function, *given: Any) -> Any:
    stream = found(*given)
    stream.seed += 1
    return stream


def asking(ask: Callable[[torch.Tensor], Any]) -> Callable[[Function], Function]:
    """A loss that waits for the device."""

    def fault(losses: Function) -> Function:
        def waiting(*given: Any) -> Any:
            found = losses(*given)
            ask(found["loss"])
            return found

        return waiting

    return fault


def spoilt(step: Function) -> Function:
    def call(loop: Any, number: int) -> None:
        step(loop, number)
        next(loop.network.parameters()).data.fill_(math.nan)

    return call


class Fault(NamedTuple):
    """What stands in the place of a function, made from it; the check that must see that, and its words."""

    owner: Any
    name: str
    replaced: Callable[[Function], Function]
    check: Callable[..., Outcome]
    arguments: tuple[Any, ...]
    words: str = ""
    verdict: str = "fail"


PARITY = gpu_sections.check_parity, ("unet_tiny",)
BATCHES = gpu_sections.check_batches, ("small",)
RESUME = gpu_sections.check_resume, (["network=unet_tiny"], "cell")
SYNC = gpu_sections.check_sync, ("supervised", "unet_tiny"), "waits for the device"
RANKS = gpu_sections.check_ranks, ("unet_tiny",)
PASSES: dict[str, Callable[[Pass], Pass]] = {
    "another output": lambda found: Pass(found.output * 1.00005, found.gradient),
    "another gradient": lambda found: Pass(found.output, found.gradient * 1.00005),
    "a turned gradient": lambda found: Pass(found.output, found.gradient.flip(0)),
    "a gradient that is not finite": lambda found: Pass(found.output, found.gradient * math.nan),
    "an output that is not finite": lambda found: Pass(found.output * math.nan, found.gradient),
}
with_tf32 = on_the_device(lambda found, *given: found(*given, imitated="TF32"))
no_rain = torch.full((4, 1, 64, 64), math.nan)
FAULTS = {
    **{name: Fault(gpu_sections, "take_pass", on_the_device(lambda found, *given, change=change: change(found(*given))),
                   *PARITY) for name, change in PASSES.items()},
    "TF32 left on": Fault(gpu_sections, "take_pass", with_tf32, *PARITY),
    "an evaluation in TF32": Fault(gpu_sections, "_restored", with_tf32, gpu_sections.check_evaluation, ("unet_tiny",)),
    "another seed": Fault(gpu_sections, "_stream", on_the_device(other_seed), *BATCHES, "other backgrounds are drawn"),
    "a level in few pixels is none": Fault(gpu_sections, "_stream", brighter(1, 0.005), *BATCHES, verdict="pass"),
    "two levels in few pixels": Fault(gpu_sections, "_stream", brighter(2, 0.005), *BATCHES),
    "a level in many pixels": Fault(gpu_sections, "_stream", brighter(1, 0.05), *BATCHES),
    "rain that is not finite": Fault(
        gpu_sections, "render_streaks", lambda _: lambda *_, **__: no_rain, gpu_sections.check_rain, ("small",)),
    "a resume from the first batch": Fault(
        StepNumbers, "__iter__", lambda _: lambda numbers: iter(range(100)), *RESUME, "two undisturbed runs are equal"),
    "no stop": Fault(gpu_sections.signal, "raise_signal", lambda _: lambda number: None, *RESUME, "did not stop"),
    "a loss read": Fault(SupervisedTask, "losses", asking(torch.Tensor.item), *SYNC),
    "a loss tested": Fault(SupervisedTask, "losses", asking(lambda loss: loss.reshape(1).nonzero()), *SYNC),
    **{f"two trainings by one rank each {second}": Fault(
        gpu_sections, "_done",
        lambda done, second=second: lambda given, runs, ranks: done([*given, *second[: ranks - 1]], runs),
        *RANKS, verdict=verdict) for second, verdict in (((), "pass"), (("seed=1",), "fail"))},
    "weights that are no longer finite": Fault(
        gpu_sections.BareLoop, "step", spoilt, gpu_sections.check_speed, ("unet_tiny", "float32"), "no longer finite"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    monkeypatch.setattr(fault.owner, fault.name, fault.replaced(getattr(fault.owner, fault.name)))
    outcome = fault.check(run, *fault.arguments)
    assert outcome.verdict == fault.verdict, outcome.detail
    assert fault.words in outcome.detail
    assert "a second time" not in outcome.detail
    torch.ones(1).item()  # nothing is left armed


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


SEMI = f"network=unet_tiny {' '.join(gpu_sections.SEMI_SUPERVISED)} unlabelled.patch_count=4".split()


@pytest.mark.parametrize(
    ("check", "given", "verdict"),
    [
        *((gpu_sections.check_batches, (rain,), "pass") for rain in gpu_sections.RANGES),
        (*RESUME, "pass"),
        pytest.param(gpu_sections.check_resume, (SEMI, "cell"), "pass", marks=pytest.mark.slow),
        (gpu_sections.check_sync, ("supervised", "unet_tiny"), "pass"),
        pytest.param(gpu_sections.check_sync, ("syn2real", "syn2real_small"), "pass", marks=pytest.mark.slow),
        (gpu_sections.check_evaluation, ("unet_tiny",), "pass"),
        (gpu_sections.check_parity, ("dsc",), "skipped"),  # has no weights
        (gpu_sections.check_ranks, ("rcdnet_small",), "skipped"),  # a CPU does not split batch norm
    ],
)
def test_what_is_right_passes(run: Run, check: Callable[..., Outcome], given: tuple[Any, ...], verdict: str) -> None:
    outcome = check(run, *given)
    assert outcome.verdict == verdict, outcome.detail


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


def test_rain_is_timed(run: Run) -> None:
    outcome = gpu_sections.check_rain(run, "small")
    assert outcome.verdict == "pass"
    assert outcome.figures["layers_per_s"] > 0


def test_every_task_is_watched(tmp_path: Path) -> None:
    names = {name for name, _ in gpu_sections.sync(Run(CPU, tmp_path))}
    assert names == {path.stem for path in (ROOT / "conf/task").glob("*.yaml")}


def test_on_a_gpu_torch_itself_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with pytest.raises(ZeroDivisionError), gpu_sections._no_waiting(CUDA):
        _ = 1 / 0
    assert modes == ["error", "default"]


def test_ranks_need_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    outcomes = [check() for _, check in gpu_sections.ranks(Run(CUDA, tmp_path))]
    assert {outcome.verdict for outcome in outcomes} == {"skipped"}


@pytest.mark.slow
def test_two_ranks_train_as_one_process_and_one_that_fails_ends_both(run: Run) -> None:
    outcomes = {name: check() for name, check in gpu_sections.ranks(run)}
    assert outcomes["unet_tiny"].verdict == "pass", outcomes["unet_tiny"].detail
    assert outcomes["a failing rank"].verdict == "pass", outcomes["a failing rank"].detail


def test_speed_without_a_known_peak_has_no_share_of_it(run: Run) -> None:
    outcome = gpu_sections.check_speed(run, "unet_tiny", "float32")
    assert (outcome.verdict, outcome.figures["share_of_peak"]) == ("pass", None)
    assert run.step_s["unet_tiny"] == outcome.figures["step_s"]


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


def test_peaks_are_known_by_name() -> None:
    known = {"H200": 495, "H100 80GB HBM3": 495, "A100-SXM4-40GB": 156, "GeForce RTX 3090": 35.6, "L4": 60, "L40S": 183}
    known |= dict.fromkeys(("A100-SXM4-40GB MIG 3g.20gb", "A10G", ""), None)
    assert {name: gpu_sections.peak(f"NVIDIA {name}", "TF32") for name in known} == known


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


def test_a_slot_sends_its_rates_or_why_it_has_none(run: Run) -> None:
    config, line = run.config("network=unet_tiny"), Mock()
    gpu_sections._slot(gpu_sections.OmegaConf.to_yaml(config), 0, 0.05, line, line)
    config.network.width = "none"
    gpu_sections._slot(gpu_sections.OmegaConf.to_yaml(config), 1, 0.05, line, line)
    (rates,), (why,) = (call.args for call in line.send.call_args_list)
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


def broken() -> Outcome:
    raise RuntimeError("no such kernel")


def ended() -> Outcome:
    raise KeyboardInterrupt


@pytest.fixture
def check_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    def check(*arguments: str, **checks: Callable[[], Outcome]) -> tuple[int, dict[str, Any]]:
        sections = {name: lambda run, check=check: iter([("only", check)]) for name, check in checks.items()}
        monkeypatch.setattr(gpu_check, "SECTIONS", sections)
        code = gpu_check.main(["--device=cpu", f"--out={tmp_path}", *arguments])
        (path,) = tmp_path.glob("*-gpu-check.json")
        return code, json.loads(path.read_text())["sections"]

    return check


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_verdicts_are_counted_and_a_failure_alone_is_the_exit_code(check_all: Any, capsys: Any) -> None:
    one_gpu = {"ranks": lambda: skipped("one GPU")}
    code, kept = check_all(parity=lambda: judged(True, "fine", share=0.1), sync=broken, **one_gpu)
    shown = capsys.readouterr().out
    assert code == 1
    assert "1 passed, 1 failed, 1 skipped; a skipped check proves nothing." in shown
    assert "RuntimeError: no such kernel" in shown
    assert kept["parity"][0]["figures"] == {"share": 0.1}
    assert "in broken" in kept["sync"][0]["figures"]["traceback"]
    assert check_all(speed=without_memory, **one_gpu)[0] == 0
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
