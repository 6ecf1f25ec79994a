"""The report of a user study: tables, a figure and one self-contained page, from the CSV alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slackoff.analysis.pictures import data_uri
from slackoff.analysis.style import save
from slackoff.analysis.templating import environment
from slackoff.analysis.user_study.csv_file import read_header
from slackoff.analysis.user_study.figure import user_study_figure
from slackoff.analysis.user_study.scores import COLUMNS as SCORE_COLUMNS
from slackoff.analysis.user_study.scores import read_scores
from slackoff.analysis.user_study.summary import Summary, summarise_scores, summarise_votes
from slackoff.analysis.user_study.tables import readable, write_tables
from slackoff.analysis.user_study.votes import read_votes
from slackoff.analysis.user_study.wording import answer, counted, notes
from slackoff.errors import SlackoffError


def summarise(path: Path, methods: Sequence[str] = (), images: Sequence[str] = ()) -> Summary:
    """The summary of a CSV of votes, or of scores where it has a column 'score' and none 'rater'.

    Args:
        path: the file.
        methods: as for `read_votes`; not for scores, whose file names them all.
        images: names of the images of the study, to tell those without votes.

    Raises:
        SlackoffError: as for `read_votes` and `read_scores`.
    """
    header = read_header(path)
    if "score" in header and "rater" not in header:
        if methods:
            raise SlackoffError(f"{path} holds scores ({', '.join(SCORE_COLUMNS)}): leave --method out.")
        return summarise_scores(read_scores(path))
    return summarise_votes(read_votes(path, methods), images)


def build(summary: Summary, folder: Path, title: str) -> Path:
    """Write tables/*.csv, figures/user_study.png and .svg, and index.html into `folder`; returns the page's path.

    The same votes give the same files.

    Raises:
        OSError: the folder cannot be written.
    """
    write_tables(summary, folder / "tables")
    figure = data_uri(save(user_study_figure(summary), folder / "figures", "user_study")[1])
    clear, sentence = answer(summary)
    text = readable(summary)
    page = folder / "index.html"
    html = environment().get_template("user_study.html.j2")
    page.write_text(
        html.render(
            title=title,
            voted=summary.shares is not None,
            counted=counted(summary),
            clear=clear,
            answer=sentence,
            notes=notes(summary),
            figure=figure,
            headings=list(text.columns),
            rows=[[_cell(str(entry)) for entry in row] for row in text.itertuples(index=False)],
            images=_images(summary),
            methods=summary.methods,
        ),
        encoding="utf-8",
    )
    return page


def _cell(entry: str) -> dict[str, str]:
    """An entry of the table: its number, its interval, and what to sort by."""
    main, _, interval = entry.partition(" [")
    return {"main": main, "interval": interval.rstrip("]").replace(", ", " to "), "sort": main}


def _images(summary: Summary) -> list[tuple[str, list[dict[str, Any]]]]:
    """(image, per method its votes or score and whether it is the best there)."""
    values = summary.values[summary.methods]
    found = []
    for image, row in values.iterrows():
        top = row.max()
        text = [f"{value:.0f}" if summary.shares is not None else f"{value:.4g}" for value in row]
        cells = [{"text": shown, "best": value == top} for shown, value in zip(text, row, strict=True)]
        found.append((str(image), cells))
    return found
