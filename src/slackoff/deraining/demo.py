"""The page on which people try trained networks on photos: result, what was taken out, how long it took.

A thin layer of Gradio. Its pages are for this machine alone: nothing comes from the internet, nothing is reported.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slackoff.analysis.text import number
from slackoff.deraining.model import Model, provenance
from slackoff.deraining.photos import FORMATS, read_photo, write_photo
from slackoff.deraining.tiles import derain_array
from slackoff.errors import SlackoffError
from slackoff.record.results import kept_pictures

FULL_SCALE = 64
"""Grey levels of change that a map shows in its brightest colour."""

PREVIEW_PX = 1600
"""The longest side of what a page shows; the file to download has every pixel."""


def change_map(change: NDArray[np.float64]) -> NDArray[np.uint8]:
    """What was taken out or put in, in colours: black where nothing changed, pale yellow from 64 grey levels on.

    The scale is the same for all photos and networks, so that two maps can be compared.

    Args:
        change: absolute difference of the photo and its result, mean of the channels, grey levels, (H, W).

    Returns:
        uint8, (H, W, 3).
    """
    import matplotlib

    share = np.clip(change / FULL_SCALE, 0, 1)
    return np.asarray(matplotlib.colormaps["inferno"](share, bytes=True)[..., :3], dtype=np.uint8)


def preview(pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture at most 1600 pixels wide or high, for a browser."""
    image = Image.fromarray(pixels)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.LANCZOS)
    return image


HOST = "127.0.0.1"


def import_gradio(page: str, extra: str) -> Any:
    """Gradio, with its reports to its makers switched off.

    Args:
        page: what needs it, as the subject of a sentence.
        extra: of slackoff that it comes with.

    Raises:
        SlackoffError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # is read at import
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError as error:
        raise SlackoffError(f"{page} needs Gradio: in the checkout, .venv/bin/pip install -e '.[{extra}]'") from error
    return gradio


class _ForThisMachine:
    """Refuses what a page of the internet sends through somebody's browser.

    Such a page cannot read an answer from 127.0.0.1, unless its own name is made to point there (DNS rebinding): then
    the browser names another host. It can send, however (votes, uploads): then the browser names another origin.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
        places = [f"//{headers.get('host', '')}", *([headers["origin"]] if "origin" in headers else [])]
        if scope["type"] == "lifespan" or all(_own(place) for place in places):
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"This page is for the machine that it runs on."})
        else:
            await send({"type": "websocket.close", "code": 1008})


def _own(place: str) -> bool:
    """Whether a URL, as far as a browser names it, is of this machine."""
    try:
        return urlsplit(place).hostname in (HOST, "localhost")
    except ValueError:
        return False


def serve_page(gradio: Any, make_page: Callable[[Path], Any], port: int, style: str, words: str) -> None:
    """Show a page on this machine at a port until Ctrl-C.

    Args:
        gradio: from `import_gradio`.
        make_page: makes the `gradio.Blocks`; is given an empty folder for what it shows, which is removed at the end.
        port: of this machine.
        style: CSS.
        words: printed behind the address.

    Raises:
        SlackoffError: the port is taken.
    """
    # fonts of the machine itself: nothing comes from the internet
    plain = gradio.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    options = {"theme": plain, "css": style, "footer_links": [], "ssr_mode": False, "quiet": True, "share": False}
    options["app_kwargs"] = {"middleware": [import_module("starlette.middleware").Middleware(_ForThisMachine)]}
    with TemporaryDirectory() as folder:
        page = make_page(Path(folder).resolve())
        try:
            _, address, _ = page.launch(server_name=HOST, server_port=port, prevent_thread_lock=True, **options)
        except OSError as error:
            raise SlackoffError(f"Port {port} of this machine is taken: give another one with --port.") from error
        print(f"Open {address} in a browser; {words}", flush=True)
        page.block_thread()


def page_error(gradio: Any, shown: str, in_full: str = "") -> Exception:
    """The error that shows a sentence on the page; the person who runs it reads that, or more, on standard error."""
    print(f"error: {in_full or shown}", file=sys.stderr, flush=True)
    return gradio.Error(shown, print_exception=False)  # type: ignore[no-any-return]


require_gradio = partial(import_gradio, "The demo", "demo")

_STYLE = "footer { display: none !important } .model { min-width: 320px }"
_TASK = (
    "# Take the rain out of a photo\n\nChoose a photo and press **Derain**. Drag the line to compare before (left) and "
    "after. Nothing leaves this machine."
)
_MOST_EXAMPLES = 8
_COLUMNS = 3


def serve(models: Sequence[Model], port: int) -> None:
    """Show the page on this machine at `port` until Ctrl-C.

    Raises:
        SlackoffError: Gradio is not installed, or the port is taken.
    """
    serve_page(require_gradio(), partial(make_page, models), port, _STYLE, "Ctrl-C ends the demo.")


def examples(models: Sequence[Model]) -> list[Path]:
    """Rainy test pictures that the records of the cells hold, at most eight, each one once."""
    found: dict[bytes, Path] = {}
    for model in models:
        for folder in kept_pictures(model.cell).values() if model.cell else ():
            found.setdefault((picture := folder / "rainy.png").read_bytes(), picture)
    return list(found.values())[:_MOST_EXAMPLES]


