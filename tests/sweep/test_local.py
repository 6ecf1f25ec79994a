"""Slots of this machine: which GPUs, and how many threads."""

from pathlib import Path

import pytest

from slackoff.sweep.local import make_slots

LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-1111)
  MIG 3g.20gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.mark.parametrize(
    ("listing", "visible", "expected"),
    [
        (LISTING, None, ["MIG-1111", "MIG-2222", "1"]),
        (LISTING.splitlines()[0], None, ["0"]),
        ("No devices found.", None, []),
        (LISTING, "", []),
        (LISTING, "-1", []),
        (LISTING, "1,-1,0", ["1"]),
        (LISTING, "GPU-bbbb, MIG-1111", ["GPU-bbbb", "MIG-1111"]),
    ],
)
def test_gpus_are_those_that_cuda_would_show(tmp_path: Path, monkeypatch, listing, visible, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = make_slots()
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots if slot.name.startswith("gpu")] == expected
    assert bool(expected) != slots[0].name.startswith("cpu")


def test_threads_depend_on_the_machine_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    slots = make_slots()
    assert len(slots) == 8
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in make_slots()] == ["2", "3"]
