"""What precision and which device the hardware is good for; the hardware is faked, but for the timing."""

from types import SimpleNamespace

import pytest
import torch

from slackoff.errors import SlackoffError
from slackoff.record import environment
from slackoff.record.environment import auto_precision, device_kind, hardware_warnings


@pytest.fixture
def machine(monkeypatch):
    """Fake what the libraries say of a machine: by default x86 with AVX-512 and bf16 instructions, without a GPU."""

    def fake(cuda=False, capability=(8, 0), onednn=True, avx512_bf16=True, amx=False, processor="x86_64", **env):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)  # true where it is emulated
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn is not None)
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(_is_mkldnn_bf16_supported=lambda: bool(onednn)))
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(environment.platform, "machine", lambda: processor)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return fake


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "bf16-mixed"),
        ({"avx512_bf16": False}, "32-true"),  # oneDNN's query is true on every AVX-512
        ({"avx512_bf16": False, "amx": True}, "bf16-mixed"),
        ({"onednn": False}, "32-true"),  # AVX2
        ({"onednn": None}, "32-true"),  # a torch without oneDNN
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, "32-true"),  # of which torch's query of the processor does not know
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core"}, "32-true"),
        ({"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, "32-true"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, "bf16-mixed"),
        ({"ONEDNN_MAX_CPU_ISA": "ALL"}, "bf16-mixed"),
        ({"processor": "aarch64", "avx512_bf16": False}, "bf16-mixed"),
        ({"processor": "aarch64", "avx512_bf16": False, "onednn": False}, "32-true"),
        ({"cuda": True, "onednn": False}, "bf16-mixed"),
        ({"cuda": True, "capability": (9, 0)}, "bf16-mixed"),
        ({"cuda": True, "capability": (7, 5)}, "32-true"),  # torch calls emulated bf16 supported
    ],
)
def test_auto_is_bf16_where_the_hardware_has_it(machine, facts, expected):
    machine(**facts)
    assert auto_precision("auto") == expected


def test_on_a_cpu_by_choice_the_gpu_does_not_count(machine):
    machine(cuda=True, onednn=False)
    assert auto_precision("cpu") == "32-true"
    assert auto_precision("gpu") == "bf16-mixed"


def test_the_factor_of_emulation_is_named(machine, monkeypatch):
    machine(onednn=False)
    monkeypatch.setattr(environment, "bf16_slowdown", lambda kind: 9.96)
    assert hardware_warnings("bf16-mixed", "auto") == [
        "trainer.precision=bf16-mixed is emulated on this processor: a convolution takes 10.0 times as long as in "
        "float32 (trainer.precision=32-true)"
    ]
    assert hardware_warnings("32-true", "auto") == []


def test_the_factor_is_measured():
    """No bound on a timing; that it can be had, and that float32 is not compared with itself."""
    assert environment.bf16_slowdown("cpu") > 0
    assert environment.bf16_slowdown("cpu") != 1


def test_float16_is_refused_on_a_cpu(machine):
    machine()
    with pytest.raises(SlackoffError, match=r"16-mixed trains on GPUs only.*choose 32-true, or auto"):
        hardware_warnings("16-mixed", "auto")
    machine(cuda=True)
    assert hardware_warnings("16-mixed", "auto") == []
    with pytest.raises(SlackoffError, match="16-mixed trains on GPUs only"):
        hardware_warnings("16-mixed", "cpu")


@pytest.mark.parametrize("given", ["0", "GPU-1234", "0,1"])
def test_a_place_on_a_gpu_that_torch_does_not_find_is_refused(machine, given):
    machine(CUDA_VISIBLE_DEVICES=given)
    with pytest.raises(SlackoffError, match=rf"CUDA_VISIBLE_DEVICES={given.partition(',')[0]} names a GPU, but torch"):
        device_kind("auto")
    assert device_kind("cpu") == "cpu"


@pytest.mark.parametrize("given", ["", "-1"])
def test_no_visible_gpu_is_a_cpu(machine, given):
    machine(CUDA_VISIBLE_DEVICES=given)
    assert device_kind("auto") == "cpu"
    with pytest.raises(SlackoffError, match=r"trainer\.accelerator=gpu asks for a GPU"):
        device_kind("gpu")


def test_a_mac_trains_on_its_cpu_and_is_told(machine, monkeypatch):
    machine()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_kind("auto") == "cpu"
    (sentence,) = hardware_warnings("32-true", "auto")
    assert "this Mac's GPU has no float64" in sentence
    assert hardware_warnings("32-true", "cpu") == []
