"""Derain people's photos: what goes where is decided before anything starts; what fails is told, and the others go on.

A result keeps of its file what can be kept. A contact sheet shows photos before and after.
"""

import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageFont, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from slackoff.deraining.model import Model, provenance
from slackoff.deraining.tiles import Tiling, derain_array
from slackoff.errors import SlackoffError, one_line
from slackoff.images.files import (
    HEIF_SUFFIXES,
    UPRIGHT,
    bits_per_sample,
    exif_orientation,
    natural,
    opened_image,
    walk_images,
)
from slackoff.networks.interfaces import PerImageMethod
from slackoff.record.files import write_whole

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".ppm": "PPM",
    ".pgm": "PPM",
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
        SlackoffError: as for `slackoff.images.files.opened_image`; or 32 bits per channel, or a colour space
            other than grey, RGB, YCbCr and CMYK.
    """
    with opened_image(path) as image:
        bits = 8 if image.mode == "F" else bits_per_sample(image, path)
        notes = [f"{bits} bits per channel became 8"] if bits > 8 else []
        exif = _exif(image, notes)
        orientation = 1 if image.format == "TIFF" else exif_orientation(image, path)  # Pillow turns TIFF while loading
        image.load()
        icc, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        if image.mode == "CMYK":
            image, icc = _from_cmyk(image, icc), None
            notes.append("CMYK became sRGB")
        plain = _plain(image, path, bits)
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
    height, width = pixels.shape[:2]  # of the upright picture
    own = photo.exif.get_ifd(ExifTags.IFD.Exif)
    for tags, tag, side in (
        (own, ExifTags.Base.ExifImageWidth, width),
        (own, ExifTags.Base.ExifImageHeight, height),
        (photo.exif, ExifTags.Base.ImageWidth, width),
        (photo.exif, ExifTags.Base.ImageLength, height),
    ):
        if tag in tags:
            tags[tag] = side
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


def _plain(image: Image.Image, path: Path, bits: int) -> Image.Image:
    """The picture as L, LA, RGB or RGBA."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
        white = 2**bits - 1 if tags else 65535  # Pillow scales the levels of a PPM to 16 bits, not those of a TIFF
        grey = np.round(np.asarray(image) * (255 / white)).astype(np.uint8)
        return Image.fromarray(255 - grey if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0 else grey)
    if image.mode not in (*_GREY_MODES, *_COLOUR_MODES):
        raise SlackoffError(f"{path} is stored as {image.mode}, not as RGB or grey: convert it to 8-bit RGB.")
    kind = "L" if image.mode in _GREY_MODES else "RGB"
    return image.convert(kind + "A" * image.has_transparency_data)


