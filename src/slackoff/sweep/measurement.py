"""A study that trains nothing: measure its images, write ``study.json`` and the rows, report."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console

from slackoff.errors import SlackoffError
from slackoff.evaluation.complexity import KEY, ComplexityMeasurement
from slackoff.record.atomic import write_json, write_whole


def run_measurement(config: DictConfig, console: Console) -> int:
    """Measure what ``study.measure`` describes and draw the study; what was measured before is only drawn.

    Args:
        config: a resolved config with ``study.measure``.
        console: for the table and the place of the report.

    Returns:
        0, the number of failures; mistakes are raised.

    Raises:
        SlackoffError: a setting that cannot be, a folder or image that cannot be read, or a record that cannot be
            written.
    """
    from slackoff import build  # imports torch

    settings: Any = OmegaConf.to_container(config.study.measure)
    measurement = build.build(config.study.measure, KEY)
    if not isinstance(measurement, ComplexityMeasurement):
        raise SlackoffError(f"{KEY}._target_={settings.get('_target_')} measures nothing that a study can draw.")
    name = "-".join([str(config.study.name), str(config.size), measurement.fingerprint()[:6]])
    folder = Path(config.runs) / "studies" / name
    try:
        _record(folder, name, config, settings, measurement, console)
    except OSError as error:
        raise SlackoffError(
            f"The record folder {folder} cannot be written ({error.strerror or error}): make it writable, free space, "
            "or choose another place with runs=..."
        ) from error
    _report(folder, console)
    return 0


def _record(
    folder: Path,
    name: str,
    config: DictConfig,
    settings: dict[str, Any],
    measurement: ComplexityMeasurement,
    console: Console,
) -> None:
    """The rows and example patches first, study.json last: a study is listed only when it is whole."""
    from slackoff.analysis.complexity import KIND
    from slackoff.analysis.complexity.record import ROWS
    from slackoff.record.environment import describe_environment

    path = folder / "study.json"
    if path.is_file() and (folder / ROWS).is_file():
        console.print("These patches are measured already: only the report is drawn.")
        return
    console.print(f"Measuring {measurement.count} patches of each of {len(measurement.categories)} categories.")
    rows = measurement.measure()
    for category, patches in measurement.examples().items():
        (folder / "patches" / category).mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(patches):
            Image.fromarray(pixels).save(folder / "patches" / category / f"{number}.png")
    write_whole(folder / ROWS, lambda partial: rows.to_parquet(partial, index=False))
    texts = {key: str(config.study.get(key, "")) for key in ("title", "question", "paper")}
    write_json(
        path,
        {
            "name": name,
            "kind": KIND,
            "experiment": str(config.study.name),
            **texts,
            "size": str(config.size),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", "slackoff", *sys.argv[1:]]),
            "measure": settings,
            "environment": describe_environment(),
        },
    )


def _report(folder: Path, console: Console) -> None:
    from slackoff.analysis.complexity.report import show  # pandas and matplotlib: not needed before

    show(folder, console)
