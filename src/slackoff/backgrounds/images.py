"""Read one image file as 8-bit RGB, or refuse it with one sentence that says why and what to do."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from slackoff.backgrounds.headers import bits_per_sample, exif_orientation, stored_size
from slackoff.backgrounds.listing import list_images
from slackoff.errors import SlackoffError

__all__ = ["MAX_PIXELS", "image_size", "list_images", "opened_image", "read_rgb"]

MAX_PIXELS = 64_000_000
"""Images larger than this are refused: about 8000 x 8000, 192 MB once decoded, 23 times a DIV2K photo."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM")
_CONVERTIBLE_MODES = frozenset({"1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX"})
_DEEP_MODES = ("I", "F")
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
        SlackoffError: the file is missing, truncated, damaged or of another format, too large, deeper than 8
            bits,
            partly transparent, in another colour space (CMYK, YCCK, Lab, HSV, ...), or holds several
            pictures.
    """
    path = Path(path)
    with opened_image(path, max_pixels) as image:
        _check_depth(image, path)
        orientation = exif_orientation(image, path)
        image.load()
        if image.format == "TIFF":
            orientation = 1  # Pillow turns TIFF pictures itself while loading
        rgb = _to_rgb(image, path)
        return np.array(rgb.transpose(UPRIGHT[orientation]) if orientation != 1 else rgb)


def image_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (height, width) in pixels as `read_rgb` would give it, from the file's header alone.

    Raises:
        SlackoffError: as for `read_rgb`, as far as the header tells (all but truncation and transparency).
    """
    path = Path(path)
    with opened_image(path, max_pixels) as image:
        _check_depth(image, path)
        width, height = stored_size(image)
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
    try:
        with _OPEN_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of EXIF that is damaged
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
        with image:
            _check_size(image, path, max_pixels)
            yield image
    except (SlackoffError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, max_pixels) from error
    except UnidentifiedImageError as error:
        raise SlackoffError(
            f"{path} is not a readable PNG, JPEG, BMP, TIFF, WebP or PPM image: replace or remove that file."
        ) from error
    except OSError as error:
        if error.errno is None:
            raise _damaged(path, error) from error
        raise SlackoffError(f"{path} cannot be read ({error.strerror}): restore that file or remove it.") from error
    except Exception as error:  # decoders answer damage with any type: SyntaxError, struct.error, ValueError ...
        raise _damaged(path, error) from error


def _check_size(image: Image.Image, path: Path, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise SlackoffError(f"{path} is an image of {width} x {height} pixels: replace or remove that file.")
    if width * height > max_pixels:
        raise _too_large(path, max_pixels)
    # A camera's MPO is a JPEG followed by previews or a second view: its first picture is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise SlackoffError(f"{path} holds several frames or pages: save the one you want as an image of its own.")


def _check_depth(image: Image.Image, path: Path) -> None:
    if image.mode.startswith(_DEEP_MODES) or bits_per_sample(image, path) > 8:
        raise SlackoffError(
            f"{path} has more than 8 bits per channel: convert it to 8-bit RGB yourself, because how to "
            "scale it to 0..255 is a choice."
        )
    if image.mode not in _CONVERTIBLE_MODES:
        raise SlackoffError(f"{path} is stored as {image.mode}, not as RGB or grey: convert it to 8-bit RGB.")


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    lowest, _ = rgba.getchannel("A").getextrema()
    if lowest != 255:
        raise SlackoffError(f"{path} is partly transparent: flatten it onto a background, save it without alpha.")
    return rgba.convert("RGB")


def _too_large(path: Path, max_pixels: int) -> SlackoffError:
    return SlackoffError(
        f"{path} has more than {max_pixels:,} pixels, which may be a decompression bomb: crop or shrink it, "
        "or remove it."
    )


def _damaged(path: Path, error: Exception) -> SlackoffError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return SlackoffError(f"{path} is truncated or damaged ({reason}): replace or remove that file.")
