"""Contact sheets: rows of pictures with a name each, to look at rain, backgrounds and test images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from slackoff.analysis.style import INK, QUIET, house_style

Pictures = Sequence[NDArray[np.uint8]]

_SIDE = 1.35
"""Inches of the longer side of a picture."""


def contact_sheet(
    rows: Mapping[str, Pictures], captions: Mapping[str, Sequence[str]] | None = None, title: str = ""
) -> Figure:
    """One row of pictures per name, in their own pixels (nearest neighbour, grey levels as they are).

    Args:
        rows: name -> uint8 pictures, (H, W, 3) or, drawn in grey from 0 to 255, (H, W). Rows may differ in length.
        captions: name -> a text below each picture of the row.
        title: above all.

    Raises:
        ValueError: no picture at all, or captions that are not as many as the pictures.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    if columns == 0:
        raise ValueError("a contact sheet needs at least one picture")
    captions = captions or {}
    room = _SIDE + (0.22 if captions else 0.06)
    with house_style():
        figure = Figure(
            figsize=(_SIDE * columns + 1.2, room * len(rows) + (0.4 if title else 0.1)),
            layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
        )
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, pictures) in zip(axes, rows.items(), strict=True):
            texts = captions.get(name, [""] * len(pictures))
            for ax, pixels, text in zip(line, pictures, texts, strict=False):
                ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                ax.set_xlabel(text, fontsize=8, color=QUIET, labelpad=2)
            if len(texts) != len(pictures):
                raise ValueError(f"{len(pictures)} pictures of '{name}' have {len(texts)} captions")
            for ax in line:
                ax.set(xticks=[], yticks=[])
                ax.grid(False)
                ax.spines[:].set_visible(False)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8, color=INK)
        if title:
            figure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left", color=INK)
    return figure


def as_grey_levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """An image in [0, 1], (C, H, W) with one or three channels, as uint8 pixels (H, W) or (H, W, 3)."""
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
