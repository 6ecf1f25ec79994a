"""The report of a study: figures, tables, claims.json and one self-contained page, from the record alone."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from slackoff.analysis.axes import lines, save
from slackoff.analysis.balance import COUNT, Balance, balance_figure, balance_table, balances
from slackoff.analysis.breakdown import normalised_curves, pairs
from slackoff.analysis.claims import Claim, check
from slackoff.analysis.claims.published import published_beside
from slackoff.analysis.cost import network_costs, quality_cost_caption, quality_cost_figure, quality_cost_table
from slackoff.analysis.distributions import (
    Distributions,
    distribution_figure,
    distribution_table,
    distributions,
    distributions_caption,
)
from slackoff.analysis.figures import curves, fits, grid, split, split_by_test_set, tradeoff, training
from slackoff.analysis.frames import Frames, load
from slackoff.analysis.groups import groups
from slackoff.analysis.page import Drawn, render
from slackoff.analysis.tables import cell_means, study_table, teacher_table, threshold_table, to_latex
from slackoff.analysis.text import WARNING, is_smoke, mark
from slackoff.metrics.columns import COLUMNS


def build(study_dir: str | Path) -> Path:
    """Rebuilds everything that is drawn from a study and returns the path of its index.html.

    Writes figures/*.png and *.svg, tables/*.csv and *.tex, claims.json and index.html into the study's
    folder. The same record gives the same files. Cells that failed or are missing are named in the page,
    never left out.

    Raises SlackoffError when `study_dir` holds no usable study.json.
    """
    frames = load(study_dir)
    folder = frames.study.folder
    table, claims = study_table(frames), check(frames)
    balanced, distributed = balances(frames), distributions(frames)
    drawn = draw(frames, table, balanced, distributed)
    write_tables(frames, table, balanced, distributed)
    write_claims(claims, folder)
    page = folder / "index.html"
    page.write_text(render(frames, table, claims, drawn, balanced, distributed), encoding="utf-8")
    return page


def draw(
    frames: Frames,
    table: pd.DataFrame,
    balanced: Sequence[Balance] = (),
    distributed: Sequence[Distributions] = (),
) -> list[Drawn]:
    """Draws all figures into the study's folder, in the order of the page."""
    axis, folder = frames.study.axis, frames.study.folder / "figures"
    made: list[Drawn] = []

    def keep(kind: str, labels: dict[str, Any], figure: Figure, caption: str = "") -> None:
        part = ", ".join(str(value) for value in labels.values())
        if is_smoke(frames.study.size):
            mark(figure)
        png, svg = save(figure, folder, "-".join(filter(None, [kind, _slug(part)])))
        made.append(Drawn(kind, part, png, svg, caption))

    if (priced := network_costs(frames.study.folder)) and len(ranked := quality_cost_table(frames)):
        words = quality_cost_caption(priced, int(ranked["settings"].max()))
        keep("quality_cost", {}, quality_cost_figure(ranked, priced), words)
    any_results = len(frames.images) > 0
    parts = split(table, axis) if any_results else []
    points, found = cell_means(frames), groups(frames)
    for labels, rows in split_by_test_set(table, axis) if any_results else []:
        if fits(rows, axis):
            keep("grid", labels, grid(rows, axis, _where(points, labels)))
    for labels, rows in parts:
        keep("curves", labels, curves(rows, axis, _where(points, labels)))
    for labels, rows in parts if axis == COUNT else []:
        if len(drawable := pairs(lines(rows, axis), found, labels)) > 1:
            keep("normalised", labels, normalised_curves(drawable))
    for balance in balanced:
        keep("balance", balance.labels, balance_figure(balance))
    for labels, rows in parts:
        keep("tradeoff", labels, tradeoff(rows, axis))
    for some in distributed:
        labels = {"measure": COLUMNS[some.measure].label, **some.labels}
        keep("distribution", labels, distribution_figure(some), distributions_caption(some))
    # training knows nothing of the several test sets that groups of the same cells tell apart
    for group in list({tuple(group.cells["id"]): group for group in reversed(found)}.values())[::-1]:
        steps = frames.steps[frames.steps["cell"].isin(group.cells["id"])]
        if len(steps):
            keep("training", group.own_labels, training(steps, group.cells, axis))
    return made


def write_tables(
    frames: Frames,
    table: pd.DataFrame,
    balanced: Sequence[Balance] = (),
    distributed: Sequence[Distributions] = (),
) -> None:
    """tables/study.csv and .tex, thresholds.csv, cells.csv with every cell's state, seconds and label.

    Where there is something to show: published.csv (the paper's numbers beside the measured
    ones), teacher.csv, quality_cost.csv, balance.csv, distributions.csv.
    """
    folder = frames.study.folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    published = published_beside(frames)
    always = {"study": table, "thresholds": threshold_table(frames), "cells": frames.cells}
    others = {
        "published": pd.DataFrame() if published is None else published.table,
        "teacher": teacher_table(frames),
        "quality_cost": quality_cost_table(frames),
        "balance": balance_table(balanced),
        "distributions": distribution_table(distributed, frames.study.axis),
    }
    for name, made in (always | {name: made for name, made in others.items() if len(made)}).items():
        made.to_csv(folder / f"{name}.csv", index=False)
    title = frames.study.title or frames.study.name
    headed = f"{title}: mean over the test images and 95 % bootstrap interval."
    if is_smoke(frames.study.size):
        headed = f"{headed} {WARNING}"
    latex = to_latex(table, frames.study.axis, headed, f"tab:{_slug(frames.study.name)}")
    (folder / "study.tex").write_text(latex, encoding="utf-8")


def write_claims(claims: list[Claim], folder: Path) -> None:
    """claims.json: a list of claims, NaN as null."""
    text = json.dumps([claim.as_json() for claim in claims], indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "claims.json").write_text(text + "\n", encoding="utf-8")


def _where(points: pd.DataFrame, labels: dict[str, Any]) -> pd.DataFrame:
    for label, value in labels.items():
        points = points[points[label] == value]
    return points


def _slug(text: str) -> str:
    """A file name's part: 'unet, Rain 100' as 'unet-rain-100'."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
