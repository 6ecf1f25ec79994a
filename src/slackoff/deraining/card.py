"""The model card of an exported network: what it is for, what it was trained on, what was measured, where it fails.

In the form that Hugging Face reads: Markdown below YAML with licence, tags and the results as `model-index`. Everything
is drawn from the record of the cell.
"""

import math
from pathlib import Path
from typing import Any

import jinja2
import yaml
from omegaconf import DictConfig, OmegaConf

from slackoff.analysis.tables import heading
from slackoff.analysis.wording import NO_NUMBER, amount, decimals, number
from slackoff.deraining.history import cost, trained_on, versions
from slackoff.deraining.model import Model
from slackoff.deraining.onnx_file import OnnxFile
from slackoff.deraining.record import CellRecord, TestSet
from slackoff.metrics.columns import COLUMNS
from slackoff.record.environment import describe_environment

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
    interval, places = found.measures[measure], decimals(measure)
    text = number(interval.mean, places)
    if measure in found.oracles:
        text += f" ({number(found.oracles[measure].mean, places)})"
    if math.isfinite(interval.low):
        text += f" [{number(interval.low, places)}, {number(interval.high, places)}]"
    return text


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
