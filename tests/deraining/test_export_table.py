"""Every preset as an ONNX file for any size, as the table in docs/export.md says."""

import re
from pathlib import Path

import pytest
import torch

from slackoff.config.build import build
from slackoff.config.presets import compose_preset, preset_names
from slackoff.deraining.export import export
from slackoff.deraining.model import from_preset
from slackoff.deraining.onnx import TOLERANCE, write_onnx
from slackoff.errors import SlackoffError

pytest.importorskip("onnxscript", reason="needs the extra export")
DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"


def documented() -> dict[str, tuple[str, float]]:
    """Preset to how it exports and the megabytes of its file."""
    ways = "any size|not tried|no weights, refused"
    rows = re.findall(rf"^\| `(\w+)` \| ({ways}) \| (\S+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return {preset: (how, float(size) if how == "any size" else 0.0) for preset, how, size in rows}


def test_the_table_has_every_preset():
    assert sorted(documented()) == preset_names()


def test_what_has_no_weights_is_refused(tmp_path):
    without = [preset for preset, (how, _) in documented().items() if how == "no weights, refused"]
    assert without == ["dsc"]
    for preset in without:
        with pytest.raises(SlackoffError, match="has no weights to export"):
            export(from_preset(preset), tmp_path / preset)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_exports_as_the_table_says(preset, tmp_path):
    how, megabytes = documented()[preset]
    if how != "any size":
        pytest.skip(f"docs/export.md: {how}")
    torch.manual_seed(0)
    network = build(compose_preset(preset), "network").eval().requires_grad_(False)
    written = write_onnx(network, tmp_path / "model.onnx")
    assert written.difference < TOLERANCE
    assert written.bytes / 1e6 == pytest.approx(megabytes, rel=0.1, abs=0.06)
