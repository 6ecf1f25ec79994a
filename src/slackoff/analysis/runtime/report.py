"""The report of a runtime study: one figure, one table and one self-contained page, from the record alone."""

from pathlib import Path

from rich.console import Console

from slackoff.analysis.axes import save
from slackoff.analysis.page import data_uri, environment, flat
from slackoff.analysis.runtime.figure import runtime_figure
from slackoff.analysis.runtime.published import HARDWARE, SIZE_PX
from slackoff.analysis.runtime.record import RuntimeStudy, label, load
from slackoff.analysis.runtime.summary import ratio_between, reference_of, summaries
from slackoff.analysis.runtime.tables import (
    absent_networks,
    headings,
    print_table,
    readable,
    runtime_table,
    significant,
    to_latex,
)
from slackoff.analysis.text import listing

CAVEAT = (
    f"The published seconds (MENET, Table III) are from other hardware, a {HARDWARE['cpu']} and a {HARDWARE['cuda']}, "
    f"and other programs, for images of {SIZE_PX}x{SIZE_PX}: ratios between networks can be compared, seconds cannot."
)


def build(study_dir: str | Path) -> Path:
    """Rebuild everything that is drawn from a runtime study and return the path of its index.html.

    Writes figures/runtime.png and .svg, tables/runtime.csv and .tex, and index.html into the study's folder. The same
    record gives the same files.

    Raises:
        SlackoffError: the record is missing or damaged.
    """
    study = load(study_dir)
    _, svg = save(runtime_figure(study), study.folder / "figures", "runtime")
    tables = study.folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    runtime_table(study).to_csv(tables / "runtime.csv", index=False)
    (tables / "runtime.tex").write_text(to_latex(study), encoding="utf-8")
    page = study.folder / "index.html"
    page.write_text(_render(study, data_uri(svg)), encoding="utf-8")
    return page


def show(study_dir: str | Path, console: Console) -> None:
    """Build the report, then print its table, what it says and where the page lies. Raises as `build`."""
    page = build(study_dir)
    study = load(study_dir)
    print_table(study, console)
    for sentence in (*answers(study), CAVEAT):
        console.print(sentence, markup=False, highlight=False)
    console.print(f"Report: {page}", soft_wrap=True)


def answers(study: RuntimeStudy) -> list[str]:
    """For each device a sentence with the fastest and the slowest network."""
    sentences = []
    for device in study.devices:
        medians = {one.name: one.devices[device].timing.median for one in summaries(study)}
        medians = {name: median for name, median in medians.items() if median > 0}
        where = f"On the {label(device)} ({study.hardware(device)}, torch {study.torch})"
        if not medians:
            sentences.append(f"{where} no network could be timed.")
            continue
        fast, slow = min(medians, key=lambda name: medians[name]), max(medians, key=lambda name: medians[name])
        times = significant(ratio_between(study, device, slow, fast).median)
        sentences.append(
            f"{where} an image of {study.size_px}x{study.size_px} takes from {significant(medians[fast])} s ({fast}) "
            f"to {significant(medians[slow])} s ({slow}, {times} times as long)."
        )
    return sentences


def _render(study: RuntimeStudy, figure: str) -> str:
    found = summaries(study)
    absent = absent_networks(study)
    return (
        environment()
        .get_template("runtime.html.j2")
        .render(
            study=study,
            answers=answers(study),
            caveat=CAVEAT,
            failures=[
                (one.name, label(device), there.failure)
                for one in found
                for device, there in one.devices.items()
                if there.failure
            ],
            figure=figure,
            headings=headings(study),
            rows=readable(study),
            measured=len(found),
            absent=listing([row.name for row in absent]) if absent else "",
            reference=reference_of(study),
            no_gpu="cuda" not in study.devices,
            hardware=[(label(device), study.hardware(device)) for device in study.devices],
            papers=[(one.name, one.paper) for one in found if one.paper],
            settings=flat(study.settings),
            environment=flat(study.environment),
        )
    )
