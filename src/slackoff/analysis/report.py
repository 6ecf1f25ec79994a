"""The report of a study: figures, tables, claims.json and one self-contained page, from the record alone."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from slackoff.analysis.axes import lines, save
from slackoff.analysis.balance import COUNT, balance_figure, balance_table
from slackoff.analysis.breakdown import normalised_curves, pairs
from slackoff.analysis.claims import Claim
from slackoff.analysis.cost import network_costs, quality_cost_caption, quality_cost_figure
from slackoff.analysis.distributions import (
    distribution_figure,
    distribution_table,
    distributions_caption,
)
from slackoff.analysis.figures import curves, fits, grid, split, split_by_test_set, tradeoff, training
from slackoff.analysis.frames import load
from slackoff.analysis.groups import groups, together, where
from slackoff.analysis.page import Drawn, Findings, render
from slackoff.analysis.tables import cell_means, threshold_table, to_latex
from slackoff.analysis.text import WARNING, is_smoke, mark
from slackoff.metrics.columns import COLUMNS


def build(study_dir: str | Path) -> Path:
    """Rebuilds everything that is drawn from a study and returns the path of its index.html.

    Writes figures/*.png and *.svg, tables/*.csv and *.tex, claims.json and index.html into the study's
    folder. The same record gives the same files. Cells that failed or are missing are named in the page,
    never left out.

    Raises SlackoffError when `study_dir` holds no usable study.json.
    """
    found = Findings.of(load(study_dir))
    drawn, folder = draw(found), found.frames.study.folder
    write_tables(found)
    write_claims(found.claims, folder)
    page = folder / "index.html"
    page.write_text(render(found, drawn), encoding="utf-8")
    return page


def draw(findings: Findings) -> list[Drawn]:
    """Draws all figures into the study's folder, in the order of the page."""
    frames, table = findings.frames, findings.table
    axis, folder = frames.study.axis, frames.study.folder / "figures"
    made: list[Drawn] = []

    def keep(kind: str, labels: dict[str, Any], figure: Figure, caption: str = "") -> None:
        part = ", ".join(str(value) for value in labels.values())
        if is_smoke(frames.study.size):
            mark(figure)
        png, svg = save(figure, folder, "-".join(filter(None, [kind, _slug(part)])))
        made.append(Drawn(kind, part, png, svg, caption))

    if len(findings.quality_cost) and (costs := network_costs(frames.study.folder)):
        words = quality_cost_caption(costs, int(findings.quality_cost["settings"].max()))
        keep("quality_cost", {}, quality_cost_figure(findings.quality_cost, costs), words)
    any_results = len(frames.images) > 0
    parts = split(table, axis) if any_results else []
    points, found = cell_means(frames), groups(frames)
    for labels, rows in split_by_test_set(table, axis) if any_results else []:
        if fits(rows, axis):
            keep("grid", labels, grid(rows, axis, where(points, labels)))
    for labels, rows in parts:
        keep("curves", labels, curves(rows, axis, where(points, labels)))
    for labels, rows in parts if axis == COUNT else []:
        if len(drawable := pairs(lines(rows, axis), found, labels)) > 1:
            keep("normalised", labels, normalised_curves(drawable))
    for balance in findings.balances:
        keep("balance", balance.labels, balance_figure(balance))
    for labels, rows in parts:
        keep("tradeoff", labels, tradeoff(rows, axis))
    for some in findings.distributions:
        labels = {"measure": COLUMNS[some.measure].label, **some.labels}
        keep("distribution", labels, distribution_figure(some), distributions_caption(some))
    # training knows nothing of the several test sets that groups of the same cells tell apart
    for labels, (group, *_) in together(found, lambda group: group.own_labels):
        steps = frames.steps[frames.steps["cell"].isin(group.cells["id"])]
        if len(steps):
            keep("training", labels, training(steps, group.cells, axis))
    return made


def write_tables(found: Findings) -> None:
    """tables/study.csv and .tex, thresholds.csv, cells.csv with every cell's state, seconds and label.

    Where there is something to show: published.csv (the paper's numbers beside the measured
    ones), teacher.csv, quality_cost.csv, balance.csv, distributions.csv.
    """
    frames, table = found.frames, found.table
    folder = frames.study.folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    always = {"study": table, "thresholds": threshold_table(frames), "cells": frames.cells}
    others = {
        "published": pd.DataFrame() if found.published is None else found.published.table,
        "teacher": found.teachers,
        "quality_cost": found.quality_cost,
        "balance": balance_table(found.balances),
        "distributions": distribution_table(found.distributions, frames.study.axis),
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


def _slug(text: str) -> str:
    """A file name's part: 'unet, Rain 100' as 'unet-rain-100'."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
