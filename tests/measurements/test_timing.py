"""Timing in rounds, on a clock that only the passes move; timing of training steps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slackoff.measurements import timing
from slackoff.measurements.timing import Rounds, StepTime, measure_step, network_pass, time_in_rounds


class Bench:
    """A clock, and passes that move it by known seconds for an image of 64 px, by area for others."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.now

    def network(self, name: str, *seconds: float) -> Callable[[int], None]:
        """The first seconds come first, the last ones for ever."""
        left = list(seconds)

        def run(side_px: int) -> None:
            self.calls.append((name, side_px))
            self.now += (left.pop(0) if len(left) > 1 else left[0]) * (side_px / 64) ** 2

        return run


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_fast_network_is_timed_once_a_round_with_its_own_seconds(bench: Bench) -> None:
    passes = {"a": bench.network("a", 0.1), "b": bench.network("b", 0.02)}
    found = time_in_rounds(passes, 64, Rounds(4, 60, 1), bench.clock)
    assert found.failures == {}
    assert {name: list(own) for name, own in found.seconds.items()} == {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}
    assert list(found.seconds["a"].values()) == pytest.approx([0.1] * 4)
    assert list(found.seconds["b"].values()) == pytest.approx([0.02] * 4)


def test_warm_up_is_not_timed_and_begins_with_a_smaller_image(bench: Bench) -> None:
    """A first pass that takes a thousand times as long leaves no trace; each turn's first pass is not timed either."""
    slow_start = bench.network("a", 400.0, 0.3, 0.1)
    found = time_in_rounds({"a": slow_start}, 64, Rounds(2, 60, 2), bench.clock)
    assert bench.calls == [("a", 32), ("a", 32), *[("a", 64)] * (2 + 2 * 2)]
    assert list(found.seconds["a"].values()) == pytest.approx([0.1, 0.1])


def test_every_other_round_goes_backwards(bench: Bench) -> None:
    passes = {name: bench.network(name, 1.0) for name in "abc"}  # a pass of a second is timed at once
    time_in_rounds(passes, 64, Rounds(3, 60, 0), bench.clock)
    assert "".join(name for name, side in bench.calls if side == 64) == "abc" + "cba" + "abc"


def test_a_slow_network_has_the_rounds_that_its_budget_pays_evenly_spread(bench: Bench) -> None:
    passes = {"slow": bench.network("slow", 3.0), "fast": bench.network("fast", 0.01)}
    found = time_in_rounds(passes, 64, Rounds(20, 12.5, 0), bench.clock)
    assert list(found.seconds["slow"]) == [4, 9, 14, 19]  # 12.5 s hold four passes of 3 s
    assert len(found.seconds["fast"]) == 20


def test_a_network_slower_than_its_budget_has_one_round_and_no_warm_up_of_full_size(bench: Bench) -> None:
    found = time_in_rounds({"a": bench.network("a", 100.0)}, 64, Rounds(20, 6, 2), bench.clock)
    assert bench.calls == [("a", 32), ("a", 32), ("a", 64)]
    assert list(found.seconds["a"].values()) == pytest.approx([100.0])


@pytest.mark.parametrize("good_passes", [0, 4])
def test_a_failing_network_is_told_of_and_leaves_the_others_alone(bench: Bench, good_passes: int) -> None:
    """Whether it fails while warming up or in a round."""
    left = [None] * good_passes

    def failing(side_px: int) -> None:
        if not left:
            raise RuntimeError("no room\nfor this")
        left.pop()
        bench.now += 0.1

    passes = {"bad": failing, "good": bench.network("good", 0.1)}
    found = time_in_rounds(passes, 64, Rounds(4, 60, 1), bench.clock)
    assert found.failures == {"bad": "no room for this"}
    assert list(found.seconds) == ["good"]
    assert len(found.seconds["good"]) == 4


class Spy(nn.Module):
    """Keeps what it is called with, and whether gradients would be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.seen: list[tuple[Tensor, bool, bool]] = []

    def forward(self, rainy: Tensor) -> Tensor:
        self.seen.append((rainy, self.training, torch.is_grad_enabled()))
        return rainy * self.weight


def test_a_pass_is_one_float32_image_in_evaluation_mode_without_gradients() -> None:
    network = Spy()
    time_in_rounds({"a": network_pass(network, torch.device("cpu"))}, 40, Rounds(1, 60, 0))
    assert network.weight.dtype == torch.float32
    images = [image for image, _, _ in network.seen]
    assert {(tuple(image.shape), image.dtype) for image in images if len(image[0, 0]) == 40} == {
        ((1, 3, 40, 40), torch.float32)
    }
    assert images[-1].min() >= 0
    assert images[-1].max() <= 1
    assert all(not training and not grad for _, training, grad in network.seen)


def test_on_a_gpu_the_clock_stops_after_the_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network returns at once and the GPU works for two seconds more; the device is only named here."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: setattr(bench, "now", bench.now + 2.0))
    monkeypatch.setattr(nn.Module, "to", lambda self, device: self)
    monkeypatch.setattr(Tensor, "to", lambda self, device: self)
    found = time_in_rounds({"a": network_pass(Spy(), torch.device("cuda"))}, 40, Rounds(1, 60, 0), bench.clock)
    assert found.seconds["a"] == {0: 2.0}


@pytest.mark.parametrize("labelled", [[], ["labelled=pairs", "labelled.root=not read"]])
def test_a_step_is_measured_with_as_many_unlabelled_images_as_the_cell_has(composed, monkeypatch, labelled) -> None:
    seen = []
    monkeypatch.setattr(timing._Trainer, "step", lambda trainer, batch: seen.append(batch))
    taught = ("task=semi_supervised", "unlabelled=synthesised", "unlabelled.batch_size=6")
    config = composed(*labelled, *taught, "trainer.accelerator=cpu")
    assert measure_step(config, threads=1, budget_s=60.0).how == "measured"
    shapes = {(len(batch.rainy), len(batch.unlabelled), batch.rainy.shape[-1]) for batch in seen}
    assert shapes == {(1, 2, 32), (1, 2, 64), (2, 3, 64), (4, 6, 64)}
    assert all(batch.unlabelled.shape[1:] == batch.rainy.shape[1:] for batch in seen)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A step takes a millisecond for 1024 pixels; the steps that were taken."""
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def timed(_: object, count: int, side: int) -> float:
        taken.append((count, side))
        return count * side**2 / 1024 / 1000

    monkeypatch.setattr(timing, "_timed_step", timed)
    return taken


def test_with_time_a_step_is_measured_as_large_as_it_is(composed, clocked) -> None:
    found = measure_step(composed("background.patch_size_px=128", "schedule.batch_size=3"), 1, budget_s=1e9)
    assert found == StepTime(pytest.approx(3 * 16 / 1000), "measured")
    assert list(dict.fromkeys(clocked)) == [(1, 32), (1, 64), (1, 128), (2, 128), (3, 128)]


def test_without_time_a_small_step_is_scaled_by_pixels(composed, clocked) -> None:
    found = measure_step(composed("background.patch_size_px=128", "schedule.batch_size=3"), 1, budget_s=0.0)
    assert found == StepTime(pytest.approx(3 * 16 / 1000), "measured on 1 of 32x32 px, scaled by pixels")
    assert set(clocked) == {(1, 32)}


def test_a_real_step_is_taken(composed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = measure_step(composed("background.patch_size_px=32"), 1, budget_s=60.0)
    assert found.how == "measured"
    assert 0 < found.seconds < 60
