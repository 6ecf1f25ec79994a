"""Image files: which lie under a folder, in an order that no machine changes, and one read as 8-bit RGB.

A file that cannot be used is refused with one sentence that says why and what to do.
"""

import os
import re
import struct
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from slackoff.errors import SlackoffError

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""Photos of phones; read where pillow-heif is installed."""
_HEIF = find_spec("pillow_heif") is not None
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}) | (
    HEIF_SUFFIXES if _HEIF else frozenset()
)
MAX_PIXELS = 64_000_000
"""Images larger than this are refused: about 8000 x 8000, 192 MB once decoded, 23 times a DIV2K photo."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM")
_CONVERTIBLE_MODES = frozenset({"1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX"})
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of an EXIF orientation upright."""

# warnings.catch_warnings is not thread-safe, and banks are decoded by several threads.
_OPEN_LOCK = threading.Lock()


def bits_per_sample(image: Image.Image, path: Path) -> int:
    """Return the largest bit depth of a channel as stored in the file.

    Pillow opens 16-bit RGB in PNG, TIFF and PPM files as 8-bit RGB without a word, so the mode of `image` is
    not enough.
    """
    if image.format == "PNG":
        return dict(_png_chunks(path))[b"IHDR"][8]
    if image.format == "TIFF":
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 1)  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":  # whose header ends with the largest value, but in bitmaps
        with path.open("rb") as file:
            tokens = re.sub(rb"#[^\r\n]*", b" ", file.read(65536)).split(maxsplit=4)
        return 1 if tokens[0] in (b"P1", b"P4") else int(tokens[3]).bit_length()
    return 8


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
    """Yield (kind, content) of the header and EXIF of a PNG, jumping over the pixels."""
    with path.open("rb") as file:
        file.seek(8)  # the signature
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            end = file.tell() + length + 4
            if kind in (b"IHDR", b"eXIf"):
                yield kind, file.read(length)
            file.seek(end)


def list_images(root: str | os.PathLike[str] | None, key: str) -> list[Path]:
    """List every image under `root`, recursively, sorted by path relative to `root`.

    Hidden files and folders are skipped. Symbolic links are followed; a folder that can be reached in several
    ways, or through a loop, is visited once.

    Args:
        root: the folder.
        key: the config key that named it, for the error message, such as "background.root".

    Returns:
        Paths that begin with `root`; never empty.

    Raises:
        SlackoffError: no folder given, missing, not a folder, not readable, or without an image.
    """
    folder = require_folder(root, key)
    relative = sorted(walk_images(folder, key))
    if not relative:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SlackoffError(
            f"{key}={folder} holds no image: put files ending in {suffixes} there, or name another folder."
        )
    return [folder / name for name in relative]


def walk_images(
    folder: Path,
    key: str,
    left_out: Collection[Path] = (),
    failures: list[str] | None = None,
    others: list[Path] | None = None,
) -> Iterator[str]:
    """Paths of the images below a folder, relative to it, in no order of use; as `list_images` finds them.

    Args:
        folder: is there.
        key: for the error message.
        left_out: files and folders that are passed over, as resolved paths.
        failures: is given a sentence for each folder that cannot be listed; None raises the first one.
        others: is given each visible file that is no image, by its ending.
    """
    visited = set()

    def walk(inside: Path, prefix: str) -> Iterator[str]:
        try:
            entries = visible_entries(inside, key)
        except SlackoffError as error:
            if failures is None:
                raise
            failures.append(str(error))
            return
        if (place := inside.resolve()) in visited:
            return
        visited.add(place)
        for entry in entries:
            if left_out and Path(entry.path).resolve() in left_out:
                continue
            if is_folder(entry):
                yield from walk(inside / entry.name, f"{prefix}{entry.name}/")
            elif is_image(entry):
                yield prefix + entry.name
            elif others is not None:
                others.append(folder / prefix / entry.name)

    return walk(folder, "")


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which frame 10 follows frame 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def require_folder(root: str | os.PathLike[str] | None, key: str) -> Path:
    """Return `root` as the Path of an existing folder, or raise the SlackoffError that says what is wrong."""
    if root is None or not str(root):
        raise SlackoffError(f"{key} is not set: give it the path of a folder of images, {key}=/path/to/images.")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise SlackoffError(f"{key}={folder} does not exist: give it the path of a folder of images.")
    if not folder.is_dir():
        raise SlackoffError(f"{key}={folder} is a file: give it the folder that holds the images.")
    return folder


def images_directly_in(folder: Path, key: str) -> list[Path]:
    """List the images in `folder` itself, without its sub-folders, sorted by name; may be empty."""
    return [folder / entry.name for entry in visible_entries(folder, key) if is_image(entry)]


def visible_entries(folder: Path, key: str) -> list[os.DirEntry[str]]:
    """List what lies in a folder, sorted by name, without hidden entries."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise SlackoffError(
            f"{key}: the folder {folder} cannot be listed ({error.strerror}): make it readable or name another."
        ) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Follow links, but take one that leads nowhere or to itself for no folder."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry.path).is_dir())


