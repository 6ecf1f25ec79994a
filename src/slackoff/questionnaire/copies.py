"""Copies of a study's pictures for the browser, under names that tell nothing."""

import secrets
import threading
from pathlib import Path

from PIL import Image

from slackoff.backgrounds.images import read_rgb


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
