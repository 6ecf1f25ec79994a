"""A trained network as a folder for other people: weights, model card, config, ONNX.

The card says what the network is for, what it was trained on, what was measured and where it fails, in the form that
Hugging Face reads: Markdown below YAML with licence, tags and the results as `model-index`. Everything is drawn from
the record of the cell.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import jinja2
import yaml
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save

from slackoff.analysis.tables import heading
from slackoff.analysis.text import BESIDE, NO_NUMBER, amount, decimals, entry, number
from slackoff.deraining.model import CELL, NETWORK, CellRecord, Model, TestSet, read_record
from slackoff.deraining.onnx import OnnxError, OnnxFile, require_onnx, write_onnx
from slackoff.errors import SlackoffError
from slackoff.metrics.columns import COLUMNS
from slackoff.networks.interfaces import PerImageMethod
from slackoff.record.environment import describe_environment
from slackoff.record.files import write_bytes, write_text


def trained_on(record: CellRecord) -> list[str]:
    """What the weights were learned from, as the cell's config says it, one point a line."""
    config = record.config
    lines = [f"Started from the weights `{_file(config.start_from)}`."] if config.get("start_from") else []
    if not config.schedule.steps:
        return [*lines, "Not trained: measured as it was."]
    lines.append(_pairs(config) if config.get("labelled") else _synthesised(config))
    if config.get("unlabelled"):
        lines.append(f"Unlabelled images without truth: `{config.unlabelled.name}`.")
    lines.append(_regime(config))
    return [*lines, *(f"Noted in training: {note}." for note in record.status.notes)]


def cost(record: CellRecord) -> str:
    """'96.7 device-seconds of training (2,000 steps) and 21.5 of measuring, on AMD EPYC, 1 thread.'"""
    status, environment = record.status, record.environment
    device = environment.get("gpu") or environment.get("cpu") or "a device that is not recorded"
    threads = environment.get("threads")
    counted = f", {threads} thread{'s' * (threads > 1)}" if threads and not environment.get("gpu") else ""
    return (
        f"{status.train_seconds:,.1f} device-seconds of training ({status.step:,} steps) and "
        f"{status.evaluate_seconds:,.1f} of measuring, on {device}{counted}."
    )


def versions(record: CellRecord, here: Mapping[str, Any]) -> list[str]:
    """What it was trained with, and what it was exported with where that differs.

    Args:
        record: of the cell.
        here: the environment of the export, as `describe_environment` gives it.
    """
    trained = _named(record.environment)
    lines = [f"Trained with {', '.join(trained)}."] if trained else []
    if (commit := record.environment.get("git_commit")) is not None:
        changed = ", with changes that were not committed" if record.environment.get("git_dirty") else ""
        lines.append(f"Commit {commit}{changed}.")
    exported = [name for name in _named(here) if name not in trained]
    return [*lines, *([f"Exported with {', '.join(exported)}."] if exported else [])]


def _named(environment: Mapping[str, Any]) -> list[str]:
    python = [f"Python {environment['python']}"] if environment.get("python") else []
    packages = {name: found for name, found in environment.get("packages", {}).items() if found}
    return [*python, *(f"{name} {found}" for name, found in packages.items())]


def _pairs(config: DictConfig) -> str:
    share = config.labelled.get("share")
    part = f"; {share} of the clean images with their truth" if share is not None else ""
    side = config.background.patch_size_px
    return f"Pairs of rainy and clean images: `{config.labelled.name}`{part}, in crops of {side}x{side} px."


def _synthesised(config: DictConfig) -> str:
    background, rain = config.background, config.rain
    bounds = ", ".join(f"{key} {_values(value)}" for key, value in rain.items() if _is_list(value))
    return (
        f"Rain laid over N = {background.patch_count} patches of {background.patch_size_px}x{background.patch_size_px} "
        f"px from the backgrounds `{background.name}`; rain range `{rain.name}` ({bounds})."
    )


def _regime(config: DictConfig) -> str:
    schedule, task = config.schedule, config.task
    loss = task.get("loss")
    with_loss = f", loss {str(loss._target_).rsplit('.', 1)[-1]}" if loss and loss.get("_target_") else ""
    return (
        f"Task `{task.name}`{with_loss}: {schedule.steps:,} steps of batches of {schedule.batch_size}, learning rate "
        f"{task.get('learning_rate', schedule.get('learning_rate'))}, precision {config.trainer.precision}, "
        f"seed {config.seed}."
    )


