"""Show a study in W&B: one run with the table and the curves, rebuilt from the record, the same run each time."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_log = logging.getLogger(__name__)
_MEASURES = ("e_r", "removal_share", "e_b", "psnr_rgb", "ssim_rgb", "psnr_y", "ssim_y")


def publish_study(folder: Path, table: pd.DataFrame, axis: str, labels: Sequence[str], project: str) -> bool:
    """Log one W&B table and line plots of a study's means against its axis; skip it if nothing changed.

    Args:
        folder: the study's folder, whose name gives the run its id.
        table: the study's numbers, one row a value of the axis in each group, with the columns of the measures.
        axis: the column that the curves are drawn against.
        labels: the columns that tell the groups apart, one line each; may be empty.
        project: W&B project.

    Returns:
        Whether a run was written. W&B that is unreachable or raises is reported in the log and nothing else.
    """
    marker = folder / "wandb" / "published.txt"
    rows = with_lines(table, axis, labels)
    content = hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()
    if rows.empty or (marker.exists() and marker.read_text(encoding="utf-8") == content):
        return False
    try:
        _log_run(folder, rows, axis, project)
    except Exception as error:  # W&B is a view: whatever it raises must not fail a study
        _log.warning("The study is not shown in W&B (%s: %s)", type(error).__name__, error)
        return False
    marker.write_text(content, encoding="utf-8")
    return True


def with_lines(table: pd.DataFrame, axis: str, labels: Sequence[str]) -> pd.DataFrame:
    """The rows that have results, in order of the axis, with a column ``line`` that names the group of each."""
    rows = table.dropna(subset=[axis, "e_r"])
    names = [", ".join(map(str, values)) or "all" for values in rows[list(labels)].itertuples(index=False)]
    return rows.assign(line=names).sort_values(["line", axis], ignore_index=True)


def _log_run(folder: Path, rows: pd.DataFrame, axis: str, project: str) -> None:
    import wandb

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    table = wandb.Table(dataframe=rows)
    with wandb.init(
        project=project,
        id=f"study-{folder.name}",
        name=folder.name,
        group=folder.name,
        job_type="study",
        dir=str(folder),
        resume="allow",
        settings=wandb.Settings(silent=True),
    ) as run:
        plots = {
            f"{measure} against {axis}": wandb.plot.line(
                table, axis, measure, stroke="line", title=f"{measure} against {axis}"
            )
            for measure in _MEASURES
            if measure in rows
        }
        run.log({"study": table, **plots})