def is_image(entry: os.DirEntry[str]) -> bool:
    """A link that leads nowhere counts, so that reading it says so instead of the image silently missing."""
    if Path(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and not Path(entry.path).is_dir())


def read_rgb(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image file.

    Converted, because nothing is lost: grey and bilevel (repeated in the three channels), palette, an alpha
    channel that is opaque everywhere (dropped), EXIF orientation (applied). An embedded colour profile is
    ignored.

    Args:
        path: the file.
        max_pixels: refuse anything with more pixels, before decoding it.

    Returns:
        uint8 array of shape (H, W, 3), RGB, 0..255, contiguous and writable.

    Raises:
        SlackoffError: as for `opened_image`; or the file is deeper than 8 bits, partly transparent, or in another
            colour space (CMYK, YCCK, Lab, HSV, ...).
    """
    path = Path(path)
    with opened_image(path, max_pixels) as image:
        _check_depth(image, path)
        orientation = 1 if image.format == "TIFF" else exif_orientation(image, path)  # Pillow turns TIFF while loading
        image.load()
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema()[0] != 255:
                raise SlackoffError(
                    f"{path} is partly transparent: flatten it onto a background, save it without alpha."
                )
        rgb = image.convert("RGB")
        return np.array(rgb.transpose(UPRIGHT[orientation]) if orientation != 1 else rgb)


def image_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) in pixels as `read_rgb` would give it, from the file's header alone.

    Raises:
        SlackoffError: as for `read_rgb`, as far as the header tells (all but truncation and transparency).
    """
    path = Path(path)
    with opened_image(path, max_pixels) as image:
        _check_depth(image, path)
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow has turned already
            tags = image.tag_v2  # type: ignore[attr-defined]
            width, height = int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])
        return (width, height) if exif_orientation(image, path) >= 5 else (height, width)


@contextmanager
def opened_image(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open a file that holds one picture, and turn whatever goes wrong inside the block into a SlackoffError.

    Args:
        path: the file.
        max_pixels: refuse anything with more pixels, before decoding it.

    Raises:
        SlackoffError: the file is missing, truncated, damaged or of another format, too large, or holds several
            pictures.
    """
    formats: tuple[str, ...] = _FORMATS
    if path.suffix.lower() in HEIF_SUFFIXES:
        _register_heif(path)
        formats += ("HEIF",)
    try:
        # From a file that is open: by its path Pillow maps an uncompressed TIFF in the size of the turned picture.
        with path.open("rb") as file, ExitStack() as stack:
            with _OPEN_LOCK, warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of EXIF that is damaged
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = stack.enter_context(Image.open(file, formats=formats))
            width, height = image.size
            if width < 1 or height < 1:
                raise SlackoffError(f"{path} is an image of {width} x {height} pixels: replace or remove that file.")
            if width * height > max_pixels:
                raise Image.DecompressionBombError
            # A camera's MPO is a JPEG followed by previews or a second view: its first picture is the photo.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise SlackoffError(
                    f"{path} holds several frames or pages: save the one you want as an image of its own."
                )
            # Pillow compares a transparent colour with pixels that it has brought to 8 bits.
            colour_key = image.format == "PNG" and image.mode != "P" and "transparency" in image.info
            if colour_key and (bits := bits_per_sample(image, path)) not in (1, 8):
                raise SlackoffError(f"{path} has a transparent colour of {bits} bits: save it with an alpha channel.")
            yield image
    except (SlackoffError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SlackoffError(
            f"{path} has more than {max_pixels:,} pixels, which may be a decompression bomb: crop or shrink it, "
            "or remove it."
        ) from error
    except UnidentifiedImageError as error:
        raise SlackoffError(
            f"{path} is not a readable PNG, JPEG, BMP, TIFF, WebP or PPM image: replace or remove that file."
        ) from error
    except Exception as error:  # decoders answer damage with any type: SyntaxError, struct.error, ValueError ...
        if isinstance(error, OSError) and error.errno is not None:
            raise SlackoffError(f"{path} cannot be read ({error.strerror}): restore that file or remove it.") from error
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise SlackoffError(f"{path} is truncated or damaged ({reason}): replace or remove that file.") from error


def _register_heif(path: Path) -> None:
    if not _HEIF:
        raise SlackoffError(
            f"{path} is a HEIC photo, which needs a package: pip install pillow-heif, or save it as JPEG."
        )
    import pillow_heif  # loads a codec of some megabytes

    with _OPEN_LOCK:
        pillow_heif.register_heif_opener()


def _check_depth(image: Image.Image, path: Path) -> None:
    if image.mode.startswith(("I", "F")) or bits_per_sample(image, path) > 8:
        raise SlackoffError(
            f"{path} has more than 8 bits per channel: convert it to 8-bit RGB yourself, because how to "
            "scale it to 0..255 is a choice."
        )
    if image.mode not in _CONVERTIBLE_MODES:
        raise SlackoffError(f"{path} is stored as {image.mode}, not as RGB or grey: convert it to 8-bit RGB.")
