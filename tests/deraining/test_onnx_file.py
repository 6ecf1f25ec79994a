"""ONNX files: the same numbers as PyTorch at sizes and batches that the exporter was not shown, or no file."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from cell_record import IDENTITY, write_photo
from PIL import Image
from torch import Tensor, nn

from slackoff.config.build import build
from slackoff.config.presets import compose_preset, preset_names
from slackoff.deraining import onnx as onnx_file
from slackoff.deraining.export import export
from slackoff.deraining.model import from_cell
from slackoff.deraining.onnx import OPSET, TOLERANCE, OnnxError, largest_difference, write_onnx
from slackoff.errors import SlackoffError
from slackoff.networks.layers import mirror_to_multiple

pytest.importorskip("onnxscript", reason="needs the extra export")
import onnx


class Mirrored(nn.Module):
    """Pads to a multiple of 7 and crops, as the networks with windows and foldings do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, rainy: Tensor) -> Tensor:
        height, width = rainy.shape[-2:]
        return self.conv(mirror_to_multiple(rainy, 7))[..., :height, :width]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory) -> tuple[nn.Module, Path]:
    """A network and its file."""
    network = Mirrored().eval().requires_grad_(False)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    written = write_onnx(network, path)
    assert (written.size, written.opset, written.bytes) == (None, OPSET, path.stat().st_size)
    assert 0 <= written.difference < 1e-6
    return network, path


@pytest.mark.parametrize("shape", [(1, 3, 7, 14), (4, 3, 1, 20), (2, 3, 19, 3), (1, 3, 120, 75)])
def test_any_size_and_batch_gives_pytorchs_output(mirrored: tuple[nn.Module, Path], shape: tuple[int, ...]):
    network, path = mirrored
    images = torch.rand(shape)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"rainy": images.numpy()})
    np.testing.assert_allclose(found, network(images).numpy(), rtol=0, atol=1e-5)


def test_the_file_names_its_axes_and_no_folder_of_this_machine(mirrored: tuple[nn.Module, Path]):
    _, path = mirrored
    model = onnx.load(path)
    shapes = [
        [axis.dim_param or axis.dim_value for axis in item.type.tensor_type.shape.dim] for item in model.graph.input
    ]
    assert shapes == [["batch", 3, "height", "width"]]
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    assert [item.name for item in model.graph.output] == ["derained"]
    assert str(Path(onnx_file.__file__).parents[1]).encode() not in path.read_bytes()
    assert b"stack_trace" not in path.read_bytes()


def test_a_file_that_is_none_is_found_out(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(OnnxError, match="is not run by onnxruntime"):
        largest_difference(Mirrored(), tmp_path / "model.onnx")


class Undecided(nn.Module):
    """Its graph hangs on the values of the image, which no exporter can draw."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy if rainy.mean() > 0.5 else 1 - rainy


@pytest.mark.slow
def test_a_network_that_cannot_be_exported_leaves_no_file(tmp_path: Path):
    with pytest.raises(OnnxError, match="No ONNX file was left: that of Undecided cannot be made"):
        write_onnx(Undecided(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failing_exporter_is_one_sentence_with_its_cause(tmp_path: Path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("step 3 of 3 went wrong") from TypeError("no counterpart of aten::foo\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(OnnxError, match=r"that of Mirrored cannot be made .* \(no counterpart of aten::foo\); --size"):
        write_onnx(Mirrored(), tmp_path / "model.onnx")


def test_an_output_that_differs_leaves_no_file(tmp_path: Path, mirrored: tuple[nn.Module, Path], monkeypatch):
    """A file of other weights, which the exporter is made to write."""
    monkeypatch.setattr(onnx_file, "_export", lambda network, path, size: shutil.copy(mirrored[1], path))
    with pytest.raises(OnnxError, match="that of Mirrored differs from PyTorch by "):
        write_onnx(Mirrored(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_folder_has_the_file_and_the_cards_lines_run_it(trained, runs: Path, tmp_path: Path, monkeypatch):
    written, _ = export(from_cell(IDENTITY, runs), tmp_path / "out", size=(37, 50))
    assert written is not None
    assert written.size == (37, 50)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "images of 37x50 px (height x width) only" in text
    assert "- onnx\n" in text
    monkeypatch.chdir(tmp_path / "out")
    pixels = write_photo(Path("rainy.png"))
    exec(text.split("```python\n")[2].split("```")[0], {})
    with torch.inference_mode():
        expected = trained(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)[0].clamp(0, 1) * 255
    found = np.asarray(Image.open("derained.png"), dtype=np.float32)
    assert np.abs(found - expected.permute(1, 2, 0).numpy()).max() <= 0.51


def test_without_its_libraries_nothing_is_written(runs: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SlackoffError, match=r"in the checkout, \.venv/bin/pip install -e '\.\[export\]'.*--no-onnx"):
        export(from_cell(IDENTITY, runs), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Every preset, as the table in docs/export.md says.

DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"


def documented() -> dict[str, tuple[str, float]]:
    """Preset to how it exports and the megabytes of its file."""
    ways = "any size|not tried|no weights, refused"
    rows = re.findall(rf"^\| `(\w+)` \| ({ways}) \| (\S+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return {preset: (how, float(size) if how == "any size" else 0.0) for preset, how, size in rows}


def test_the_table_has_every_preset():
    assert sorted(documented()) == preset_names()
    assert [preset for preset, (how, _) in documented().items() if how == "no weights, refused"] == ["dsc"]


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
