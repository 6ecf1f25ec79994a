"""Timing in rounds, on a clock that only the passes move."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from slackoff.evaluation.runtime import Rounds, network_pass, time_in_rounds


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
    timings = time_in_rounds(passes, 64, Rounds(4, 60, 1), bench.clock)
    assert timings.failures == {}
    assert {name: list(found) for name, found in timings.seconds.items()} == {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}
    assert list(timings.seconds["a"].values()) == pytest.approx([0.1] * 4)
    assert list(timings.seconds["b"].values()) == pytest.approx([0.02] * 4)


def test_warm_up_is_not_timed_and_begins_with_a_smaller_image(bench: Bench) -> None:
    """A first pass that takes a thousand times as long leaves no trace; each turn's first pass is not timed either."""
    slow_start = bench.network("a", 400.0, 0.3, 0.1)
    timings = time_in_rounds({"a": slow_start}, 64, Rounds(2, 60, 2), bench.clock)
    assert bench.calls == [("a", 32), ("a", 32), *[("a", 64)] * (2 + 2 * 2)]
    assert list(timings.seconds["a"].values()) == pytest.approx([0.1, 0.1])


def test_every_other_round_goes_backwards(bench: Bench) -> None:
    passes = {name: bench.network(name, 1.0) for name in "abc"}  # a pass of a second is timed at once
    time_in_rounds(passes, 64, Rounds(3, 60, 0), bench.clock)
    assert "".join(name for name, side in bench.calls if side == 64) == "abc" + "cba" + "abc"


def test_a_slow_network_has_the_rounds_that_its_budget_pays_evenly_spread(bench: Bench) -> None:
    passes = {"slow": bench.network("slow", 3.0), "fast": bench.network("fast", 0.01)}
    timings = time_in_rounds(passes, 64, Rounds(20, 12.5, 0), bench.clock)
    assert list(timings.seconds["slow"]) == [4, 9, 14, 19]  # 12.5 s hold four passes of 3 s
    assert len(timings.seconds["fast"]) == 20


def test_a_network_slower_than_its_budget_has_one_round_and_no_warm_up_of_full_size(bench: Bench) -> None:
    timings = time_in_rounds({"a": bench.network("a", 100.0)}, 64, Rounds(20, 6, 2), bench.clock)
    assert bench.calls == [("a", 32), ("a", 32), ("a", 64)]
    assert list(timings.seconds["a"].values()) == pytest.approx([100.0])


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
    timings = time_in_rounds(passes, 64, Rounds(4, 60, 1), bench.clock)
    assert timings.failures == {"bad": "no room for this"}
    assert list(timings.seconds) == ["good"]
    assert len(timings.seconds["good"]) == 4


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
    timings = time_in_rounds({"a": network_pass(Spy(), torch.device("cuda"))}, 40, Rounds(1, 60, 0), bench.clock)
    assert timings.seconds["a"] == {0: 2.0}
