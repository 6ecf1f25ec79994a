"""A user study as it is answered: its pictures, each rater's next question, and the page on which people vote.

Items are ordered by a hash of seed, rater and item. So the same seed and rater give the same ballot on every machine
and under every version of Python, and nothing has to be kept to go on after a restart. The page is a thin layer of
Gradio over a `Questionnaire`, on this machine only.
"""

import hashlib
import os
import re
import secrets
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from PIL import Image

from slackoff.deraining import demo
from slackoff.errors import SlackoffError, printable
from slackoff.images.files import image_size, images_directly_in, read_rgb, require_folder
from slackoff.record.results import kept_pictures
from slackoff.user_study.votes import SEPARATOR, VoteFile


@dataclass(frozen=True)
class Group:
    """One image of the study: its name, the original (rainy) picture and each method's result, all of one size."""

    image: str
    original: Path
    results: dict[str, Path]


def named_folders(methods: Iterable[str]) -> dict[str, str]:
    """The folders of methods given as NAME=FOLDER.

    Raises:
        SlackoffError: a text of another form, a name given twice or with the separator of the votes file in it, or
            fewer than two methods.
    """
    found: dict[str, str] = {}
    for text in methods:
        name, equals, folder = (part.strip() for part in text.partition("="))
        if not (name and equals and folder):
            raise SlackoffError(
                f"--method {text} is not of the form NAME=FOLDER: write for example --method ours=out/."
            )
        if SEPARATOR in name:
            raise SlackoffError(f"--method {text}: a method's name must not contain '{SEPARATOR}', choose another one.")
        if name in found:
            raise SlackoffError(f"--method {name}=... is given twice: give each method a name of its own.")
        found[name] = folder
    if len(found) < 2:
        raise SlackoffError(
            f"A user study needs two or more methods, not {len(found)}: give --method NAME=FOLDER for each."
        )
    return found


def find_groups(originals: str | Path, methods: dict[str, str]) -> list[Group]:
    """The images of the folder `originals`, sorted by name, each with the result that every method's folder has of it.

    A result has the name of its original, up to the suffix. Instead of a folder of pictures a cell of the record may be
    given (runs/cells/ID): its results are its pictures/TEST_SET/IMAGE/output.png, its originals the rainy.png there. An
    image of a cell is called TEST_SET/IMAGE where the cell kept pictures of that name from several test sets.

    Raises:
        SlackoffError: a missing or empty folder, two pictures of one name, an original without a result, a result of
            another size, or a picture that cannot be read.
    """
    shown = _pictures(originals, "--images", "rainy.png")
    results = {name: _pictures(folder, f"--method {name}", "output.png") for name, folder in methods.items()}
    for name, pictures in results.items():
        if missing := sorted(shown.keys() - pictures.keys()):
            others = f" (nor of {len(missing) - 1} others)" if len(missing) > 1 else ""
            raise SlackoffError(
                f"{methods[name]}, the folder of the method {name}, has no picture of the image {missing[0]}{others}: "
                "add it under the original's name, or remove the original."
            )
    groups = [Group(image, shown[image], {name: own[image] for name, own in results.items()}) for image in shown]
    for group in groups:
        height, width = image_size(group.original)
        for name, path in group.results.items():
            of_cells = (group.original.name, path.name) == ("rainy.png", "output.png")
            if of_cells and not np.array_equal(read_rgb(path.with_name("rainy.png")), read_rgb(group.original)):
                raise SlackoffError(
                    f"{path} shows another image than {group.original}, though both are {group.image} of the method "
                    f"{name}: take cells that were tested on the same images."
                )
        for path in group.results.values():
            if (found := image_size(path)) != (height, width):
                raise SlackoffError(
                    f"{path} has {found[1]} x {found[0]} px, but its original {group.original} has {width} x {height} "
                    "px: give both the same size."
                )
    return groups


def image_names(originals: str | Path) -> list[str]:
    """The names of the images of the folder `originals`. Raises as `find_groups`."""
    return list(_pictures(originals, "--images", "rainy.png"))