def _is_list(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__")


def _values(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]"


def _file(path: Any) -> str:
    """The name of a file without the folders of the machine."""
    return str(path).replace("\\", "/").rsplit("/", 1)[-1]


_TEMPLATE = Path(__file__).parent / "templates" / "model_card.md.j2"
_UNCHOSEN = "other"


def model_card(model: Model, record: CellRecord | None, onnx: OnnxFile | None, license_id: str | None = None) -> str:
    """The card as Markdown.

    Args:
        model: what was exported.
        record: of its cell; None for a network from a file.
        onnx: the ONNX file beside the card, if there is one.
        license_id: of the weights, as Hugging Face writes it ('mit', 'cc-by-nc-4.0'); None says that none was chosen.
    """
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    paper = str(getattr(type(model.network), "paper", ""))
    return made.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        front=_front(model, record, onnx, license_id),
        title=_title(model),
        network=type(model.network).__name__,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        trained=trained_on(record) if record else [],
        weights=model.weights.name if model.weights else "",
        evaluation=record.config.evaluation.name if record else "",
        protocol=record.protocol if record else "",
        table=_table(record.test_sets) if record else "",
        limits=_limits(record, license_id),
        cost=cost(record) if record else "",
        versions=versions(record, describe_environment()) if record else [],
        arguments=_arguments(model.node),
        onnx=onnx,
        onnx_words=_onnx_words(onnx) if onnx else "",
        paper=paper,
    )


def _title(model: Model) -> str:
    teacher = " (teacher)" if model.teaches else ""
    return f"{model.node.get('name', 'network')}{teacher}, cell {model.cell.name}" if model.cell else model.name


def _front(model: Model, record: CellRecord | None, onnx: OnnxFile | None, license_id: str | None) -> str:
    front: dict[str, Any] = {"license": license_id or _UNCHOSEN}
    if license_id is None:
        front |= {"license_name": "none-chosen"}
    front |= {
        "library_name": "slackoff",
        "pipeline_tag": "image-to-image",
        "tags": ["deraining", "image-restoration", "pytorch", "safetensors", *(["onnx"] if onnx else [])],
    }
    if record:
        results = [_index_entry(test_set, str(record.config.evaluation.name)) for test_set in record.test_sets]
        front["model-index"] = [{"name": _title(model), "results": results}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)


def _index_entry(test_set: TestSet, evaluation: str) -> dict[str, Any]:
    metrics = [
        {"type": measure, "name": COLUMNS[measure].label, "value": round(found.mean, 6)}
        for measure, found in test_set.measures.items()
        if math.isfinite(found.mean)
    ]
    return {
        "task": {"type": "image-to-image", "name": "Image deraining"},
        "dataset": {"type": evaluation, "name": f"{evaluation}, {test_set.name}"},
        "metrics": metrics,
    }


