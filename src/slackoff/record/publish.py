"""Show a study in W&B: one run with the table and the curves, rebuilt from the record, the same run each time."""

import logging
from pathlib import Path

import pandas as pd

_log = logging.getLogger(__name__)
_MEASURES = ("e_r", "e_r_oracle", "e_b", "removal_share", "psnr_rgb", "ssim_rgb")


def publish_study(folder: Path, cells: pd.DataFrame, images: pd.DataFrame, axis: str, project: str) -> bool:
    """Log one W&B table and line plots of a study's means against its axis; skip it if nothing changed.

    Args:
        folder: the study's folder, whose name gives the run its id.
        cells, images: the study's frames.
        axis: the column that the curves are drawn against.
        project: W&B project.

    Returns:
        Whether a run was written. W&B that is unreachable or raises is reported in the log and nothing else.
    """
    marker = folder / "wandb" / "published.txt"
    done = cells[cells["state"] == "done"]
    content = " ".join(sorted(done["id"]))
    if images.empty or (marker.exists() and marker.read_text(encoding="utf-8") == content):
        return False
    try:
        _log_run(folder, cells, images, axis, project)
    except Exception as error:  # W&B is a view: whatever it raises must not fail a study
        _log.warning("The study is not shown in W&B (%s: %s)", type(error).__name__, error)
        return False
    marker.write_text(content, encoding="utf-8")
    return True


def study_means(cells: pd.DataFrame, images: pd.DataFrame, axis: str) -> pd.DataFrame:
    """One row a finished cell: its id, its value on the axis, and the mean over test images of each measure."""
    means = images.groupby("cell")[list(_MEASURES)].mean()
    done = cells[cells["state"] == "done"].set_index("id")
    return done[[axis]].join(means).reset_index(names="cell").sort_values(axis, ignore_index=True)


def _log_run(folder: Path, cells: pd.DataFrame, images: pd.DataFrame, axis: str, project: str) -> None:
    import wandb

    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    table = wandb.Table(dataframe=study_means(cells, images, axis))
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
            f"{measure} against {axis}": wandb.plot.line(table, axis, measure, title=f"{measure} against {axis}")
            for measure in _MEASURES
        }
        run.log({"study": table, **plots})
