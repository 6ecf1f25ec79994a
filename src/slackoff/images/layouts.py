"""How people keep (rainy, clean) pairs: folders of the published releases, lists of paths, patterns of names."""

import csv
import re
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from slackoff.errors import SlackoffError
from slackoff.images.files import (
    images_directly_in,
    is_folder,
    require_folder,
    visible_entries,
    walk_images,
)

Found = Sequence[tuple[Path, Path]]
"""(rainy file, clean file) of each pair; several may share a clean file."""

RAINY_FOLDERS = (
    *("rainy", "rain", "input", "inputs", "in", "lq", "lr", "data", "hazy", "blur", "rainy_image", "input_val"),
    *("rainstreak", "raindrop", "rainstreak_raindrop"),
)
CLEAN_FOLDERS = (
    *("norain", "clean", "gt", "groundtruth", "target", "targets", "hr", "clear", "sharp", "ground_truth", "label"),
    "label_val",
)

_NOT_AN_INPUT = re.compile(r"(rainstreak|rainregion|screenrainy)-", re.IGNORECASE)
_OF_SCENE = re.compile(r"(.*-)?([RC])-\d+", re.IGNORECASE)
_SCALE = re.compile(r"x\d+$", re.IGNORECASE)
_LISTS = (".txt", ".csv", ".lst")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MANY = 8  # names that a refusal lists


def in_folder(root: Path, key: str) -> Found:
    """Find the pairs of a folder, in one of three layouts (names in any case):

    * two folders, one of `RAINY_FOLDERS` and one of `CLEAN_FOLDERS`; partners have the same file name, or the same up
      to the suffix, or up to case and the form of accents too, or the same numbers in their names (rain-001.png and
      norain-001.png), or several rainy images have the name of one clean image and parts of their own after "_"
      (1_1.jpg and 1_2.jpg of 1.jpg as in Rain1400, im_0001_s80_a04.png of im_0001.png as in Outdoor-Rain). The images
      of the new Rain100 release may lie in a folder of their scale and be named by it (rain/X2/norain-1x2.png);
    * the original Rain100L/H release: norain-001.png in `root`, rain-001.png beside it or in `root`/rainy. Where no
      file has such a name, further ones that begin with norain and rain are partners (norain12.png, norain-1x2.png);
    * a folder for each scene with one clean image, as in GT-RAIN: SCENE-C-000.png and SCENE-R-000.png, -R-001.png, ...

    The streak layers, masks and screen blends of some releases (rainstreak-*, rainregion-*, screenrainy-*)
    are ignored.

    Raises:
        SlackoffError: there are no pairs, which says what is there; or a file has no partner.
    """
    found = _two_folders(root, key)
    if found is None and (scenes := _scenes(root, key)):
        return scenes
    return match(*(found or _rain100_release(root, key)), key)


def in_two_places(rainy: str | None, clean: str | None, key: str) -> Found:
    """Find the pairs of two folders, or of two patterns.

    A pattern has placeholders in braces, each for any characters but "/": "rain/{scene}_{version}.png" and
    "gt/{scene}.png". Files are partners where the placeholders that both have are the same.

    Args:
        rainy, clean: both folders, or both patterns.
        key: the config key whose `rainy` and `clean` they are, such as "evaluation".

    Raises:
        SlackoffError: a folder or pattern has no images, or a file has no partner.
    """
    places = {f"{key}.rainy": rainy or "", f"{key}.clean": clean or ""}
    fields = [_PLACEHOLDER.findall(place) for place in places.values()]
    if not any(fields):
        folders = [_images(require_folder(place, name), name) for name, place in places.items()]
        return match(folders[0], folders[1], key)
    common = [field for field in dict.fromkeys(fields[0]) if field in fields[1]]
    if not common:
        raise SlackoffError(
            f"{key}.rainy={rainy} and {key}.clean={clean} have no placeholder in common: give both one such as "
            "{name}, or give two folders."
        )
    rainy_files, clean_files = ([*_fitting(place, name)] for name, place in places.items())

    def mark(values: dict[str, str]) -> Hashable:
        return tuple(values[field] for field in common)

    clean_of: dict[Hashable, Path] = {}
    for path, values in clean_files:
        if (first := clean_of.setdefault(mark(values), path)) is not path:
            raise SlackoffError(
                f"{first} and {path} in {key}.clean claim the same partner: remove or rename one of them."
            )
    pairs = [(path, clean_of.get(mark(values))) for path, values in rainy_files]
    single = [path for path, partner in pairs if partner is None]
    used = {partner for _, partner in pairs}
    _refuse_single(single + [path for path in clean_of.values() if path not in used], key)
    return [(path, partner) for path, partner in pairs if partner is not None]


