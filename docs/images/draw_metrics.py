"""Draw docs/images/metrics.svg: one scene, three outputs, and what each measure says about them.

    python docs/images/draw_metrics.py [other/path.png]

The pictures are computed, not photographed, and every number under them comes from `slackoff.metrics`.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

from slackoff.metrics import functional
from slackoff.metrics.columns import HEADLINE_THRESHOLD
from slackoff.metrics.protocol import Protocol

HEIGHT, WIDTH = 132, 176
INK, MUTED, REWARDED, WARNING = "#1f2933", "#5f6c7b", "#1b7837", "#b2182b"


def background() -> Tensor:
    """A hill and a house before an evening sky, (1, 3, H, W) in [0, 1]."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    low, high = np.array([0.62, 0.52, 0.46]), np.array([0.30, 0.42, 0.58])
    picture = high + (low - high) * (y / HEIGHT)[..., None]
    picture[y > 92 + 12 * np.sin(x / 27)] = (0.28, 0.38, 0.25)
    picture[(x > 96) & (x < 148) & (y > 62) & (y < 108)] = (0.50, 0.40, 0.33)
    picture[(np.abs(x - 122) < (y - 38) * 1.35) & (y > 38) & (y <= 62)] = (0.42, 0.20, 0.18)
    picture[(x > 106) & (x < 118) & (y > 74) & (y < 88)] = (0.68, 0.62, 0.42)
    picture[(x > 127) & (x < 138) & (y > 76) & (y < 108)] = (0.26, 0.19, 0.16)
    return torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0).float()


def rain_layer() -> Tensor:
    """Thin slanted streaks of different strength, (1, 1, H, W) in [0, 1]."""
    generator = np.random.default_rng(5)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    layer = np.zeros((HEIGHT, WIDTH))
    for _ in range(130):
        row, column = generator.uniform(-10, HEIGHT), generator.uniform(-10, WIDTH + 30)
        length, strength = generator.uniform(14, 24), generator.uniform(0.16, 0.36)
        along, across = y - row, (x - column) + 0.35 * (y - row)
        streak = strength * np.exp(-((across / 0.9) ** 2)) * ((along > 0) & (along < length))
        layer = np.maximum(layer, streak)
    return torch.from_numpy(layer).view(1, 1, HEIGHT, WIDTH).float()


def show(axes: Axes, picture: Tensor, title: str, note: str = "") -> None:
    pixels = functional.quantise(picture)[0].permute(1, 2, 0).numpy()
    axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=11, color=INK, pad=19 if note else 6)
    if note:
        axes.text(0.5, 1.02, note, transform=axes.transAxes, ha="center", va="bottom", fontsize=8.5, color=MUTED)


def write_figures(axes: Axes, figures: dict[str, Tensor], verdict: str, colour: str) -> None:
    """The measures in two columns under a picture, and one sentence on what to make of them."""
    values = {name: value.item() for name, value in figures.items()}
    lines = [
        ("$E_R$", f"{values['e_r']:.1f}", f"oracle {values['e_r_oracle']:.1f}"),
        ("$E_B$", f"{values['e_b']:.1f}", "0 is perfect"),
        ("share", f"{values['removal_share']:.2f}", f"oracle {values['removal_share_oracle']:.2f}"),
        ("PSNR", f"{values['psnr_rgb']:.1f} dB", f"input {values['psnr_rgb_input']:.1f}"),
    ]
    for row, (name, value, beside) in enumerate(lines):
        height = -0.10 - 0.115 * row
        style = {"transform": axes.transAxes, "va": "center", "fontsize": 10.5}
        axes.text(0.04, height, name, color=INK, ha="left", **style)
        axes.text(0.56, height, value, color=INK, ha="right", **style)
        axes.text(0.62, height, beside, color=MUTED, ha="left", **{**style, "fontsize": 9})
    axes.text(0.5, -0.60, verdict, transform=axes.transAxes, ha="center", va="center", fontsize=10, color=colour)


def draw() -> plt.Figure:
    clean, rain = background(), rain_layer()
    rainy = (clean + rain).clamp(0, 1)
    mask = functional.rain_mask(rain, HEADLINE_THRESHOLD)
    noise = torch.randn(rainy.shape, generator=torch.Generator().manual_seed(0)) * 2.5 / 255
    outputs = [
        ("output: untouched", rainy, "nothing happened", MUTED),
        ("output: 50 grey levels darker", rainy - 50 / 255, "$E_R$ is fooled, the share is not", WARNING),
        (
            "output: 85 % of the rain removed",
            rainy - 0.85 * rain + noise,
            "rain gone, picture kept",
            REWARDED,
        ),
    ]
    figure, grid = plt.subplots(2, 3, figsize=(10.2, 7.6))
    figure.subplots_adjust(left=0.02, right=0.98, top=0.925, bottom=0.21, wspace=0.06, hspace=0.22)
    show(grid[0, 0], clean, "background B", "the truth: $E_B$ compares with it where M = 0")
    show(grid[0, 1], rainy, "rainy input O = clip(B + R)", "$E_R$ compares with it where M = 1")
    show(
        grid[0, 2],
        mask.float(),
        f"mask M: R > {HEADLINE_THRESHOLD:g}",
        f"{100 * mask.float().mean():.0f} % of the pixels",
    )
    for axes, (title, output, verdict, colour) in zip(grid[1], outputs, strict=True):
        show(axes, output, title)
        write_figures(axes, Protocol().measure(output, clean, rain, rainy), verdict, colour)
    return figure


if __name__ == "__main__":
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "slackoff", "font.family": "DejaVu Sans"})
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("metrics.svg")
    metadata = {"Date": None} if target.suffix == ".svg" else None
    draw().savefig(target, dpi=110, facecolor="white", metadata=metadata)
