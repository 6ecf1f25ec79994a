"""The page on which people vote: a thin layer of Gradio over a `Questionnaire`, on this machine only."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from slackoff.deraining import local_page
from slackoff.errors import SlackoffError
from slackoff.user_study.questionnaire import AnonymousCopies, Question, Questionnaire, is_rater, rater_or_new

_STYLE = "footer { display: none !important } .pick { margin-bottom: 1rem }"
_TASK = (
    "**In which picture has the rain been removed best?** The first picture is the original. The others come from "
    "different methods, in random order."
)
_THANKS = "## Thank you\n\nAll your votes are kept. You may close this page."


def import_gradio() -> Any:
    """Gradio for this page; raises SlackoffError where it is not installed."""
    return local_page.import_gradio("The page of a user study", "user_study")


def make_page(questionnaire: Questionnaire, folder: Path) -> Any:
    """The page as a `gradio.Blocks`. A browser keeps its rater's id, so that a page that is loaded again goes on.

    Pictures are sent as anonymous copies, made in `folder`, and an answer names a place, never a method.
    """
    gr = import_gradio()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # from there Gradio serves what a page shows
    copies = AnonymousCopies(folder)
    with gr.Blocks(title="Which picture is best?", analytics_enabled=False) as page:
        rater = gr.BrowserState("", storage_key="slackoff-rater", secret="slackoff")  # an id is no secret
        token = gr.Textbox(visible=False)  # kept by the browser: what its buttons are about
        heading = gr.Markdown()
        with gr.Column() as task:
            gr.Markdown(_TASK)
            original, pictures, buttons = _grid(gr, len(questionnaire.methods))
        another = gr.Button("Another person votes", visible=False, size="md")
        shown = [rater, token, heading, task, another, original, *pictures]

        def show(kept: object) -> list[Any]:
            known = rater_or_new(kept)
            try:
                return [known, *_shown(gr, questionnaire.question(known), len(pictures), copies)]
            except (SlackoffError, OSError) as error:
                raise _page_error(gr, "A picture cannot be shown.", error) from error

        def pick(kept: object, seen: str, place: int) -> list[Any]:
            try:
                if is_rater(kept):  # no vote otherwise: a new rater was shown nothing, even if the token should fit
                    questionnaire.answer(kept, seen, place)
            except OSError as error:
                raise _page_error(gr, "Your vote could not be saved.", error) from error
            return show(kept)

        page.load(show, rater, shown)
        another.click(lambda: show(None), None, shown)
        for place, button in enumerate(buttons):
            button.click(
                lambda kept, seen, place=place: pick(kept, seen, place),
                [rater, token],
                shown,
                api_name=f"pick_{place}",
            )
    return page


def serve(questionnaire: Questionnaire, port: int) -> None:
    """Show the page on this machine at `port` until Ctrl-C.

    Raises:
        SlackoffError: Gradio is not installed, or the port is taken.
    """
    words = "Ctrl-C ends the study, votes are kept at once."
    local_page.serve(import_gradio(), partial(make_page, questionnaire), port, _STYLE, words)


def letter(place: int) -> str:
    """'A' for the first place; 'AA' after 'Z'."""
    first, last = divmod(place, 26)
    return (letter(first - 1) if first else "") + chr(ord("A") + last)


def _grid(gr: Any, methods: int) -> tuple[Any, list[Any], list[Any]]:
    """The original, then a picture and a button for each method's place: cells of one size, so of one scale."""
    cells = 1 + methods
    columns = 2 if cells == 4 else 3
    pictures, buttons = [], []
    for start in range(0, cells, columns):
        with gr.Row():
            for cell in range(start, start + columns):
                with gr.Column(min_width=280):
                    if cell >= cells:
                        continue
                    pictures.append(_picture(gr, letter(cell - 1) if cell else "Original"))
                    if cell:
                        buttons.append(gr.Button(f"{letter(cell - 1)} is best", variant="primary", elem_classes="pick"))
    return pictures[0], pictures[1:], buttons


def _picture(gr: Any, label: str) -> Any:
    return gr.Image(label=label, interactive=False, buttons=["fullscreen"])


def _shown(gr: Any, question: Question | None, methods: int, copies: AnonymousCopies) -> list[Any]:
    """Updates of what stands on the page, but for the rater."""
    if question is None:
        return ["", _THANKS, gr.update(visible=False), gr.update(visible=True), *[None] * (1 + methods)]
    heading = f"## Image {question.number} of {question.total}"
    paths = [question.group.original, *(question.group.results[method] for method in question.methods)]
    visible = [gr.update(visible=True), gr.update(visible=False)]
    return [question.token, heading, *visible, *(copies.of(path) for path in paths)]


def _page_error(gr: Any, words: str, error: Exception) -> Exception:
    """What went wrong, in full for the person who runs the study and in short for the rater."""
    print(f"error: {words} {error}", file=sys.stderr, flush=True)
    return gr.Error(f"{words} Please tell the person who runs this study.", print_exception=False)