def _fitting(pattern: str, key: str) -> Sequence[tuple[Path, dict[str, str]]]:
    """The images that fit a pattern, with what stands at its placeholders."""
    whole = Path(pattern).expanduser()
    folder = Path(*whole.parts[: next(n for n, part in enumerate(whole.parts) if "{" in part)] or ["."])
    require_folder(folder, key)
    text, seen = "", set[str]()
    for number, part in enumerate(_PLACEHOLDER.split(whole.relative_to(folder).as_posix())):
        if number % 2 == 0:
            text += re.escape(part)
        else:
            text += f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+)"
            seen.add(part)
    fits = re.compile(text)
    found = [
        (folder / name, fit.groupdict()) for name in sorted(walk_images(folder, key)) if (fit := fits.fullmatch(name))
    ]
    if not found:
        raise SlackoffError(f"{key}={pattern}: no image below {folder} fits that pattern. It has {_seen(folder, key)}.")
    return found


def in_list(file: Path, key: str) -> Found:
    """Read a list of pairs: a line each, the rainy path and the clean one, with a comma, tab or spaces between.

    Paths are relative to the folder of the list; where there is none of that name from the root of the disk, one that
    begins with "/" is, too (SPA-Data: /real_world/0001_0.png /real_world_gt/0001.png). Empty lines and those that begin
    with "#" are passed over. A first line that names no image is the heading; one with "rainy" or "input" and "clean",
    "gt" or "target" in it says which column is which.

    Raises:
        SlackoffError: the list or a file of it is missing, or a line does not hold two paths.
    """
    file = file.expanduser()
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise SlackoffError(
            f"{key}={file} cannot be read as a list of pairs ({why}): give a text or CSV file."
        ) from error
    order = (0, 1)
    pairs: list[tuple[Path, Path]] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    for number, line in [(number, line) for number, line in lines if line and not line.startswith("#")]:
        fields = _fields(line)
        columns = [field.lower() for field in fields]
        if not pairs and not any("." in field for field in fields):
            order = (_column(columns, RAINY_FOLDERS, 0), _column(columns, CLEAN_FOLDERS, 1))
            continue
        if len(fields) <= max(order):
            raise SlackoffError(
                f"Line {number} of {file} ({key}) does not hold two paths: write the rainy one and the clean one, "
                "with a comma between them."
            )
        pairs.append((_listed(file, fields[order[0]], number), _listed(file, fields[order[1]], number)))
    if not pairs:
        raise SlackoffError(f"{key}={file} lists no pair: write the rainy path and the clean one in each line.")
    return list(dict.fromkeys(pairs))


def _fields(line: str) -> list[str]:
    if "," in line or "\t" in line:
        return [field.strip() for field in next(csv.reader([line], delimiter="," if "," in line else "\t"))]
    return line.split()


def _column(columns: list[str], names: Sequence[str], otherwise: int) -> int:
    return next((number for number, column in enumerate(columns) if column in names), otherwise)


def _listed(file: Path, name: str, number: int) -> Path:
    written = Path(name).expanduser()
    places = [written] if written.is_absolute() else []
    places.append(file.parent / name.lstrip("/"))
    for place in places:
        if place.is_file():
            return place
    raise SlackoffError(f"{name}, in line {number} of {file}, is no file (looked for {places[-1]}): correct that line.")