@dataclass(frozen=True)
class Job:
    """A photo and the file that its derained one becomes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """The jobs, in order, a sentence for each folder that cannot be listed, and the files that are no photos."""

    jobs: list[Job]
    failures: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """What a person should know before it starts."""
        if not self.left_out:
            return []
        names = [str(path) for path in self.left_out]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        heif = any(path.suffix.lower() in HEIF_SUFFIXES for path in self.left_out)
        cure = "; pip install pillow-heif for HEIC" if heif else ""
        count = f"{len(names)} file{'s are' if len(names) > 1 else ' is'}"
        return [f"{count} left out, by the ending no photo: {', '.join(names[:5])}{more}{cure}"]


def plan_jobs(inputs: Sequence[Path], out: Path, ending: str = "keep", left_out: Sequence[Path] = ()) -> Plan:
    """Decide what is written where.

    A photo goes to OUT under its name, a folder's photos under their path in that folder; for a single photo OUT may be
    a file name. Numbered names are in the order of their numbers. Hidden files are left out, and so is what
    lies in OUT itself where OUT is inside of an input.

    Args:
        inputs: photos and folders.
        out: a folder, or a file name for a single photo.
        ending: "png" or "jpg" for all results, or "keep" for that of each photo, or .png where it is not written.
        left_out: files that are no input, wherever they lie.

    Raises:
        SlackoffError: an input is not there, there is no photo at all, two results would have one name, or a result
            would take the place of an input.
    """
    for path in inputs:
        if not path.exists() and not path.is_symlink():
            raise SlackoffError(f"{path} is not there: give photos or folders of photos")
    failures: list[str] = []
    others: list[Path] = []
    if len(inputs) == 1 and not inputs[0].is_dir() and out.suffix.lower() in FORMATS and not out.is_dir():
        if ending != "keep" and FORMATS[out.suffix.lower()] != FORMATS[f".{ending}"]:
            raise SlackoffError(f"-o {out} and --format {ending} contradict each other: leave out --format")
        jobs = [Job(inputs[0], out)]
    elif out.exists() and not out.is_dir():
        raise SlackoffError(f"-o {out} is a file: name a folder for the results")
    else:
        hidden = {path.resolve() for path in (out, *left_out)}
        jobs = []
        for path in inputs:
            if path.is_dir() and path.resolve() == out.resolve():
                raise SlackoffError(f"-o {out} is the input itself: name another folder, photos are never overwritten")
            names = (
                sorted(walk_images(path, "INPUT", hidden, failures, others), key=natural)
                if path.is_dir()
                else [path.name]
            )
            root = path if path.is_dir() else path.parent
            jobs += [Job(root / name, _renamed(out / name, ending)) for name in names]
    if not jobs and not failures:
        raise SlackoffError(
            f"{', '.join(map(str, inputs))}: there is no photo; files that end in {', '.join(FORMATS)} are taken"
        )
    jobs = list(dict.fromkeys(jobs))  # a photo that was named twice
    sources, taken = {job.source.resolve() for job in jobs}, dict[Path, Path]()
    for job in jobs:
        target = job.target.resolve()
        if target in sources:
            raise SlackoffError(f"{job.target} is an input: name another -o, photos are never overwritten")
        if target in taken:
            raise SlackoffError(
                f"{taken[target]} and {job.source} would both be written to {job.target}: give them an -o each"
            )
        taken[target] = job.source
    return Plan(jobs, failures, others)


def _renamed(target: Path, ending: str) -> Path:
    kind = FORMATS.get(target.suffix.lower())
    if ending == "keep":
        return target if kind else target.with_name(target.name + ".png")
    if kind == FORMATS[f".{ending}"]:
        return target
    return target.with_name(f"{target.stem if kind else target.name}.{ending}")


@dataclass
class Outcome:
    """The jobs that were done, those whose result was there and was kept, and a sentence for each that failed."""

    done: list[Job] = field(default_factory=list)
    kept: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def results(self) -> list[Job]:
        """The jobs whose results are there, done now or before."""
        return self.done + self.kept

    def summary(self) -> str:
        """The end of a run in one line."""
        parts = [f"{len(self.done)} derained in {self.seconds:.1f} s"]
        if self.kept:
            parts.append(f"{len(self.kept)} were there already and kept (--overwrite writes them again)")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        return "; ".join(parts)


def derain_jobs(model: Model, plan: Plan, tiling: Tiling, overwrite: bool, console: Console) -> Outcome:
    """Derain all photos of a plan.

    Args:
        model: on the device of choice.
        plan: the photos; its failures are told first.
        tiling: how photos are cut.
        overwrite: write results that are there anew.
        console: where the progress is shown; sentences of failures go to standard error.
    """
    outcome = Outcome()
    start = time.monotonic()
    done = TextColumn("{task.completed:.1f} of {task.total:.0f}")
    with Progress(BarColumn(), done, TimeRemainingColumn(), console=console, transient=True) as progress:

        def tell(sentence: str) -> None:  # on standard error, above the bar
            if console.is_terminal:
                progress.console.print(sentence, soft_wrap=True, markup=False, highlight=False)
            else:
                print(sentence, file=sys.stderr)

        def fail(sentence: str) -> None:
            outcome.failures.append(sentence)
            tell(f"error: {sentence}")

        for sentence in plan.failures:
            fail(sentence)
        todo: list[Job] = []
        for job in plan.jobs:
            (outcome.kept if not overwrite and os.path.isfile(job.target) else todo).append(job)  # noqa: PTH113 (any name)
        bar = progress.add_task("derain", total=len(todo))
        for number, job in enumerate(todo):
            try:
                photo = read_photo(job.source)
                derained = derain_array(model, photo.pixels, tiling, partial(progress.advance, bar))
                write_photo(photo, derained, job.target, provenance(model))
            except SlackoffError as error:
                fail(str(error))
            except OSError as error:
                fail(f"{error.filename or job.target} cannot be used ({error.strerror or error})")
            except (RuntimeError, MemoryError) as error:  # the memory of a GPU, or of the machine, does not do
                why = one_line(error, 200)
                smaller = "photo" if isinstance(model.network, PerImageMethod) else "--tile"
                fail(f"{job.source} cannot be derained ({why}): try a smaller {smaller}")
            else:
                outcome.done.append(job)
                for note in photo.notes:
                    tell(f"{job.source}: {note}")
            progress.update(bar, completed=number + 1)
    outcome.seconds = time.monotonic() - start
    return outcome


MOST = 12
"""Pairs on a sheet: the first ones."""

SIDE_PX = 300
_GAP_PX, _LINE_PX, _FONT_PX = 8, 18, 13
_PAPER, _INK = (255, 255, 255), (60, 60, 60)


def write_sheet(jobs: Sequence[Job], path: Path) -> None:
    """Draw the first `MOST` photos with their results and write the sheet whole, as PNG.

    Each pair is two thumbnails of at most 300 px a side, "rainy" and "derained", under the name of the photo.

    Args:
        jobs: at least one, done.
        path: the file; its folder is made.

    Raises:
        SlackoffError: a photo cannot be read any more.
        OSError: the sheet cannot be written.
    """
    pairs = [_pair(job) for job in jobs[:MOST]]
    columns = 2 if len(pairs) > 3 else 1
    rows = [pairs[i : i + columns] for i in range(0, len(pairs), columns)]
    heights = [max(pair.height for pair in row) for row in rows]
    width = columns * (pairs[0].width + 2 * _GAP_PX)
    sheet = Image.new("RGB", (width, sum(heights) + _GAP_PX * (len(rows) + 1)), _PAPER)
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for column, pair in enumerate(row):
            sheet.paste(pair, (_GAP_PX + column * (pair.width + 2 * _GAP_PX), top))
        top += height + _GAP_PX
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: sheet.save(partial, "PNG", optimize=True))


def _pair(job: Job) -> Image.Image:
    """Both thumbnails of a job under their captions: 2 * 300 px and a gap wide."""
    pictures = [Image.fromarray(read_photo(path).pixels) for path in (job.source, job.target)]
    for picture in pictures:
        picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    pair = Image.new("RGB", (2 * SIDE_PX + _GAP_PX, _LINE_PX + max(p.height for p in pictures)), _PAPER)
    draw = ImageDraw.Draw(pair)
    font = ImageFont.load_default(_FONT_PX)
    for left, picture, caption in zip((0, SIDE_PX + _GAP_PX), pictures, (job.source.name, "derained"), strict=True):
        draw.text((left, 0), caption[:40], _INK, font)
        pair.paste(picture, (left, _LINE_PX))
    return pair