def _pictures(folder: str | Path, key: str, kind: str) -> dict[str, Path]:
    """Image name -> picture, of a folder of pictures or of a cell; sorted by name, never empty."""
    root = require_folder(folder, key)
    if (root / "pictures").is_dir():
        kept = {named: path / kind for named, path in kept_pictures(root).items()}
        times = Counter(image for _, image in kept)
        found = {image if times[image] == 1 else f"{part}/{image}": path for (part, image), path in kept.items()}
    else:
        found = {}
        for path in images_directly_in(root, key):
            name = " ".join(unicodedata.normalize("NFC", printable(path.stem)).split())  # as the file of votes keeps it
            if (first := found.setdefault(name, path)) is not path:
                raise SlackoffError(f"{first} and {path} in {key} have the same name: remove or rename one of them.")
    if not found:
        raise SlackoffError(
            f"{key}={root} holds no picture: put the pictures directly into it, or name another folder."
        )
    return found


class AnonymousCopies:
    """Makes a PNG copy of each picture once, when it is first asked for: its pixels, a random name and nothing else.

    Copies of equal pictures have different names, so that a method that changes nothing does not give itself away. A
    copy is never written again, because somebody may be reading it. Several threads may ask.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: dict[Path, Path] = {}
        self._lock = threading.Lock()

    def of(self, picture: Path) -> Path:
        """The copy of a picture.

        Raises:
            SlackoffError: the picture cannot be read.
            OSError: the copy cannot be written.
        """
        with self._lock:
            if picture not in self._copies:
                copy = self._folder / f"{secrets.token_hex(8)}.png"
                Image.fromarray(read_rgb(picture)).save(copy)
                self._copies[picture] = copy
            return self._copies[picture]


def shuffled(items: Iterable[str], seed: int, *key: str) -> list[str]:
    """The items in a random order that hangs on the seed, the key and the items alone, not on their order."""
    return sorted(items, key=lambda item: hashlib.sha256("\0".join([str(seed), *key, item]).encode()).digest())


@dataclass(frozen=True)
class Question:
    """One image for one rater: the `number`-th of `total`; `methods` in the order in which their results are shown."""

    number: int
    total: int
    group: Group
    methods: tuple[str, ...]

    @property
    def token(self) -> str:
        """Stands for what is shown where. A page sends it back, so that no vote is kept for what it does not show."""
        shown = "\0".join([self.group.image, *self.methods])
        return hashlib.sha256(shown.encode()).hexdigest()[:16]


class Questionnaire:
    """The study.

    Args:
        groups: its images, at least one, each with a result of every method.
        votes: where votes go; what it holds already is not asked again.
        count: images that each rater is shown, at least 1.
        seed: decides which images a rater sees and in which order methods are placed.
    """

    def __init__(self, groups: Sequence[Group], votes: VoteFile, count: int = 10, seed: int = 0) -> None:
        if count < 1:
            raise SlackoffError(f"--groups {count} leaves a rater nothing to do: give 1 or more.")
        self.methods = sorted(groups[0].results)
        self._groups = {group.image: group for group in groups}
        self._votes, self._count, self._seed = votes, count, seed
        self._one_answer = threading.Lock()

    @property
    def total(self) -> int:
        """Questions for each rater."""
        return min(self._count, len(self._groups))

    def question(self, rater: str) -> Question | None:
        """The rater's first question without a vote; None when all are answered."""
        images = shuffled(self._groups, self._seed, "images", rater)[: self.total]
        for number, image in enumerate(images, 1):
            if (rater, image) not in self._votes.voted:
                order = shuffled(self.methods, self._seed, "methods", rater, image)
                return Question(number, self.total, self._groups[image], tuple(order))
        return None

    def answer(self, rater: str, token: str, place: int) -> bool:
        """Keep the vote for the result at `place` (0 is the first) of the question of that token.

        Returns whether it was kept: an answer to any question but the rater's current one, such as a second click
        before the page has changed, is not.

        Raises:
            OSError: the vote could not be written.
        """
        with self._one_answer:  # of two clicks at once the second must find the first one's vote
            question = self.question(rater)
            if question is None or question.token != token:
                return False
            self._votes.add(rater, question.group.image, question.methods[place], question.methods)
        return True