def _two_folders(root: Path, key: str) -> tuple[list[Path], list[Path]] | None:
    """List the images of the rainy and of the clean folder; None where `root` does not have both."""
    clean = _subfolder(root, CLEAN_FOLDERS, key)
    rainy = _subfolder(root, RAINY_FOLDERS, key) if clean else None
    if rainy is None or clean is None:
        return None
    return _images(rainy, f"{key}={root}"), _images(clean, f"{key}={root}")


def _images(folder: Path, part_of: str) -> list[Path]:
    """The images directly in a folder, or in the only one in it that is named by a scale."""
    found = [path for path in images_directly_in(folder, part_of) if not _NOT_AN_INPUT.match(path.name)]
    if not found:
        scales = [entry for entry in visible_entries(folder, part_of) if re.fullmatch(r"[xX]\d+", entry.name)]
        if len(scales) == 1:
            found = images_directly_in(folder / scales[0].name, part_of)
    if not found:
        raise SlackoffError(
            f"{folder}, part of {part_of}, holds no image: put the images directly into it. It has "
            f"{_seen(folder, part_of)}."
        )
    return found


def _subfolder(root: Path, names: tuple[str, ...], key: str) -> Path | None:
    found = [
        root / entry.name for entry in visible_entries(root, key) if is_folder(entry) and entry.name.lower() in names
    ]
    if len(found) > 1:
        raise SlackoffError(
            f"{key}={root} holds {' and '.join(f'{path.name}/' for path in found)}, which play the same part: "
            f"{_told(key)}, or move all but one away."
        )
    return found[0] if found else None


def _scenes(root: Path, key: str) -> Found:
    """Pairs of folders of scenes, each with one clean image; none where that is not the layout."""
    pairs: list[tuple[Path, Path]] = []
    for entry in visible_entries(root, key):
        if not is_folder(entry):
            continue
        parts: dict[str, list[Path]] = {"R": [], "C": []}
        for path in images_directly_in(root / entry.name, key):
            if kind := _OF_SCENE.fullmatch(path.stem):
                parts[kind[2].upper()].append(path)
        if not any(parts.values()):
            continue
        if len(parts["C"]) != 1 or not parts["R"]:
            raise SlackoffError(
                f"{root / entry.name}, part of {key}={root}, has {len(parts['R'])} rainy images (-R-) and "
                f"{len(parts['C'])} clean ones (-C-): a scene has one clean image and at least one rainy one."
            )
        pairs += [(rainy, parts["C"][0]) for rainy in parts["R"]]
    return pairs


def _rain100_release(root: Path, key: str) -> tuple[list[Path], list[Path]]:
    here = images_directly_in(root, key)
    beside = [root / entry.name for entry in visible_entries(root, key) if entry.name.lower() in RAINY_FOLDERS[:3]]
    candidates = here + [path for folder in beside if folder.is_dir() for path in images_directly_in(folder, key)]
    clean: list[Path] = []
    rainy: list[Path] = []
    for number in (r"-\d+", r"[-_]?\d\w*"):
        if not clean and not rainy:
            clean = [path for path in here if re.fullmatch(f"norain{number}", path.stem, re.IGNORECASE)]
            rainy = [path for path in candidates if re.fullmatch(f"rain{number}", path.stem, re.IGNORECASE)]
    if not clean or not rainy:
        both = "; if each image holds both, rainy left and clean right, set its layout=side_by_side" if here else ""
        raise SlackoffError(
            f"{key}={root} holds no rainy/clean pairs, but {_seen(root, key)}. Accepted are a rainy folder "
            f"({', '.join(RAINY_FOLDERS)}) beside a clean one ({', '.join(CLEAN_FOLDERS)}) with the same file "
            "names, the rain-001.png and norain-001.png files of Rain100, and scenes with SCENE-C-000.png and "
            f"SCENE-R-000.png; or {_told(key)}{both}{_below(root, key)}."
        )
    return rainy, clean


