"""What an image file says about itself before any pixel is decoded: bits per sample and orientation."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import ExifTags, Image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS_WANTED = (b"IHDR", b"eXIf")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS_PER_SAMPLE = 256, 257, 258


def bits_per_sample(image: Image.Image, path: Path) -> int:
    """Return the largest bit depth of a channel as stored in the file.

    Pillow opens 16-bit RGB in PNG, TIFF and PPM files as 8-bit RGB without a word, so the mode of `image` is
    not enough.
    """
    if image.format == "PNG":
        return dict(_png_chunks(path))[b"IHDR"][8]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, 1)  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":
        return _pnm_maximum(path).bit_length()
    return 8


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) in pixels of the rows as stored, before the EXIF orientation turns them."""
    if image.format == "TIFF":  # whose Image.size Pillow has turned already
        tags = image.tag_v2  # type: ignore[attr-defined]
        return int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
    return image.size


def exif_orientation(image: Image.Image, path: Path) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; anything else in the file counts as 1."""
    if image.format == "PNG":
        # Pillow's own look-up would decode the whole picture to reach an eXIf chunk that stands behind it.
        exif = Image.Exif()
        exif.load(dict(_png_chunks(path)).get(b"eXIf", b""))
    else:
        exif = image.getexif()
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Walk over the chunks of a PNG, jumping over the pixels."""
    with path.open("rb") as file:
        if file.read(8) != _PNG_SIGNATURE:
            return
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in _PNG_CHUNKS_WANTED:
                yield kind, file.read(length)
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)


def _pnm_maximum(path: Path) -> int:
    """Return the largest sample value a PBM, PGM or PPM header declares (1 for bitmaps)."""
    with path.open("rb") as file:
        head = file.read(65536)
    tokens = re.sub(rb"#[^\r\n]*", b" ", head).split(maxsplit=4)
    return 1 if tokens[0] in (b"P1", b"P4") else int(tokens[3])