def make_page(models: Sequence[Model], folder: Path) -> Any:
    """The page as a `gradio.Blocks`: a photo, the networks to use, and for each of them a column with what it made.

    The endpoint ``derain_0`` of the first network, ``derain_1`` of the second and so on take a photo and the names of
    the networks to use, and give back the two sides of the comparison, the map, the words and the file.

    Args:
        models: networks to choose from; the first is chosen when the page opens.
        folder: for the pictures that are shown and downloaded.
    """
    gr = require_gradio()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # from there Gradio serves what a page shows
    names = _short_names(models)
    with gr.Blocks(title="Take the rain out of a photo", analytics_enabled=False) as page:
        gr.Markdown(_TASK)
        with gr.Row():
            photo = gr.Image(label="Photo", type="filepath", sources=["upload", "clipboard"], height=300)
            # The file as it was sent: Gradio's own decoding loses depth and profile, and does not say what is wrong.
            photo.preprocess = lambda sent: None if sent is None else sent.path
            with gr.Column():
                chosen = gr.CheckboxGroup(names, value=names[:1], label="Networks")
                button = gr.Button("Derain", variant="primary")
                if pictures := examples(models):
                    gr.Examples([[str(path)] for path in pictures], [photo], label="Test pictures of the cells")
        for start in range(0, len(models), _COLUMNS):
            with gr.Row():
                for name, model in list(zip(names, models, strict=True))[start : start + _COLUMNS]:
                    shown = _column(gr, name)
                    button.click(
                        partial(_shown, gr, model, name, folder),
                        [photo, chosen],
                        shown,
                        api_name=f"derain_{names.index(name)}",
                        concurrency_limit=1,
                        concurrency_id="network",  # one at a time: memory is for one
                    )
    return page


def _column(gr: Any, name: str) -> list[Any]:
    with gr.Column(elem_classes="model"):
        slider = gr.ImageSlider(label=name, interactive=False, type="filepath", buttons=["fullscreen"])
        removed = gr.Image(
            label=f"What was removed: black nothing, pale yellow {FULL_SCALE} grey levels and more",
            interactive=False,
            buttons=["fullscreen"],
        )
        words = gr.Markdown()
        file = gr.DownloadButton("Download the result", interactive=False)
    return [slider, removed, words, file]


def _shown(gr: Any, model: Model, name: str, folder: Path, photo: str | None, chosen: list[str]) -> list[Any]:
    """What a column shows of a photo: updates of its slider, map, words and button."""
    if name not in chosen:
        return [None, None, "", gr.update(value=None, interactive=False)]
    if photo is None:
        raise gr.Error("There is no photo yet: drop one on the page or pick a test picture.", print_exception=False)
    try:
        sides, removed, words, file = derain_file(model, Path(photo), folder)
    except SlackoffError as error:
        name = Path(photo).name  # without the folder that it was uploaded to
        raise page_error(gr, str(error).replace(photo, name)) from error
    except OSError as error:
        words = f"The result cannot be written ({error.strerror or error}): free some space."
        raise page_error(gr, words) from error
    return [sides, removed, words, gr.update(value=file, interactive=True)]


def derain_file(model: Model, photo: Path, folder: Path) -> tuple[tuple[str, str], str, str, str]:
    """Take the rain out of a photo's file.

    Returns:
        Paths of pictures before and after, of the map of what changed (each at most 1600 px a side), a sentence on the
        result, and the path of the result in full, in the photo's own format.

    Raises:
        SlackoffError: the photo cannot be read.
        OSError: the results cannot be written.
    """
    read = read_photo(photo)
    start = time.perf_counter()
    derained = derain_array(model, read.pixels)
    seconds = time.perf_counter() - start
    change = np.abs(read.pixels.astype(np.float64) - derained).mean(axis=2)
    place = folder / uuid4().hex
    place.mkdir()
    for kind, pixels in (("before", read.pixels), ("after", derained), ("removed", change_map(change))):
        preview(pixels).save(place / f"{kind}.png", compress_level=1)
    suffix = photo.suffix.lower() if photo.suffix.lower() in FORMATS else ".png"
    file = place / f"{photo.stem}_derained{suffix}"
    write_photo(read, derained, file, provenance(model))
    height, width = read.pixels.shape[:2]
    words = (
        f"{model.name}: {width} x {height} px in {seconds:.1f} s. Pixels changed by "
        f"{number(float(change.mean()), 1)} grey levels on average."
    )
    if max(height, width) > PREVIEW_PX:
        words += " Shown smaller; the download has every pixel."
    sides = str(place / "before.png"), str(place / "after.png")
    return sides, str(place / "removed.png"), " ".join([words, *(f"{note}." for note in read.notes)]), str(file)


def _short_names(models: Sequence[Model]) -> list[str]:
    """'resnet_small 9c29ea1513cf' for a cell, the name of its file for any other; told apart where they are equal."""
    found: list[str] = []
    for model in models:
        name = f"{model.node.get('name', 'network')} {model.cell.name}" if model.cell else model.name
        name += model.suffix.replace(", ", " ")
        again = sum(known == name or known.startswith(f"{name} #") for known in found)
        found.append(f"{name} #{again + 1}" if again else name)
    return found