def _told(key: str) -> str:
    """How a person says which files are pairs."""
    group, _, last = key.rpartition(".")
    if last == "root":
        return f"say which with {group}.rainy=FOLDER {group}.clean=FOLDER or {group}.pairs=LIST"
    return f"say which with a list of pairs, {key}=LIST"


def _below(root: Path, key: str) -> str:
    """A hint at what lies in `root` and would be accepted."""
    for entry in visible_entries(root, key):
        if is_folder(entry):
            inside = [each.name.lower() for each in visible_entries(root / entry.name, key) if is_folder(each)]
            if set(inside) & set(RAINY_FOLDERS) and set(inside) & set(CLEAN_FOLDERS):
                return f"; {root / entry.name} has such folders"
        elif entry.name.lower().endswith(_LISTS) and "readme" not in entry.name.lower():
            return f"; {root / entry.name} may be such a list"
    return ""


def _seen(folder: Path, key: str) -> str:
    """What a folder holds, for a refusal."""
    entries = visible_entries(folder, key)
    names = [f"{entry.name}/" if is_folder(entry) else entry.name for entry in entries]
    names.sort(key=lambda name: not name.endswith("/"))
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f"{', '.join(names[:_MANY])}{more}" if names else "nothing"


def match(rainy: list[Path], clean: list[Path], key: str) -> Found:
    """Pair by the rule that pairs most, the first of equals; refuse a file left over."""
    known = {_folded(path) for path in clean}

    def version(path: Path) -> Hashable:
        """The clean image whose name is the longest beginning of this one's, up to a "_"."""
        parts = path.stem.split("_")
        starts = (_folded(Path("_".join(parts[:end]) + ".x")) for end in range(len(parts) - 1, 0, -1))
        return next((start for start in starts if start in known), None)

    # What partners have in common: rainy, clean.
    rules: list[tuple[Callable[[Path], Hashable], Callable[[Path], Hashable]]]
    rules = [
        (_name, _name), (_stem, _stem), (_folded, _folded), (_scaled, _folded), (_numbers, _numbers), (version, _folded)
    ]  # fmt: skip
    of_rainy, of_clean = max(rules, key=lambda rule: len(set(map(rule[0], rainy)) & set(map(rule[1], clean))))
    clean_of = _by_rule(of_clean, clean, key)
    _by_rule(_stem if of_rainy is version else of_rainy, rainy, key)  # several may show one scene
    wanted = set(map(of_rainy, rainy))
    single = [path for path in rainy if of_rainy(path) not in clean_of]
    _refuse_single(single + [path for mark, path in clean_of.items() if mark not in wanted], key)
    return [(path, clean_of[of_rainy(path)]) for path in rainy]


def _refuse_single(single: list[Path], key: str) -> None:
    if single:
        others = f" ({len(single) - 1} other files have none either)" if len(single) > 1 else ""
        raise SlackoffError(f"{min(single)} in {key} has no partner{others}: add its partner or remove it.")


def _by_rule(rule: Callable[[Path], Hashable], paths: list[Path], key: str) -> dict[Hashable, Path]:
    found: dict[Hashable, Path] = {}
    for path in paths:
        if (first := found.setdefault(rule(path), path)) is not path:
            raise SlackoffError(f"{first} and {path} in {key} claim the same partner: remove or rename one of them.")
    return found


def _name(path: Path) -> Hashable:
    return path.name


def _stem(path: Path) -> Hashable:
    return path.stem


def _folded(path: Path) -> Hashable:
    """The name whatever its case and the form of its accents, which depend on the machine that wrote the file."""
    return unicodedata.normalize("NFC", path.stem).casefold()


def _scaled(path: Path) -> Hashable:
    """The name without a scale at its end, as norain-1x2.png of norain-1.png."""
    return _folded(Path(_SCALE.sub("", path.stem) + path.suffix))


def _numbers(path: Path) -> Hashable:
    return tuple(int(digits) for digits in re.findall(r"\d+", path.stem))
