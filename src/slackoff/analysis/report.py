"""The report of a study: figures, tables, claims.json and one self-contained page, from the record alone."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from slackoff.analysis.axes import save
from slackoff.analysis.balance import balance_figure, balance_table
from slackoff.analysis.breakdown import normalised_curves
from slackoff.analysis.claims import Claim
from slackoff.analysis.common_level import common_level_figure, common_level_table
from slackoff.analysis.cost import network_costs, quality_cost_caption, quality_cost_figure
from slackoff.analysis.distributions import (
    distribution_figure,
    distribution_table,
    distributions_caption,
)
from slackoff.analysis.figures import curves, fits, grid, split, split_by_test_set, tradeoff, training
from slackoff.analysis.frames import load
from slackoff.analysis.groups import groups, together, where
from slackoff.analysis.macros import macros
from slackoff.analysis.page import Drawn, Findings, render
from slackoff.analysis.search import search_caption, search_figure, search_table
from slackoff.analysis.tables import cell_means, threshold_table, to_latex
from slackoff.analysis.text import WARNING, is_smoke, mark
from slackoff.metrics.columns import COLUMNS
from slackoff.record.search import read_search


def build(study_dir: str | Path) -> Path:
    """Rebuilds everything that is drawn from a study and returns the path of its index.html.

    Writes figures/*.png and *.svg, tables/*.csv and *.tex, claims.json and index.html into the study's folder. The
    same record gives the same files. Cells that failed or are missing are named in the page, never left out.

    Raises SlackoffError when `study_dir` holds no usable study.json.
    """
    found = Findings.of(load(study_dir))
    drawn, folder = draw(found), found.frames.study.folder
    write_tables(found)
    write_claims(found.claims, folder)
    page = folder / "index.html"
    page.write_text(
        render(found, drawn), encoding="utf-8", errors="backslashreplace"
    )  # what configs hold may be anything
    return page


def draw(findings: Findings) -> list[Drawn]:
    """Draws all figures into the study's folder, in the order of the page."""
    frames, table = findings.frames, findings.table
    axis, folder = frames.study.axis, frames.study.folder / "figures"
    made: list[Drawn] = []
    times = Counter[str]()

    def keep(kind: str, labels: dict[str, Any], figure: Figure, caption: str = "") -> None:
        part = ", ".join(str(value) for value in labels.values())
        if is_smoke(frames.study.size):
            mark(figure)
        name = "-".join(filter(None, [kind, _slug(part)[:100]]))
        times[name] += 1  # of names in other letters nothing may be left
        png, svg = save(figure, folder, f"{name}-{times[name]}" if times[name] > 1 else name)
        made.append(Drawn(kind, part, png, svg, caption))

    if found_trials := read_search(frames.study.folder):
        keep("search", {}, search_figure(found_trials), search_caption(found_trials))
    compared = len(findings.quality_cost) and findings.quality_cost["compared"].any()
    if compared and (costs := network_costs(frames.study.folder)):
        words = quality_cost_caption(costs, findings.quality_cost)
        keep("quality_cost", {}, quality_cost_figure(findings.quality_cost, costs), words)
    any_results = len(frames.images) > 0
    parts = split(table, axis) if any_results else []
    points, found = cell_means(frames), groups(frames)
    for labels, rows in split_by_test_set(table, axis) if any_results else []:
        if fits(rows, axis):
            keep("grid", labels, grid(rows, axis, where(points, labels)))
    for labels, rows in parts:
        keep("curves", labels, curves(rows, axis, where(points, labels)))
    for part in findings.together:
        keep("normalised", part.labels, normalised_curves(part.drawn))
        if part.any_level:
            keep("common_level", part.labels, common_level_figure(part))
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


def tables_of(found: Findings) -> dict[str, pd.DataFrame]:
    """The tables of a study: study, thresholds, and cells with every cell's state, seconds and label.

    Where there is something to show: published (the paper's numbers beside the measured ones), teacher, ema (moving
    averages of the weights), best (checkpoints), quality_cost, balance, common_levels, distributions.
    """
    frames, table = found.frames, found.table
    always = {"study": table, "thresholds": threshold_table(frames), "cells": frames.cells}
    others = {
        "published": pd.DataFrame() if found.published is None else found.published.table,
        "teacher": found.teachers,
        "ema": found.averages,
        "best": found.best,
        "quality_cost": found.quality_cost,
        "balance": balance_table(found.balances),
        "common_levels": common_level_table(found.together),
        "distributions": distribution_table(found.distributions, frames.study.axis),
    }
    return always | {name: made for name, made in others.items() if len(made)}


def write_tables(found: Findings) -> None:
    """tables/NAME.csv of all tables and of a search's trials, study.tex, numbers.tex with a LaTeX macro a number."""
    frames, table = found.frames, found.table
    folder = frames.study.folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    tables = tables_of(found)
    if trials := read_search(frames.study.folder):
        tables["search"] = search_table(trials)
    for name, made in tables.items():
        made.to_csv(folder / f"{name}.csv", index=False)
    (folder / "numbers.tex").write_text(macros(found, tables), encoding="utf-8", errors="backslashreplace")
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
