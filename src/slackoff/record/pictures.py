"""Where a cell keeps the pictures of its test images: ``pictures/TEST_SET/IMAGE/KIND.png``.

Two test sets may hold images of the same name, and names may hold folders (a/001): names of test sets and images are
written as in a URL (a%2F001), so that each is one folder and can be read back.
"""

from pathlib import Path
from urllib.parse import quote, unquote

KINDS = ("rainy", "output", "background")
"""The pictures of the cell's own network; ``output_NAME`` is of a further one."""

Named = tuple[str, str]
"""A test image: name of its test set, name in that set."""


def picture_folder(cell: Path, named: Named) -> Path:
    """Where the folder of a cell keeps the pictures of a test image."""
    return cell.joinpath("pictures", *(quote(name, safe=" ") for name in named))


def kept_pictures(cell: Path) -> dict[Named, Path]:
    """Test image -> its folder, of those that a cell kept all `KINDS` of, sorted by test set and name."""
    found = {
        (unquote(folder.parent.name), unquote(folder.name)): folder
        for folder in (cell / "pictures").glob("*/*")
        if all((folder / f"{kind}.png").is_file() for kind in KINDS)
    }
    return dict(sorted(found.items()))
