"""What a set of pairs is made of: places, sizes, brightness, repeated files, scenes that other sets show as well."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from slackoff.images.labelled import scene_thumbnails, shown_in
from slackoff.images.pairs import Pair, file_digests, pair_sizes, read_pair

_SAMPLE = 100  # pairs whose brightness is compared
_THUMBNAIL_PX = 240


@dataclass(frozen=True)
class Survey:
    """What `survey` found.

    - `places`: how many rainy and clean files lie in which folder, in words.
    - `pairs`, `clean_files`: numbers of them.
    - `sizes`: how many pairs have which (height, width) in px.
    - `darker`, `looked_at`: in how many of so many pairs the rainy image is darker by more than a grey level.
    - `repeated`: groups of files with the same bytes, rainy ones and clean ones apart.
    - `shared`: of each other set, the pairs that show one of its scenes.
    """

    places: list[str]
    pairs: int
    clean_files: int
    sizes: Counter[tuple[int, int]]
    darker: int
    looked_at: int
    repeated: list[list[Path]]
    shared: dict[str, list[Pair]]

    def lines(self) -> list[str]:
        """The findings in sentences."""
        sizes = [f"{width} x {height} ({count})" for (height, width), count in self.sizes.most_common(5)]
        more = f" and {len(self.sizes) - 5} other sizes" if len(self.sizes) > 5 else ""
        pixels = sum(height * width * count for (height, width), count in self.sizes.items())
        found = [
            *self.places,
            f"{self.pairs} pairs, {self.clean_files} clean images",
            f"Sizes, px: {', '.join(sizes)}{more}; at most {6 * pixels / 1e9:.2f} GB as training pairs in memory",
            f"The rainy image is the darker one in {self.darker} of {self.looked_at} pairs looked at",
        ]
        if 2 * self.darker > self.looked_at:
            found.append("Rain adds light: see whether rainy and clean are the wrong way round")
        found.append(
            f"{len(self.repeated)} groups of files with the same bytes" if self.repeated else "No repeated file"
        )
        found += [
            f"  {', '.join(map(str, group[:4]))}{' ...' if len(group) > 4 else ''}" for group in self.repeated[:5]
        ]
        for other, pairs in self.shared.items():
            names = f": {', '.join(pair.name for pair in pairs[:6])}{' ...' if len(pairs) > 6 else ''}" if pairs else ""
            found.append(f"{len(pairs)} of {self.pairs} pairs show a scene of {other}{names}")
        return found


def survey(pairs: Sequence[Pair], others: Mapping[str, Sequence[Pair]] | None = None) -> Survey:
    """Look at pairs; every file is read once, and where there are others the clean ones are decoded.

    Args:
        pairs: as `find_pairs` gives them, with `darker_rain=True` where they may be the wrong way round.
        others: further sets by name, such as test sets, whose scenes are looked for.

    Raises:
        SlackoffError: a file cannot be read.
    """
    rainy, clean = {pair.rainy_path for pair in pairs}, {pair.clean_path for pair in pairs}
    sides = {"Rainy images": rainy, "Clean images": clean} if rainy != clean else {"Pairs side by side": rainy}
    places = []
    for what, files in sides.items():
        folders = Counter(path.parent for path in files).most_common()
        more = f" and {len(folders) - 3} other folders" if len(folders) > 3 else ""
        places.append(f"{what}: " + ", ".join(f"{count} in {folder}" for folder, count in folders[:3]) + more)
    sample = Random(0).sample(list(pairs), min(_SAMPLE, len(pairs)))
    darker = sum(float(o.mean()) < float(b.mean()) - 1 for o, b in map(read_pair, sample))
    repeated = []
    for files in sides.values():
        groups: dict[str, list[Path]] = {}
        for path, digest in file_digests(sorted(files)).items():
            groups.setdefault(digest, []).append(path)
        repeated += [group for group in groups.values() if len(group) > 1]
    shared = {}
    if others:
        own = scene_thumbnails(pairs)
        for name, theirs in others.items():
            known = shown_in(own, scene_thumbnails(theirs))
            shared[name] = [pair for pair, shows in zip(pairs, known, strict=True) if shows]
    return Survey(places, len(pairs), len(clean), Counter(pair_sizes(pairs)), darker, len(sample), repeated, shared)


def contact_sheet(pairs: Sequence[Pair], count: int = 8) -> Image.Image:
    """Pairs, evenly spread, rainy left and clean right, a row each; each image fits into 240 x 240 px.

    Raises:
        SlackoffError: a file cannot be read.
    """
    chosen = [pairs[n] for n in sorted(set(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)))]
    rows = []
    for pair in chosen:
        images = [Image.fromarray(np.ascontiguousarray(pixels)) for pixels in read_pair(pair)]
        for image in images:
            image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        rows.append((pair.name, images))
    gap, text = 4, 16
    heights = [max(image.height for image in images) + text + gap for _, images in rows]
    sheet = Image.new("RGB", (2 * _THUMBNAIL_PX + gap, sum(heights)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for (name, images), height in zip(rows, heights, strict=True):
        draw.text((2, top + 2), f"{name.encode('ascii', 'replace').decode()}: rainy | clean", fill="black")
        for number, image in enumerate(images):
            sheet.paste(image, (number * (_THUMBNAIL_PX + gap), top + text))
        top += height
    return sheet
