"""A trained network as an ONNX file, and the proof that it computes the same there."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slackoff.errors import SlackoffError

INPUT, OUTPUT = "rainy", "derained"
"""What the file calls its one input and its one output: float32, (batch, 3, height, width)."""

Sizes = Sequence[tuple[int, int]]

OPSET = 20
TOLERANCE = 1e-4
SIZES = ((16, 16), (33, 47), (50, 31), (64, 96), (101, 77))
"""Heights and widths at which outputs are compared, odd ones and others that 16 does not divide among them."""

_TRACED = (2, 3, 52, 68)  # of the input that the exporter is shown; none of these numbers gets into a dynamic file


class OnnxError(SlackoffError):
    """A network that cannot be had as ONNX; no file of it is left.

    Args:
        network: the one.
        why: what is wrong with its file, as the end of a sentence.
    """

    def __init__(self, network: nn.Module, why: str) -> None:
        kind = type(network).__name__
        super().__init__(f"No ONNX file was left: that of {kind} {why}; --size HEIGHT WIDTH tries one size only")


@dataclass(frozen=True)
class OnnxFile:
    """A file that was checked.

    - `size`: (height, width) in pixels of the only images it takes; None where it takes any size.
    - `opset`: version of ONNX' operators in it.
    - `bytes`: its size.
    - `difference`: largest absolute difference to PyTorch found, in units in which an image is [0, 1].
    """

    size: tuple[int, int] | None
    opset: int
    bytes: int
    difference: float

    def describe(self) -> str:
        """Version, size and precision of the file in a few words."""
        height, width = self.size or (0, 0)
        sizes = f"images of {height}x{width} px (height x width) only" if self.size else "any size and batch"
        return (
            f"opset {self.opset}, {self.bytes / 1e6:.1f} MB, {sizes}; at most {self.difference:.1e} from PyTorch's "
            "output in [0, 1], over several sizes"
        )


def require_onnx() -> None:
    """Raises SlackoffError where a library of the extra `export` is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SlackoffError(
            f"An ONNX file needs {error.name}: in the checkout, .venv/bin/pip install -e '.[export]', or leave it out "
            "with --no-onnx"
        ) from error


def write_onnx(network: nn.Module, path: Path, size: tuple[int, int] | None = None) -> OnnxFile:
    """Export a network and compare it with itself, run by onnxruntime, on random and structured images.

    Args:
        network: in eval mode, on the CPU; (N, 3, H, W) float32 in [0, 1] to the same.
        path: the file; its folder is there.
        size: (height, width) in pixels that the file is for; None: any.

    Returns:
        What was written.

    Raises:
        OnnxError: an operator has no counterpart, onnxruntime does not run the file, or its output differs by more than
            1e-4; no file is left.
        SlackoffError: the extra is not installed.
    """
    require_onnx()
    try:
        _export(network, path, size)
        difference = largest_difference(network, path, [size] if size else SIZES)
    except OnnxError:
        path.unlink(missing_ok=True)
        raise
    return OnnxFile(size, OPSET, path.stat().st_size, difference)


def largest_difference(network: nn.Module, path: Path, sizes: Sizes = SIZES) -> float:
    """The largest absolute difference between a network and an ONNX file, over sizes, batches and kinds of images.

    In units in which an image is [0, 1]; where an output leaves that range, as an untrained network's may, in units of
    its largest value.

    Raises:
        OnnxError: onnxruntime does not run the file, or the difference is above 1e-4.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for images in _trial_images(sizes):
            (found,) = session.run([OUTPUT], {INPUT: images})
            with torch.inference_mode():
                expected = network(torch.from_numpy(images)).numpy()
            if found.shape != expected.shape or not np.isfinite(found).all():
                raise OnnxError(network, f"gives {found.shape} for {images.shape}, or numbers not finite")
            off = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
            if off > TOLERANCE:
                where = f"{images.shape[-2]}x{images.shape[-1]} pixels"
                raise OnnxError(network, f"differs from PyTorch by {off:.1e} at {where}")
            worst = max(worst, off)
    except OnnxError:
        raise
    except Exception as error:  # onnxruntime has a dozen kinds, which have no base but this
        raise OnnxError(network, f"is not run by onnxruntime ({_first_line(error)})") from error
    return worst


def _export(network: nn.Module, path: Path, size: tuple[int, int] | None) -> None:
    dynamic = {0: "batch"} if size else {0: "batch", 2: "height", 3: "width"}
    traced = torch.rand(*_TRACED[:2], *(size or _TRACED[2:]))
    try:
        # what the exporter tells of its steps is for its own developers
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            program = torch.onnx.export(
                network,
                (traced,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamic_shapes=(dynamic,),
            )
            assert program is not None
            graph = program.model.graph
            nodes = list(graph.all_nodes())
            outputs = (value for node in nodes for value in node.outputs)
            noted: list[Any] = [program.model, graph, *nodes, *outputs, *graph.inputs, *graph.initializers.values()]
            for named in noted:
                named.metadata_props.clear()  # the lines of code that it came from, with the folders of this machine
            program.save(path, external_data=False)
    except Exception as error:  # whatever a tracer, a converter and an optimiser may raise
        cause = _first_line(error.__cause__ or error)
        raise OnnxError(network, f"cannot be made by PyTorch's exporter ({cause})") from error


def _trial_images(sizes: Sizes) -> Iterator[NDArray[np.float32]]:
    """Noise in batches of 1 and 3, then black, white, a slope and a board of 5 pixels, at each size."""
    generator = np.random.default_rng(0)
    for height, width in sizes:
        for batch in (1, 3):
            yield generator.random((batch, 3, height, width), dtype=np.float32)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        slope = (y + x) / max(height + width - 2, 1)
        planes = np.stack([0 * slope, 0 * slope + 1, slope, (y // 5 + x // 5) % 2])
        yield np.repeat(planes[:, None], 3, axis=1).astype(np.float32)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
