"""What of a photo survives deraining, read back with Pillow and OpenCV; which result goes where."""

import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from slackoff.deraining.photos import FORMATS, plan_jobs, read_photo, write_photo
from slackoff.errors import SlackoffError
from slackoff.images import files
from slackoff.images.files import natural

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(height: int = 7, width: int = 11, channels: int = 3, top: int = 256, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, (height, width, channels), dtype=dtype).squeeze()


def camera_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 11  # as it is stored
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageHeight] = 7
    return exif


def rewritten(source: Path, target: Path) -> Image.Image:
    photo = read_photo(source)
    write_photo(photo, photo.pixels, target, "slackoff, cell abc")
    image = Image.open(target)
    image.load()
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_photo_is_turned_upright_and_its_exif_says_so(orientation, ending, tmp_path):
    source = tmp_path / f"photo{ending}"
    Image.fromarray(pixels()).save(source, exif=camera_exif(orientation).tobytes(), icc_profile=SRGB, dpi=(72, 72))
    upright = ImageOps.exif_transpose(Image.open(source)).convert("RGB")
    photo = read_photo(source)
    assert np.array_equal(photo.pixels, np.asarray(upright))
    image = rewritten(source, tmp_path / f"derained{ending}")
    exif = image.getexif()
    assert image.size == upright.size
    assert exif.get(ExifTags.Base.Orientation, 1) == 1
    assert exif[ExifTags.Base.Make] == "Camera"
    assert exif[ExifTags.Base.Software] == "slackoff, cell abc"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    own = exif.get_ifd(ExifTags.IFD.Exif)
    assert own[ExifTags.Base.ISOSpeedRatings] == 400
    assert (own[ExifTags.Base.ExifImageWidth], own[ExifTags.Base.ExifImageHeight]) == upright.size
    assert image.info["icc_profile"] == SRGB
    if ending in (".png", ".tif"):
        assert np.array_equal(np.asarray(image), photo.pixels)


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_written(ending, tmp_path):
    source = tmp_path / "photo.png"
    Image.fromarray(cv2.GaussianBlur(pixels(40, 60), (9, 9), 3)).save(source)
    image = rewritten(source, tmp_path / f"derained{ending}")
    assert image.format == FORMATS[ending]
    lossy = ending in (".jpg", ".jpeg", ".jfif", ".webp")
    difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - read_photo(source).pixels)
    assert difference.max() <= (12 if lossy else 0)
    if image.format == "PNG":
        assert image.text["Software"] == "slackoff, cell abc"
    if image.format == "JPEG":
        assert image.layer[0][1:3] == image.layer[1][1:3] == (1, 1)  # no chroma subsampling


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P with transparency", "RGB with transparency"])
def test_transparency_is_kept_untouched(mode, tmp_path):
    source = tmp_path / "photo.png"
    image = Image.fromarray(pixels(channels=4), "RGBA")
    if " with " in mode:
        image = image.convert("RGB").convert(mode.split()[0], colors=8)
        image.save(source, transparency=image.getpixel((2, 2)))
    else:
        source = source.with_suffix(".tif") if mode == "PA" else source
        image.convert(mode.replace("PA", "RGBA")).save(source)
    expected = Image.open(source).convert("RGBA").getchannel("A")
    assert 0 < np.asarray(expected).mean() < 255
    found = rewritten(source, tmp_path / "out.png")
    assert np.array_equal(np.asarray(found.getchannel("A")), np.asarray(expected))
    assert found.mode == ("LA" if mode == "LA" else "RGBA")
    with pytest.raises(SlackoffError, match=r"out\.jpg cannot be written: JPEG keeps no transparency.*--format png"):
        rewritten(source, tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


@pytest.mark.parametrize("orientation", [3, 5, 6])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_transparent_photo_is_turned_with_its_transparency(mode, ending, orientation, tmp_path):
    """And keeps its greyness and resolution."""
    if (ending == ".webp" and mode != "RGBA") or (ending == ".tif" and mode == "P"):
        pytest.skip("this format has no such pictures")
    image = Image.fromarray(pixels(channels=4), "RGBA")
    image = image.convert("RGB").convert("P", colors=8) if mode == "P" else image.convert(mode)
    options = {"transparency": 3} if mode == "P" else {"lossless": True, "exact": True} if ending == ".webp" else {}
    if ending != ".webp":
        options["dpi"] = (300, 300)
    source = tmp_path / f"photo{ending}"
    image.save(source, exif=camera_exif(orientation).tobytes(), **options)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(source.read_bytes()))).convert("RGBA")
    photo = read_photo(source)
    assert np.array_equal(np.dstack([photo.pixels, photo.alpha]), np.asarray(upright))
    found = rewritten(source, tmp_path / "out.png")
    assert found.mode == ("LA" if mode == "LA" else "RGBA")
    assert np.array_equal(np.asarray(found.convert("RGBA")), np.asarray(upright))
    if ending != ".webp":
        assert found.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_print_is_turned_too(tmp_path):
    image = Image.fromarray(cv2.GaussianBlur(pixels(40, 60), (9, 9), 3)).convert("CMYK")
    image.save(tmp_path / "print.jpg", exif=camera_exif(6).tobytes(), quality=100)
    photo = read_photo(tmp_path / "print.jpg")
    assert np.array_equal(
        photo.pixels, np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "print.jpg")).convert("RGB"))
    )
    assert photo.notes == ("CMYK became sRGB",)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_stays_grey(mode, tmp_path):
    Image.fromarray(pixels()).convert(mode).save(tmp_path / "photo.png")
    expected = np.asarray(Image.open(tmp_path / "photo.png").convert("L"))
    photo = read_photo(tmp_path / "photo.png")
    assert np.array_equal(photo.pixels, np.stack([expected] * 3, -1))
    found = rewritten(tmp_path / "photo.png", tmp_path / "out.png")
    assert found.mode == "L"
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("ending", [".png", ".tif", ".ppm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_and_the_photo_says_so(ending, channels, tmp_path):
    source = tmp_path / f"photo{ending if channels == 3 or ending != '.ppm' else '.pgm'}"
    deep = pixels(channels=channels, top=65536, dtype=np.uint16)
    cv2.imwrite(str(source), deep[..., ::-1] if channels == 3 else deep)
    photo = read_photo(source)
    difference = photo.pixels.astype(float) - (deep if channels == 3 else deep[..., None]) / 257
    assert np.abs(difference).max() <= 1
    assert photo.notes == ("16 bits per channel became 8",)
    assert photo.grey == (channels == 1)


@pytest.mark.parametrize(
    ("bits", "stored", "white_is_zero"),
    [(12, b"\xff\xf0\0", False), (16, b"\xff\xff\0\0", False), (16, b"\xff\xff\0\0", True)],
)
def test_the_white_of_a_deep_tiff_stays_white(bits, stored, white_is_zero, tmp_path):
    entries = {256: 2, 257: 1, 258: bits, 259: 1, 262: 1 - white_is_zero, 273: 122, 277: 1, 278: 1, 279: len(stored)}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    (tmp_path / "scan.tif").write_bytes(b"II*\0\x08\0\0\0\x09\0" + tags + bytes(4) + stored)
    photo = read_photo(tmp_path / "scan.tif")
    assert photo.pixels[0, :, 0].tolist() == ([0, 255] if white_is_zero else [255, 0])
    assert photo.notes == (f"{bits} bits per channel became 8",)


def test_cmyk_becomes_srgb_without_its_profile(tmp_path):
    image = Image.fromarray(cv2.GaussianBlur(pixels(40, 60), (9, 9), 3)).convert("CMYK")
    image.save(tmp_path / "photo.jpg", quality=100, icc_profile=b"no profile")
    photo = read_photo(tmp_path / "photo.jpg")
    assert np.abs(photo.pixels.astype(int) - np.asarray(image.convert("RGB"))).max() <= 12
    assert photo.icc is None
    assert photo.notes == ("CMYK became sRGB",)


def test_tags_of_the_layout_of_a_tiff_stay_behind(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "photo.tif", exif=camera_exif(1).tobytes(), icc_profile=SRGB)
    exif = rewritten(tmp_path / "photo.tif", tmp_path / "out.jpg").getexif()
    kept = {ExifTags.Base.Make, ExifTags.Base.Orientation, ExifTags.Base.Software, ExifTags.IFD.Exif}
    assert set(exif) - {ExifTags.IFD.GPSInfo, ExifTags.Base.XResolution, ExifTags.Base.YResolution} == kept


def test_damaged_exif_is_left_out_and_the_photo_is_kept(tmp_path):
    body = BytesIO()
    Image.fromarray(pixels()).save(
        body, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x0f\x00\x02zzzz"
    )
    (tmp_path / "photo.jpg").write_bytes(body.getvalue())
    assert read_photo(tmp_path / "photo.jpg").notes == ("damaged EXIF was left out",)
    assert rewritten(tmp_path / "photo.jpg", tmp_path / "out.jpg").size == (11, 7)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is not a readable"),
        (lambda path: path.symlink_to("nowhere"), "cannot be read"),
        (lambda path: Image.new("F", (4, 4)).save(path, "TIFF"), "is stored as F"),
        (lambda path: Image.new("LAB", (4, 4)).save(path, "TIFF"), "is stored as LAB"),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_one_sentence_that_names_the_file(make, sentence, tmp_path):
    path = tmp_path / "photo.png"
    make(path)
    with pytest.raises(SlackoffError, match=sentence) as refused:
        read_photo(path)
    assert str(path) in str(refused.value)


def test_a_photo_that_cannot_be_encoded_leaves_nothing(tmp_path):
    Image.fromarray(pixels(1, 17000)).save(tmp_path / "photo.png")
    with pytest.raises(SlackoffError, match=r"out\.webp cannot be written as WEBP.*--format png"):
        rewritten(tmp_path / "photo.png", tmp_path / "out.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


# Which result goes where.


@pytest.fixture
def photos(tmp_path: Path, monkeypatch) -> Path:
    """a.png, b.JPG, notes.txt, a hidden one, and frames in a folder below."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "video").mkdir(parents=True)
    for name in ("a.png", "b.JPG", "notes.txt", ".hidden.png", *(f"video/frame{i}.png" for i in (1, 2, 10))):
        (folder / name).touch()
    return Path("photos")


def planned(*arguments, **options) -> dict[str, str]:
    return {str(job.source): str(job.target) for job in plan_jobs(*arguments, **options).jobs}


def test_folders_keep_their_structure_and_frames_the_order_of_their_numbers(photos):
    names = ["a.png", "b.JPG", *(f"video/frame{i}.png" for i in (1, 2, 10))]
    assert list(planned([photos], Path("out")).items()) == [(f"photos/{name}", f"out/{name}") for name in names]
    names = ["²3.png", "①2.png", "f10.png", "f9.png", "f009b.png", "2/f1.png", "10/f1.png", "f.png"]
    in_order = ["f9.png", "f009b.png", "f10.png", "f.png", "²3.png", "①2.png"]  # not every digit is of a number
    assert sorted(names, key=natural) == ["2/f1.png", "10/f1.png", *in_order]


@pytest.mark.parametrize(
    ("name", "out", "ending", "target"),
    [
        ("a.png", "out", "keep", "out/a.png"),
        ("a.png", "clean.jpg", "keep", "clean.jpg"),
        ("a.png", "out", "jpg", "out/a.jpg"),
        ("b.JPG", "out", "jpg", "out/b.JPG"),
        ("b.JPG", "out", "png", "out/b.png"),
        ("notes.txt", "out", "keep", "out/notes.txt.png"),
        ("notes.txt", "out", "jpg", "out/notes.txt.jpg"),
    ],
)
def test_a_photo_goes_to_a_folder_or_to_a_name(name, out, ending, target, photos):
    assert planned([photos / name], Path(out), ending=ending) == {f"photos/{name}": target}


def test_several_photos_go_to_a_folder_whatever_its_name(photos):
    found = planned([photos / "a.png", photos / "b.JPG"], Path("out.png"))
    assert found == {"photos/a.png": "out.png/a.png", "photos/b.JPG": "out.png/b.JPG"}


def test_an_output_inside_the_input_is_no_input(photos):
    (photos / "derained").mkdir()
    (photos / "derained" / "a.png").touch()
    (photos / "sheet.png").touch()
    found = planned([photos], photos / "derained", left_out=[photos / "sheet.png"])
    assert len(found) == 5
    assert found["photos/a.png"] == "photos/derained/a.png"


def test_the_same_photo_twice_is_one_job_and_links_in_circles_end(photos):
    assert len(plan_jobs([photos / "a.png", photos / "a.png"], Path("out")).jobs) == 1
    assert len(plan_jobs([photos / "a.png", photos], Path("out")).jobs) == 5
    (photos / "video" / "again").symlink_to(photos.resolve(), target_is_directory=True)
    assert len(planned([photos], Path("out"))) == 5


def test_a_folder_that_cannot_be_listed_is_a_failure_and_the_others_go_on(photos, monkeypatch):
    listed = files.visible_entries

    def refuse(path, key):
        if path.name == "video":
            raise SlackoffError(f"{key}: the folder {path} cannot be listed (Permission denied)")
        return listed(path, key)

    monkeypatch.setattr(files, "visible_entries", refuse)
    plan = plan_jobs([photos], Path("out"))
    assert [job.source.name for job in plan.jobs] == ["a.png", "b.JPG"]
    assert len(plan.failures) == 1
    assert "photos/video cannot be listed" in plan.failures[0]


@pytest.mark.parametrize(
    ("inputs", "out", "options", "sentence"),
    [
        (["nowhere.png"], "out", {}, r"nowhere\.png is not there"),
        (["photos"], "photos/a.png", {}, "is a file: name a folder"),
        (["empty"], "out", {}, "empty: there is no photo"),
        (["photos/a.png"], "clean.jpg", {"ending": "png"}, "contradict each other"),
        (["photos"], "photos", {}, "the input itself"),
        (["photos/a.png"], "photos", {}, r"photos/a\.png is an input"),
        (["photos/video", "frame1.png"], ".", {}, r"frame1\.png is an input"),
        (["photos", "a"], "out", {"ending": "png"}, r"photos/a\.png and a/a\.jpg would both be written to out/a\.png"),
    ],
)
def test_mistakes_are_refused_before_anything_starts(inputs, out, options, sentence, photos):
    for folder in ("empty", "a"):
        Path(folder).mkdir()
    for file in ("frame1.png", "a/a.jpg"):
        Path(file).touch()
    with pytest.raises(SlackoffError, match=sentence):
        plan_jobs([Path(name) for name in inputs], Path(out), **options)
    assert planned([photos], Path())["photos/a.png"] == "a.png"  # an input inside the output is fine


def test_files_that_are_left_out_are_named(tmp_path):
    for name in ("a.png", "sub/b.raw", "notes.txt", ".hidden"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    plan = plan_jobs([tmp_path / "in"], tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["a.png"]
    (sentence,) = plan.sentences()
    assert sentence.startswith("2 files are left out, by the ending no photo: ")
    assert "notes.txt" in sentence
    assert "sub/b.raw" in sentence


def test_a_heic_photo_is_read_and_its_result_is_a_png(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    pixels = np.full((40, 60, 3), (200, 90, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.HEIC", quality=95)
    assert np.abs(read_photo(tmp_path / "a.HEIC").pixels.astype(int) - pixels).max() <= 3
    (job,) = plan_jobs([tmp_path / "a.HEIC"], tmp_path / "out").jobs
    assert job.target == tmp_path / "out" / "a.HEIC.png"


def test_a_heic_photo_without_the_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("slackoff.images.files._HEIF", False)
    (tmp_path / "a.heic").touch()
    with pytest.raises(SlackoffError, match=r"a\.heic is a HEIC photo, which needs a package: pip install pillow-heif"):
        read_photo(tmp_path / "a.heic")
