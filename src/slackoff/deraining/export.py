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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import jinja2
import pandas as pd
import pyarrow as pa
import yaml
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save

from slackoff.analysis.groups import Group
from slackoff.analysis.statistics import difference_interval
from slackoff.analysis.tables import INPUTS, ORACLES, heading, shown_measures
from slackoff.analysis.text import NO_NUMBER, amount, decimals, number
from slackoff.config.build import build
from slackoff.deraining.model import CELL, NETWORK, Model, Weights
from slackoff.deraining.onnx import OnnxError, OnnxFile, require_onnx, write_onnx
from slackoff.errors import SlackoffError, one_line
from slackoff.metrics.columns import COLUMNS, add_own
from slackoff.metrics.protocol import Protocol
from slackoff.networks.interfaces import PerImageMethod
from slackoff.record.config import read_config
from slackoff.record.environment import describe_environment, read_environment
from slackoff.record.files import DamagedFileError, write_bytes, write_text
from slackoff.record.status import Status, read_status


@dataclass(frozen=True)
class CellRecord:
    """What a cell's record says of its network.

    - `config`, `status`: of the cell.
    - `environment`: of its training; empty where the record has none.
    - `protocol`: one line with the name.
    - `measures`: the columns that a study's table shows, in its order.
    - `test_sets`: the results by test set, each a `Group` of the one cell 0, so that the statistics are those of a
      study's tables.
    """

    config: DictConfig
    status: Status
    environment: dict[str, Any]
    protocol: str
    measures: list[str]
    test_sets: dict[str, Group]


def read_record(folder: Path, which: Weights = "last") -> CellRecord:
    """The record of a cell that is done; nothing of it is changed.

    Args:
        folder: of the cell.
        which: of its weights the results are.

    Raises:
        SlackoffError: a file of it is missing or damaged.
    """
    path = folder / "status.json"
    try:
        if (status := read_status(folder)) is None:
            raise ValueError("it is missing")
        path = folder / "config.yaml"
        config = OmegaConf.create(read_config(folder))
        protocol = build(config.evaluation.protocol, "evaluation.protocol")
        assert isinstance(protocol, Protocol)
        path = folder / ("images.parquet" if which == "last" else f"images_{which}.parquet")
        images = pd.read_parquet(path).assign(cell=0)
        add_own(images.attrs.get("own_measures"))
        measures = shown_measures(images)
        test_sets = {
            str(name): Group("cell", {}, pd.DataFrame({"cell": [0]}), rows.reset_index(drop=True))
            for name, rows in images.groupby("test_set", sort=False)
        }
        path = folder / "environment.json"
        environment = read_environment(folder)
    except (
        OSError,
        DamagedFileError,
        ValueError,
        KeyError,
        AttributeError,
        AssertionError,
        pa.ArrowException,
    ) as error:
        why = one_line(error)
        raise SlackoffError(
            f"{path} cannot be read ({why}): run the command of its study again, which makes it anew"
        ) from error
    named = replace(protocol, name=str(config.evaluation.protocol.get("name", protocol.name)))
    return CellRecord(config, status, environment, named.describe(), measures, test_sets)


def versions(record: CellRecord, here: Mapping[str, Any]) -> list[str]:
    """What it was trained with, and what it was exported with where that differs.

    Args:
        record: of the cell.
        here: the environment of the export, as `describe_environment` gives it.
    """
    trained, exported = (
        [f"{name} {found}" for name, found in {"Python": it.get("python"), **it.get("packages", {})}.items() if found]
        for it in (record.environment, here)
    )
    lines = [f"Trained with {', '.join(trained)}."] if trained else []
    if (commit := record.environment.get("git_commit")) is not None:
        changed = ", with changes that were not committed" if record.environment.get("git_dirty") else ""
        lines.append(f"Commit {commit}{changed}.")
    if new := [name for name in exported if name not in trained]:
        lines.append(f"Exported with {', '.join(new)}.")
    return lines


_TEMPLATE = Path(__file__).parent / "templates" / "model_card.md.j2"


def model_card(model: Model, record: CellRecord | None, onnx: OnnxFile | None, license_id: str | None = None) -> str:
    """The card as Markdown.

    Args:
        model: what was exported.
        record: of its cell; None for a network from a file.
        onnx: the ONNX file beside the card, if there is one.
        license_id: of the weights, as Hugging Face writes it ('mit', 'cc-by-nc-4.0'); None says that none was chosen.
    """
    teacher = f" ({model.suffix.removeprefix(', ')})" if model.suffix else ""
    title = f"{model.node.get('name', 'network')}{teacher}, cell {model.cell.name}" if model.cell else model.name
    front: dict[str, Any] = {
        **({"license": license_id} if license_id else {"license": "other", "license_name": "none-chosen"}),
        "library_name": "slackoff",
        "pipeline_tag": "image-to-image",
        "tags": ["deraining", "image-restoration", "pytorch", "safetensors", *(["onnx"] if onnx else [])],
    }
    if record:
        front["model-index"] = [{"name": title, "results": _index(record)}]
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    arguments = {str(key): value for key, value in OmegaConf.to_container(model.node).items()}  # type: ignore[union-attr]
    return made.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120),
        title=title,
        model=model,
        network=type(model.network).__name__,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        record=record,
        cell=OmegaConf.to_container(record.config, resolve=True) if record else {},
        table=_table(record) if record else "",
        limits={name: list(_limits_on(record, group)) for name, group in record.test_sets.items()} if record else {},
        versions=versions(record, describe_environment()) if record else [],
        licensed=license_id is not None,
        arguments=", ".join(f"{key}={value!r}" for key, value in arguments.items() if key not in ("_target_", "name")),
        onnx=onnx,
        paper=str(getattr(type(model.network), "paper", "")),
    )