def _table(test_sets: tuple[TestSet, ...]) -> str:
    measures = list(test_sets[0].measures)
    head = ["test set", "images", "output", *(_heading(measure) for measure in measures)]
    rows = [head, ["---", "---:", "---", *["---:"] * len(measures)]]
    for found in test_sets:
        shown = [_entry(found, measure) for measure in measures]
        nothing = [number(found.inputs[m].mean, decimals(m)) if m in found.inputs else NO_NUMBER for m in measures]
        rows += [[found.name, str(found.images), "network", *shown], ["", "", "untouched input", *nothing]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _heading(measure: str) -> str:
    unit = COLUMNS[measure].unit
    return heading(measure) + (f", {unit}" if unit else "")


def _entry(found: TestSet, measure: str) -> str:
    """'45.1 (46.2) [44.0, 46.0]': mean, oracle, interval."""
    interval = found.measures[measure]
    oracle = found.oracles[measure].mean if measure in found.oracles else None
    return entry(interval.mean, interval.low, interval.high, decimals(measure), BESIDE, oracle)


def _limits(record: CellRecord | None, license_id: str | None) -> list[str]:
    lines = []
    if record:
        for found in record.test_sets:
            lines += _limits_on(found)
        names = ", ".join(f"`{found.name}`" for found in record.test_sets)
        lines.append(f"Tested on {names} alone. What it does to any other rain, real rain too, was not measured.")
        lines.append(
            f"One training run (seed {record.config.get('seed')}). The intervals are over test images and say nothing "
            "about other seeds."
        )
    else:
        lines.append("How well it does was not measured by the record that this card is from.")
    if license_id is None:
        lines.append(
            "No licence was chosen for the weights. The images that it was trained on have terms of their own: see to "
            "them before you pass it on."
        )
    return lines


def _limits_on(found: TestSet) -> list[str]:
    lines = []
    damage = found.measures["e_b"]
    if math.isfinite(damage.mean):
        words = amount(damage, "e_b", first=True)
        lines.append(f"`{found.name}`: pixels without rain end up {words} away from the true background (E_B).")
    share = found.measures["removal_share"]
    if math.isfinite(share.mean):
        lines.append(
            f"`{found.name}`: it takes out a share of {amount(share, 'removal_share', first=True)} of the rain."
        )
    psnr = next((measure for measure in found.gains if measure.startswith("psnr")), None)
    if psnr and math.isfinite(found.gains[psnr].mean):
        lines.append(f"`{found.name}`: {_compared(found, psnr)}")
    return lines


def _compared(found: TestSet, psnr: str) -> str:
    gain = found.gains[psnr]
    words = amount(gain, psnr, first=True)
    if gain.sign > 0:
        return f"the output's PSNR is above that of the untouched input by {words}."
    if gain.sign < 0:
        return f"it does harm. The output's PSNR differs from that of the untouched input by {words}."
    return f"no clear gain in PSNR over the untouched input: {words}."


def _arguments(node: DictConfig) -> str:
    values = {str(key): value for key, value in OmegaConf.to_container(node).items()}  # type: ignore[union-attr]
    return ", ".join(f"{key}={value!r}" for key, value in values.items() if key not in ("_target_", "name"))


def _onnx_words(onnx: OnnxFile) -> str:
    size = f"images of {onnx.size[0]}x{onnx.size[1]} px (height x width) only" if onnx.size else "any size and batch"
    return (
        f"opset {onnx.opset}, {onnx.bytes / 1e6:.1f} MB, {size}; at most {onnx.difference:.1e} from PyTorch's output "
        "in [0, 1], over several sizes"
    )


WEIGHTS, CARD, CONFIG, ONNX = "model.safetensors", "README.md", "config.yaml", "model.onnx"
"""What an export folder holds; nothing else is written there, and nothing else is replaced."""


@dataclass(frozen=True)
class Exported:
    """What was written. `onnx` is None where none was asked for or none could be made; then `refusal` says why."""

    folder: Path
    onnx: OnnxFile | None
    refusal: str = ""


def export(
    model: Model,
    folder: Path,
    with_onnx: bool = True,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    license_id: str | None = None,
) -> Exported:
    """Write a network for other people; the folder appears whole or not at all.

    Args:
        model: what to write; what is measured and trained is read from the record of its cell, if it has one.
        folder: where to; its parent folders are made.
        with_onnx: write `model.onnx`, too, if it computes the same as PyTorch.
        size: (height, width) in pixels that `model.onnx` is for; None: any.
        overwrite: replace what an earlier export wrote there.
        license_id: of the weights, see `model_card`.

    Raises:
        SlackoffError: there are no weights, the folder has something in it, the record is damaged, or the extra for
            ONNX is missing.
        OSError: it cannot be written.
    """
    if isinstance(model.network, PerImageMethod):
        raise SlackoffError(f"{model.name} has no weights to export: derain photos with it instead")
    _check_target(folder, overwrite)
    if with_onnx:
        require_onnx()
    record = read_record(model.cell, model.teaches) if model.cell else None
    with _in_place_of(folder) as partial:
        _write_weights(model, partial / WEIGHTS)
        write_text(partial / CONFIG, OmegaConf.to_yaml(record.config if record else {"network": model.node}))
        onnx, refusal = None, ""
        if with_onnx:
            try:
                onnx = write_onnx(model.network, partial / ONNX, size)
            except OnnxError as error:
                refusal = str(error)
        write_text(partial / CARD, model_card(model, record, onnx, license_id))
    return Exported(folder, onnx, refusal)


def _write_weights(model: Model, path: Path) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()}
    metadata = {"format": "pt", NETWORK: json.dumps(OmegaConf.to_container(model.node, resolve=True))}
    if model.cell:
        metadata[CELL] = model.cell.name
    write_bytes(path, save(tensors, metadata))


def _check_target(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise SlackoffError(f"-o {folder} is a file: give a folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in there if name not in (WEIGHTS, CARD, CONFIG, ONNX)]:
        raise SlackoffError(f"{folder} holds {foreign[0]}, which no export wrote: give a folder of its own with -o")
    if there and not overwrite:
        raise SlackoffError(f"{folder} holds an export already: give another folder with -o, or --overwrite")


@contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A folder to fill beside one, put in its place at the end; where anything goes wrong, the old one stays."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid4().hex
    partial, old = (folder.with_name(f".{folder.name}.{mark}.{kind}") for kind in ("partial", "old"))
    try:
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.replace(old)
        try:
            partial.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