def is_rater(kept: object) -> TypeGuard[str]:
    """Whether what a browser has kept is the id of a rater: 12 lower-case hexadecimal digits."""
    return isinstance(kept, str) and re.fullmatch("[0-9a-f]{12}", kept) is not None


def rater_or_new(kept: object) -> str:
    """The id that a browser has kept, if it is one, else a new one: random, and telling nothing of the person."""
    return kept if is_rater(kept) else secrets.token_hex(6)


import_gradio = partial(demo.import_gradio, "The page of a user study", "user_study")

_STYLE = "footer { display: none !important } .pick { margin-bottom: 1rem }"
_TASK = (
    "**In which picture has the rain been removed best?** The first picture is the original. The others come from "
    "different methods, in random order."
)
_THANKS = "## Thank you\n\nAll your votes are kept. You may close this page."


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
            pictures, buttons = _grid(gr, len(questionnaire.methods))
        another = gr.Button("Another person votes", visible=False, size="md")
        shown = [rater, token, heading, task, another, *pictures]

        def show(kept: object) -> list[Any]:
            known = rater_or_new(kept)
            try:
                return [known, *_shown(gr, questionnaire.question(known), len(pictures), copies)]
            except (SlackoffError, OSError) as error:
                raise _page_error(gr, "A picture cannot be shown.", error) from error

        def pick(place: int, kept: object, seen: str) -> list[Any]:
            try:
                if is_rater(kept):  # no vote otherwise: a new rater was shown nothing, even if the token should fit
                    questionnaire.answer(kept, seen, place)
            except OSError as error:
                raise _page_error(gr, "Your vote could not be saved.", error) from error
            return show(kept)

        page.load(show, rater, shown)
        another.click(lambda: show(None), None, shown)
        for place, button in enumerate(buttons):
            button.click(partial(pick, place), [rater, token], shown, api_name=f"pick_{place}")
    return page


def serve(questionnaire: Questionnaire, port: int) -> None:
    """Show the page on this machine at `port` until Ctrl-C.

    Raises:
        SlackoffError: Gradio is not installed, or the port is taken.
    """
    words = "Ctrl-C ends the study, votes are kept at once."
    demo.serve_page(import_gradio(), partial(make_page, questionnaire), port, _STYLE, words)


def letter(place: int) -> str:
    """'A' for the first place; 'AA' after 'Z'."""
    first, last = divmod(place, 26)
    return (letter(first - 1) if first else "") + chr(ord("A") + last)


def _grid(gr: Any, methods: int) -> tuple[list[Any], list[Any]]:
    """The original's picture, then one with a button for each method's place: cells of one size, so of one scale."""
    labels = ["Original", *map(letter, range(methods))]
    columns = 2 if len(labels) == 4 else 3
    pictures, buttons = [], []
    for start in range(0, len(labels), columns):
        with gr.Row():
            for cell in range(start, start + columns):
                with gr.Column(min_width=280):
                    if cell < len(labels):
                        pictures.append(gr.Image(label=labels[cell], interactive=False, buttons=["fullscreen"]))
                    if 0 < cell < len(labels):
                        text = f"{labels[cell]} is best"
                        buttons.append(gr.Button(text, variant="primary", elem_classes="pick"))
    return pictures, buttons


def _shown(gr: Any, question: Question | None, pictures: int, copies: AnonymousCopies) -> list[Any]:
    """Updates of what stands on the page, but for the rater."""
    if question is None:
        return ["", _THANKS, gr.update(visible=False), gr.update(visible=True), *[None] * pictures]
    heading = f"## Image {question.number} of {question.total}"
    paths = [question.group.original, *(question.group.results[method] for method in question.methods)]
    visible = [gr.update(visible=True), gr.update(visible=False)]
    return [question.token, heading, *visible, *(copies.of(path) for path in paths)]


def _page_error(gr: Any, words: str, error: Exception) -> Exception:
    return demo.page_error(gr, f"{words} Please tell the person who runs this study.", f"{words} {error}")
