"""Pages of Gradio that are for this machine alone: nothing is loaded from the internet and nothing is reported."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slackoff.errors import SlackoffError

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


def serve(gradio: Any, make_page: Callable[[Path], Any], port: int, style: str, words: str) -> None:
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
    with TemporaryDirectory() as folder:
        page = make_page(Path(folder).resolve())
        try:
            _, address, _ = page.launch(server_name=HOST, server_port=port, prevent_thread_lock=True, **options)
        except OSError as error:
            raise SlackoffError(f"Port {port} of this machine is taken: give another one with --port.") from error
        print(f"Open {address} in a browser; {words}", flush=True)
        page.block_thread()


def told(gradio: Any, shown: str, in_full: str = "") -> Exception:
    """The error that shows a sentence on the page; the person who runs it reads that, or more, on standard error."""
    print(f"error: {in_full or shown}", file=sys.stderr, flush=True)
    return gradio.Error(shown, print_exception=False)  # type: ignore[no-any-return]
