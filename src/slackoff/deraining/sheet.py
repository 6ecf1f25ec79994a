"""A contact sheet: photos before and after, side by side."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from slackoff.deraining.folder import Job
from slackoff.deraining.photos import read_photo
from slackoff.errors import SlackoffError
from slackoff.record.atomic import write_whole

MOST = 12
"""Pairs on a sheet: the first ones."""

SIDE_PX = 300
_COLUMNS, _ONE_COLUMN = 2, 3
_GAP_PX, _LINE_PX, _FONT_PX = 8, 18, 13
_PAPER, _INK = (255, 255, 255), (60, 60, 60)


def write_sheet(jobs: Sequence[Job], path: Path) -> int:
    """Draw the first `MOST` photos with their results and write the sheet whole, as PNG.

    Each pair is two thumbnails of at most 300 px a side, "rainy" and "derained", under the name of the photo.

    Returns:
        How many pairs are on it.

    Raises:
        SlackoffError: a photo cannot be read any more.
        OSError: the sheet cannot be written.
    """
    pairs = [_pair(job) for job in jobs[:MOST]]
    if not pairs:
        raise SlackoffError(f"{path}: there is nothing to show, as no photo was derained")
    columns = _COLUMNS if len(pairs) > _ONE_COLUMN else 1
    rows = [pairs[i : i + columns] for i in range(0, len(pairs), columns)]
    heights = [max(pair.height for pair in row) for row in rows]
    width = len(rows[0]) * (pairs[0].width + 2 * _GAP_PX) - _GAP_PX
    sheet = Image.new("RGB", (width + _GAP_PX, sum(heights) + _GAP_PX * (len(rows) + 1)), _PAPER)
    top = _GAP_PX
    for row, height in zip(rows, heights, strict=True):
        for column, pair in enumerate(row):
            sheet.paste(pair, (_GAP_PX + column * (pair.width + 2 * _GAP_PX), top))
        top += height + _GAP_PX
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda partial: sheet.save(partial, "PNG", optimize=True))
    return len(pairs)


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
