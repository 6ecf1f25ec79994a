"""The report of a complexity study: figures, tables, claims.json and one self-contained page, from the record alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from slackoff.analysis.axes import save
from slackoff.analysis.claims.claim import Claim
from slackoff.analysis.complexity import figures
from slackoff.analysis.complexity.claims import ANSWER, check
from slackoff.analysis.complexity.orders import PUBLISHED, Spectra, spectra, worth_showing
from slackoff.analysis.complexity.record import ComplexityStudy, label, load
from slackoff.analysis.complexity.tables import print_table, readable, scales_table, to_latex, windows_table
from slackoff.analysis.page import data_uri, environment, photo_uri
from slackoff.analysis.report import write_claims


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it: its name, a data URI, and what it says."""

    name: str
    uri: str
    caption: str


def build(study_dir: str | Path) -> Path:
    """Rebuild everything that is drawn from a complexity study and return the path of its index.html.

    Writes figures/*.png and *.svg, tables/*.csv and *.tex, claims.json and index.html into the study's folder. The same
    record gives the same files.

    Raises:
        SlackoffError: the record is missing or damaged.
    """
    study = load(study_dir)
    found = spectra(study)
    claims = check(study, found)
    drawn = _draw(found, study)
    _write_tables(found, study)
    write_claims(claims, study.folder)
    page = study.folder / "index.html"
    page.write_text(_render(study, found, claims, drawn), encoding="utf-8")
    return page


def show(study_dir: str | Path, console: Console) -> None:
    """Build the report, then print its table, the answer and where the page lies. Raises as `build`."""
    page = build(study_dir)
    study = load(study_dir)
    found = spectra(study)
    print_table(found, study, console)
    for claim in check(study, found):
        if claim.id == ANSWER:
            console.print(f"{claim.verdict}: {claim.sentence}", markup=False, highlight=False)
    console.print(f"Report: {page}", soft_wrap=True)


def _draw(found: list[Spectra], study: ComplexityStudy) -> list[Drawn]:
    shown = worth_showing(found)
    chosen = " The other panels show, without and with normalisation, the window to the full depth that comes nearest "
    chosen += "to the published order; it was searched for."
    half = ", where C is half the variance" if study.has_every_scale else ""
    captions = {
        "totals": f"Mean C over the patches with 95 % intervals; first over all scales measured{half}."
        + (chosen if len(shown) > 1 else ""),
        "scales": "C_k, the contrast that is lost when blocks of the given side are merged into larger ones, with 95 % "
        "intervals. C is the sum over the scales from k0 on.",
        "ranks": "Rank by mean C from k0 to the full depth, 1 the most complex; '=': all equal, whatever the images."
        + (" ✓: the published order, each step clear; (✓): the order of the means only." if _comparable(found) else ""),
    }
    made: dict[str, Figure] = {
        "totals": figures.totals(shown),
        "scales": figures.scales(found, study.filter_size),
        "ranks": figures.ranks(found),
    }
    folder = study.folder / "figures"
    return [Drawn(name, data_uri(save(figure, folder, name)[1]), captions[name]) for name, figure in made.items()]


def _write_tables(found: list[Spectra], study: ComplexityStudy) -> None:
    """tables/windows.csv (every window), scales.csv (C_k) and complexity.tex (windows to the full depth)."""
    folder = study.folder / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    windows_table(found).to_csv(folder / "windows.csv", index=False)
    scales_table(found).to_csv(folder / "scales.csv", index=False)
    (folder / "complexity.tex").write_text(to_latex(found, study), encoding="utf-8")


def _render(study: ComplexityStudy, found: list[Spectra], claims: list[Claim], drawn: list[Drawn]) -> str:
    answers = [claim for claim in claims if claim.id == ANSWER]
    return (
        environment()
        .get_template("complexity.html.j2")
        .render(
            study=study,
            answers=answers,
            claims=claims,
            scope=answers[0].scope,
            drawn=drawn,
            headings=list(readable(found).columns),
            rows=_rows(found),
            categories=_categories(study, found),
            examples=[(label(name), [photo_uri(path) for path in paths]) for name, paths in study.examples()],
            comparable=_comparable(found),
            scales=len(study.scale_columns),
            settings=_flat(study.settings),
            environment=_flat(study.environment),
        )
    )


def _comparable(found: list[Spectra]) -> bool:
    """Whether the categories of the published order were measured."""
    return set(PUBLISHED) <= set(found[0].samples)


def _rows(found: list[Spectra]) -> list[list[dict[str, Any]]]:
    """The readable table: per cell its first line, a second one with the interval, and a value to sort by."""
    rows = []
    for words in readable(found).itertuples(index=False):
        cells = []
        for entry in words:
            main, _, interval = str(entry).partition(" [")
            cells.append({"main": main, "interval": interval.rstrip("]").replace(", ", " to "), "sort": main})
        rows.append(cells)
    return rows


def _categories(study: ComplexityStudy, found: list[Spectra]) -> list[tuple[str, str, int, int]]:
    """(label, folder, photographs, patches) of each category."""
    roots = study.settings.get("categories") or {}
    samples = found[0].samples
    return [
        (label(name), str((roots.get(name) or {}).get("root", "")), samples[name].photographs, samples[name].patches)
        for name in study.categories
    ]


def _flat(content: dict[str, Any]) -> dict[str, str]:
    """{'a': {'b': 1}} as {'a.b': '1'}."""
    return {str(key): str(value) for key, value in pd.json_normalize(content).iloc[0].items()} if content else {}
