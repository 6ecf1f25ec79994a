"""Image files: which are listed, how they are read, and what is refused."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pictures import noise
from slackoff.errors import SlackoffError
from slackoff.images.files import MAX_PIXELS, image_size, list_images, read_rgb

# What each EXIF orientation asks a viewer to do with the stored rows, in NumPy's words (EXIF 2.32).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, -1)[::-1],
    8: lambda a: np.rot90(a, 1),
}


def smooth(height: int, width: int) -> Image.Image:
    return Image.fromarray(cv2.resize(noise(6, 8), (width, height), interpolation=cv2.INTER_CUBIC))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def saved(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(width: int, height: int, bits: int, colour_type: int, rows: bytes, key: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"tRNS", key)] if key else [png_chunk(b"IHDR", header)]
    chunks += [png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def refusal(path: Path, *words: str, header_tells: bool | None = True) -> str:
    """Both readers refuse the file (where the header can tell) in one sentence with its name."""
    with pytest.raises(SlackoffError) as caught:
        read_rgb(path)
    if header_tells:
        with pytest.raises(SlackoffError):
            image_size(path)
    if header_tells is False:
        image_size(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert ":" in sentence.replace(str(path), "")  # what is wrong, then the cure
    for word in words:
        assert word in sentence
    return sentence


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "ppm", "PNG"])
def test_lossless_formats_give_the_pixels_opencv_gives(tmp_path, suffix):
    path, pixels = tmp_path / f"image.{suffix}", PIXELS
    assert cv2.imwrite(str(path), pixels[..., ::-1])
    read = read_rgb(path)
    np.testing.assert_array_equal(read, cv2.imread(str(path))[..., ::-1])
    np.testing.assert_array_equal(read, pixels, strict=True)
    assert read.flags.c_contiguous
    assert read.flags.writeable
    assert image_size(path) == (24, 37)


@pytest.mark.parametrize(("name", "orientation"), [("a.webp", 1), *(("a.jpg", number) for number in range(1, 9))])
def test_lossy_formats_come_close_to_what_opencv_gives(tmp_path, name, orientation):
    path = saved(tmp_path, name, smooth(60, 80), quality=95, exif=turned(orientation))
    reference = cv2.imread(str(path))[..., ::-1]
    assert np.abs(read_rgb(path).astype(int) - reference).max() <= 4
    assert image_size(path) == reference.shape[:2]


def palette(indices: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(colours.tobytes())
    return image


PIXELS, OPAQUE = noise(24, 37), np.full((24, 37, 1), 255, np.uint8)
GREY, COLOURS, DARK = PIXELS[..., :1], noise(1, 256)[0], np.uint8([[0, 0, 0], [10, 20, 30]])
CONVERTED = {
    "grey is repeated": (Image.fromarray(GREY[..., 0]), "png", {}, GREY.repeat(3, 2)),
    "bilevel": (Image.fromarray(GREY[..., 0] > 127), "png", {}, (GREY > 127).repeat(3, 2) * np.uint8(255)),
    "colours are looked up": (palette(GREY[..., 0], COLOURS), "png", {}, COLOURS[GREY[..., 0]]),
    "an unused transparent colour": (
        palette(np.ones((8, 8), np.uint8), DARK), "png", {"transparency": 0}, DARK[np.ones((8, 8), int)]),
    **{f"opaque {suffix}": (Image.fromarray(np.dstack([PIXELS, OPAQUE])), suffix, {"lossless": True}, PIXELS)
       for suffix in ("png", "webp", "tif")},
    "opaque grey": (Image.fromarray(np.dstack([GREY, OPAQUE])), "png", {}, GREY.repeat(3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(("image", "suffix", "options", "expected"), CONVERTED.values(), ids=CONVERTED)
def test_what_loses_nothing_is_converted_and_turned(tmp_path, image, suffix, options, expected, orientation):
    for ending in {suffix, "tif"} if "transparency" not in options else {suffix}:
        path = saved(tmp_path, f"a.{ending}", image, exif=turned(orientation), **options)
        upright = UPRIGHT[orientation](expected)
        np.testing.assert_array_equal(read_rgb(path), upright, strict=True)
        assert image_size(path) == upright.shape[:2]


def test_a_camera_mpo_counts_as_its_first_picture(tmp_path):
    first, preview = Image.new("RGB", (40, 30), (200, 30, 60)), Image.new("RGB", (8, 6), (0, 255, 0))
    path = saved(tmp_path, "camera.jpg", first, format="MPO", save_all=True, append_images=[preview])
    assert image_size(path) == (30, 40)
    assert np.abs(read_rgb(path).astype(int) - [200, 30, 60]).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "late.png"])
def test_the_orientation_is_applied_and_one_out_of_range_ignored(tmp_path, name, orientation):
    """In late.png it stands behind the pixels."""
    path, exif = tmp_path / name, turned(orientation)
    if name == "late.png":
        rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
        late = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + png_chunk(b"IEND", b"")
        path.write_bytes(png_bytes(37, 24, 8, 2, rows)[:-12] + late)
    else:
        Image.fromarray(PIXELS).save(path, exif=exif, lossless=True)
    expected = UPRIGHT.get(orientation, UPRIGHT[1])(PIXELS)
    np.testing.assert_array_equal(read_rgb(path), expected)
    assert image_size(path) == expected.shape[:2]


def written(content: bytes):
    return lambda path: path.write_bytes(content)


def pillow(mode: str, colour=0, pixel=None, palette=None, **options):
    def save(path):
        image = Image.new(mode, (8, 8), colour)
        if palette:
            image.putpalette(palette)
        if pixel:
            image.putpixel((5, 5), pixel)
        image.save(path, **options)

    return save


def opencv(*shape: int):
    return lambda path: cv2.imwrite(str(path), np.full(shape, 40_000, np.uint16))


def film(path):
    frames = [Image.fromarray(noise(24, 37, seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


DEEP = ["more than 8 bits", "8-bit RGB"]
GLASS = ["partly transparent", "without alpha"]
BOMB = ["64,000,000 pixels", "decompression bomb"]
BOMBS = [(40_000, 40_000), (10_000, 10_000), (8_001, 8_000)]  # an error and a warning of Pillow, and our own limit


@pytest.mark.parametrize(
    ("name", "make", "words", "header_tells"),
    [
        ("gone.png", lambda path: None, ["No such file"], True),
        ("folder", lambda path: path.mkdir(), ["cannot be read"], True),
        *(("image.png", written(content), ["not a readable", "replace or remove"], True)
          for content in (b"", b"not an image at all", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")),
        *(("deep.png", written(png_bytes(3, 2, 16, colours, (b"\0" + b"\x12\x34" * channels * 3) * 2)), DEEP, True)
          for colours, channels in {0: 1, 2: 3, 4: 2, 6: 4}.items()),
        *((name, opencv(9, 7), DEEP[:1], True) for name in ("deep.png", "deep.tif", "deep.pgm")),
        *((name, opencv(9, 7, 3), DEEP[:1], True) for name in ("deep.png", "deep.tif", "deep.ppm")),
        ("float.tif", pillow("F", 0.5), DEEP[:1], True),
        *((name, pillow("RGBA", (10, 20, 30, 255), (10, 20, 30, 254), lossless=True), GLASS, False)
          for name in ("glass.png", "glass.webp", "glass.tif")),
        ("key.png", pillow("RGB", (1, 2, 3), transparency=(1, 2, 3)), GLASS[:1], False),
        *(("key.png", written(png_bytes(2, 1, bits, 0, row, key)), [f"transparent colour of {bits} bits"], True)
          for bits, row, key in ((2, b"\0\xc0", b"\0\3"), (4, b"\0\xf0", b"\0\x0f"), (16, b"\0\1\1\0\0", b"\1\1"))),
        ("palette.png", pillow("P", 1, palette=[0, 0, 0, 10, 20, 30], transparency=1), GLASS[:1], False),
        *((name, pillow("CMYK"), ["CMYK", "8-bit RGB"], True) for name in ("print.jpg", "print.tif")),
        ("lab.tif", pillow("LAB"), ["LAB"], True),
        *((name, film, ["several frames"], True) for name in ("film.png", "film.webp", "film.tif")),
        *(("bomb.png", written(png_bytes(*size, 8, 2, b"\0")), BOMB, True) for size in BOMBS),
        ("empty.ppm", written(b"P6 0 5 255\n"), [], True),
        ("empty.png", written(png_bytes(0, 5, 8, 2, b"")), [], True),
    ],
)  # fmt: skip
def test_what_is_no_image_of_8_bit_colours_is_refused(tmp_path, name, make, words, header_tells):
    make(tmp_path / name)
    refusal(tmp_path / name, *words, header_tells=header_tells)


def test_the_limit_of_pixels_itself_is_allowed(tmp_path):
    assert all(width * height > MAX_PIXELS for width, height in BOMBS)
    path = saved(tmp_path, "a.png", Image.fromarray(noise(10, 10)))
    assert read_rgb(path, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(SlackoffError, match="more than 99 pixels"):
        read_rgb(path, max_pixels=99)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"jpeg": {"quality": 90}, "progressive": {"quality": 90, "progressive": True}}.get(kind, {})
    smooth(48, 64).save(buffer, format={"progressive": "JPEG"}.get(kind, kind.upper()), **options)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["png", "jpeg", "progressive", "bmp", "tiff", "webp", "ppm"])
@settings(max_examples=40)
@given(kept=st.floats(0.0, 1.0, exclude_max=True))
@example(kept=0.5)
def test_a_file_cut_anywhere_is_refused_or_still_whole(tmp_path_factory, kind, kept):
    whole = encoded(kind)
    path = tmp_path_factory.mktemp("cut") / "cut.png"
    path.write_bytes(whole)
    expected = read_rgb(path)
    path.write_bytes(whole[: int(kept * len(whole))])
    try:
        read = read_rgb(path)
    except SlackoffError:
        refusal(path, "replace or remove", header_tells=None)
    else:
        assert kept > 0.5
        np.testing.assert_array_equal(read, expected)


KEY = "background.root"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in list_images(root, KEY)]


@pytest.mark.parametrize(
    ("names", "others"),
    [
        (["a.png", "b.JPG", "c.jpeg", "d.bmp", "deep/er/z.Png", "e.tif", "f.TIFF", "g.webp", "h.ppm"],
         ["notes.txt", "png", "archive.png.zip", "rain.gif"]),
        (["10.png", "9.png", "B.png", "a-/0.png", "a/z.png", "b.png", "b/1.png"], []),
        (["a.png"], [".b.png", ".cache/c.png", "__MACOSX/._a.png"]),
        (["a.png/b.png"], []),
    ],
    ids=["formats", "order", "hidden", "folder named like an image"],
)  # fmt: skip
def test_images_are_listed_by_their_relative_path_and_nothing_else_is(tmp_path, names, others):
    touch(tmp_path, *reversed(names), *others)
    assert listed(tmp_path) == names


def test_links_are_followed_but_a_loop_or_a_second_way_is_not_walked_twice(tmp_path):
    touch(tmp_path, "outside/o.png", "root/in/a.png")
    root = tmp_path / "root"
    (root / "in" / "loop").symlink_to(root)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "same").symlink_to(tmp_path / "outside")
    (root / "self").symlink_to("self")
    (root / "file.png").symlink_to(tmp_path / "outside" / "o.png")
    (root / "gone.png").symlink_to("nowhere.png")  # so that reading it complains
    assert listed(root) == ["file.png", "gone.png", "in/a.png", "link/o.png"]


def test_home_is_expanded(tmp_path, monkeypatch):
    touch(tmp_path, "photos/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list_images("~/photos", KEY) == [tmp_path / "photos" / "a.png"]


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("missing", "={root} does not exist: give it the path"),
        ("a.txt", "={root} is a file: give it the folder"),
        ("empty", "={root} holds no image: put files ending in .bmp, "),
        (None, " is not set: give it the path"),
        ("", " is not set: give it the path"),
    ],
)
def test_a_wrong_folder_is_named_with_its_key_and_the_cure(tmp_path, root, words):
    touch(tmp_path, "a.txt", "empty/notes.txt", "empty/sub/.hidden.png")
    path = tmp_path / root if root else root
    with pytest.raises(SlackoffError) as caught:
        list_images(path, KEY)
    assert KEY + words.format(root=path) in str(caught.value)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png")
    scan = os.scandir

    def refuse_locked(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(SlackoffError, match=r"background\.root: .*locked cannot be listed \(Permission denied\): make"):
        list_images(tmp_path, KEY)


@pytest.mark.parametrize("orientation", [2, 5, 6, 7])
@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.tif", "RGBA"), ("a.png", "LA"), ("a.tif", "L")]
)
def test_an_opaque_alpha_channel_or_grey_is_turned_like_the_rest(tmp_path, name, mode, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(PIXELS).convert("L").convert(mode) if "L" in mode else Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / name, exif=exif, lossless=True)
    expected = UPRIGHT[orientation](np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(read_rgb(tmp_path / name), expected)
    assert image_size(tmp_path / name) == expected.shape[:2]