def _index(record: CellRecord) -> list[dict[str, Any]]:
    """The results as Hugging Face's `model-index` has them: the mean of each measure on each test set."""
    evaluation = str(record.config.evaluation.name)
    results = []
    for name, group in record.test_sets.items():
        means = {measure: group.level(0, measure).mean for measure in record.measures}
        results.append(
            {
                "task": {"type": "image-to-image", "name": "Image deraining"},
                "dataset": {"type": evaluation, "name": f"{evaluation}, {name}"},
                "metrics": [
                    {"type": measure, "name": COLUMNS[measure].label, "value": round(mean, 6)}
                    for measure, mean in means.items()
                    if math.isfinite(mean)
                ],
            }
        )
    return results


def _table(record: CellRecord) -> str:
    """Markdown, for each test set a row of the network, '45.1 (46.2) [44.0, 46.0]': mean, oracle, interval, and one of
    the untouched input."""
    rows = [["test set", "images", "output"], ["---", "---:", "---"]]
    for measure in record.measures:
        unit = COLUMNS[measure].unit
        rows[0].append(heading(measure) + (f", {unit}" if unit else ""))
        rows[1].append("---:")
    for name, group in record.test_sets.items():
        rows += [[name, str(len(group.image_names)), "network"], ["", "", "untouched input"]]
        for measure in record.measures:
            interval, places = group.level(0, measure), decimals(measure)
            text = number(interval.mean, places)
            if measure in ORACLES:
                text += f" ({number(group.level(0, ORACLES[measure]).mean, places)})"
            if math.isfinite(interval.low):
                text += f" [{number(interval.low, places)}, {number(interval.high, places)}]"
            rows[-2].append(text)
            untouched = number(group.level(0, INPUTS[measure]).mean, places) if measure in INPUTS else NO_NUMBER
            rows[-1].append(untouched)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _limits_on(record: CellRecord, group: Group) -> Iterator[str]:
    """What a test set says against the network, and what it gains there."""
    psnr = next(measure for measure in record.measures if measure.startswith("psnr"))
    damage, share = group.level(0, "e_b"), group.level(0, "removal_share")
    gain = difference_interval(group.table(0, psnr), group.table(0, INPUTS[psnr]), group.sources)
    if math.isfinite(damage.mean):
        yield f"pixels without rain end up {amount(damage, 'e_b', first=True)} away from the true background (E_B)."
    if math.isfinite(share.mean):
        yield f"it takes out a share of {amount(share, 'removal_share', first=True)} of the rain."
    words = amount(gain, psnr, first=True)
    if gain.sign > 0:
        yield f"the output's PSNR is above that of the untouched input by {words}."
    elif gain.sign < 0:
        yield f"it does harm. The output's PSNR differs from that of the untouched input by {words}."
    elif math.isfinite(gain.mean):
        yield f"no clear gain in PSNR over the untouched input: {words}."


WEIGHTS, CARD, CONFIG, ONNX = "model.safetensors", "README.md", "config.yaml", "model.onnx"
"""What an export folder holds; nothing else is written there, and nothing else is replaced."""


def export(
    model: Model,
    folder: Path,
    with_onnx: bool = True,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    license_id: str | None = None,
) -> tuple[OnnxFile | None, str]:
    """Write a network for other people; the folder appears whole or not at all.

    Args:
        model: what to write; what is measured and trained is read from the record of its cell, if it has one.
        folder: where to; its parent folders are made.
        with_onnx: write `model.onnx`, too, if it computes the same as PyTorch.
        size: (height, width) in pixels that `model.onnx` is for; None: any.
        overwrite: replace what an earlier export wrote there.
        license_id: of the weights, see `model_card`.

    Returns:
        The ONNX file, None where none was asked for or none could be made, and in the latter case why.

    Raises:
        SlackoffError: there are no weights, the folder has something in it, the record is damaged, or the extra for
            ONNX is missing.
        OSError: it cannot be written.
    """
    if isinstance(model.network, PerImageMethod):
        raise SlackoffError(f"{model.name} has no weights to export: derain photos with it instead")
    if folder.exists() and not folder.is_dir():
        raise SlackoffError(f"-o {folder} is a file: give a folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in there if name not in (WEIGHTS, CARD, CONFIG, ONNX)]:
        raise SlackoffError(f"{folder} holds {foreign[0]}, which no export wrote: give a folder of its own with -o")
    if there and not overwrite:
        raise SlackoffError(f"{folder} holds an export already: give another folder with -o, or --overwrite")
    if with_onnx:
        require_onnx()
    record = read_record(model.cell, model.which) if model.cell else None
    with _in_place_of(folder) as partial:
        tensors = {key: value.detach().cpu().contiguous() for key, value in model.network.state_dict().items()}
        metadata = {"format": "pt", NETWORK: json.dumps(OmegaConf.to_container(model.node, resolve=True))}
        if model.cell:
            metadata[CELL] = model.cell.name
        write_bytes(partial / WEIGHTS, save(tensors, metadata))
        write_text(partial / CONFIG, OmegaConf.to_yaml(record.config if record else {"network": model.node}))
        onnx, refusal = None, ""
        if with_onnx:
            try:
                onnx = write_onnx(model.network, partial / ONNX, size)
            except OnnxError as error:
                refusal = str(error)
        write_text(partial / CARD, model_card(model, record, onnx, license_id))
    return onnx, refusal


@contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A folder to fill beside one, put in its place at the end; where anything goes wrong, the old one stays."""
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid4().hex
    partial, old = (folder.with_name(f".{mark}.{kind}") for kind in ("partial", "old"))
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
