"""Photos as people have them: what to derain of a file, and what of it to keep in the derained one."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from slackoff.backgrounds.headers import bits_per_sample, exif_orientation
from slackoff.backgrounds.images import UPRIGHT, opened_image
from slackoff.errors import SlackoffError
from slackoff.record.atomic import write_whole

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
}
"""What is written under which ending."""

_WITH_ALPHA = ("PNG", "WEBP", "TIFF")
_SAVE: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95, "exact": True},
}  # TIFF is not compressed: Pillow's compressed ones lose the camera's part of the EXIF
_GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")
_TIFF_LAYOUT = frozenset({*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(320, 326), 338, 339})
"""Tags of a TIFF that say how its pixels are stored: true of that file alone."""

_ICC_TAG = 34675


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright.

    - `pixels`: uint8, (H, W, 3), RGB; a grey photo has its values in all three.
    - `alpha`: uint8, (H, W), or None.
    - `grey`: written as one channel again.
    - `exif`: with the orientation 1, upright.
    - `icc`: its colour profile, or None.
    - `dpi`: of its header, or None.
    - `notes`: what will be different about the derained file, in a few words each.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    grey: bool
    exif: Image.Exif
    icc: bytes | None
    dpi: tuple[float, float] | None
    notes: tuple[str, ...]


def read_photo(path: Path) -> Photo:
    """Decode an image file.

    The EXIF orientation is applied, palettes are looked up, and CMYK is converted to sRGB by its profile. 16 bits per
    channel become 8.

    Raises:
        SlackoffError: as for `slackoff.backgrounds.images.opened_image`; or 32 bits per channel, or a colour space
            other than grey, RGB, YCbCr and CMYK.
    """
    with opened_image(path) as image:
        notes = ["16 bits per channel became 8"] if bits_per_sample(image, path) == 16 else []
        exif = _exif(image, notes)
        orientation = 1 if image.format == "TIFF" else exif_orientation(image, path)  # Pillow turns TIFF while loading
        image.load()
        icc, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        if image.mode == "CMYK":
            image, icc = _from_cmyk(image, icc), None
            notes.append("CMYK became sRGB")
        plain = _plain(image, path)
        if orientation != 1:
            plain = plain.transpose(UPRIGHT[orientation])
        alpha = np.array(plain.getchannel("A")) if "A" in plain.getbands() else None
        pixels = np.array(plain.convert("RGB"))
        return Photo(pixels, alpha, plain.mode in _GREY_MODES, exif, icc, dpi, tuple(notes))


def write_photo(photo: Photo, pixels: NDArray[np.uint8], path: Path, provenance: str) -> None:
    """Write derained pixels with all else that a photo had, whole or not at all.

    JPEG and WebP have quality 95, JPEG no chroma subsampling; the other formats lose nothing.

    Args:
        photo: whose alpha, greyness, EXIF and profile are kept.
        pixels: uint8, (H, W, 3), RGB.
        path: its ending, one of `FORMATS`, decides the format.
        provenance: kept as EXIF "Software", in PNG as text "Software" too.

    Raises:
        SlackoffError: the format cannot hold the photo: transparency, or too many pixels.
        OSError: the disk is full, or the folder cannot be written.
    """
    kind = FORMATS[path.suffix.lower()]
    if photo.alpha is not None and kind not in _WITH_ALPHA:
        raise SlackoffError(f"{path} cannot be written: {kind} keeps no transparency, so add --format png")
    image = Image.fromarray(pixels)
    if photo.grey:
        image = image.convert("L")
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    photo.exif[ExifTags.Base.Software] = provenance
    options = {"exif": photo.exif.tobytes(), "icc_profile": photo.icc, **_SAVE.get(kind, {})}
    if photo.dpi:
        options["dpi"] = photo.dpi
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Software", provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_whole(path, lambda partial: image.save(partial, kind, **options))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SlackoffError(f"{path} cannot be written as {kind} ({error}): add --format png") from error


def _exif(image: Image.Image, notes: list[str]) -> Image.Exif:
    """What EXIF a file has, apart from the file, but for what holds for its pixels as they were stored."""
    kept = Image.Exif()
    try:
        with warnings.catch_warnings(action="error"):
            whole = image.getexif().tobytes()
            kept.load(image.info.get("exif", whole))
    except Exception:  # strange values fail in many ways, and are no reason to leave a photo out
        notes.append("damaged EXIF was left out")
        return Image.Exif()
    for tag in [tag for tag in kept if tag == _ICC_TAG or (image.format == "TIFF" and tag in _TIFF_LAYOUT)]:
        del kept[tag]
    if kept:
        kept[ExifTags.Base.Orientation] = 1
    return kept


def _from_cmyk(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(icc))
            converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert converted is not None
            return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile is as good as none
    return image.convert("RGB")


def _plain(image: Image.Image, path: Path) -> Image.Image:
    """The picture as L, LA, RGB or RGBA."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES):
        raise SlackoffError(f"{path} is stored as {image.mode}, not as RGB or grey: convert it to 8-bit RGB.")
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in _GREY_MODES else "RGBA")
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")
