"""``python -m benchmarks.derain_photo [PRESET ...]``: memory and time of deraining a photo of 4000 x 3000 px.

Each network runs in a process of its own, from imports to the written file, with weights as they are drawn. A slow one
can be stopped after some tiles: its time is then taken from the share that was done and is marked "about", and its
memory is what it had needed so far, which grows little after the first row of tiles.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_PX, HEIGHT_PX = 4000, 3000
PRESETS = ("menet", "moss", "unet", "resnet", "resnet_small", "prenet", "swinir_small")


class EnoughTiles(Exception):
    """So many tiles were done as were asked for."""


def measure(preset: str, tiles: int, tile_px: int | None, overlap_px: int) -> dict[str, Any]:
    """Derain a photo with a network in this process.

    Returns:
        ``tile_px``; ``seconds`` and ``cpu_seconds`` of deraining the whole photo; ``share`` of it that was derained;
        ``peak_mb``: the largest resident memory of the process, 1e6 bytes.
    """
    import numpy as np
    import torch
    from PIL import Image

    from slackoff.config.build import build
    from slackoff.config.presets import compose_preset
    from slackoff.deraining.model import Model
    from slackoff.deraining.photos import read_photo, write_photo
    from slackoff.deraining.tiles import Tiling, choose_tiling, derain_array

    torch.manual_seed(0)
    node = compose_preset(preset)
    model = Model(build(node, "network").float().eval().requires_grad_(False), node, preset, Path(preset))
    tiling = Tiling(tile_px, overlap_px) if tile_px else choose_tiling(model.network, overlap_px)
    shares: list[float] = []

    def advance(share: float) -> None:
        shares.append(share)
        if len(shares) == tiles:
            raise EnoughTiles

    with tempfile.TemporaryDirectory() as name:
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT_PX // 8, WIDTH_PX // 8, 3), dtype=np.uint8)
        source = Path(name) / "photo.jpg"
        Image.fromarray(noise).resize((WIDTH_PX, HEIGHT_PX)).save(source, quality=92)
        photo = read_photo(source)
        wall, cpu = time.perf_counter(), time.process_time()
        derained = photo.pixels
        try:
            derained = derain_array(model, photo.pixels, tiling, advance)
        except EnoughTiles:
            derained = photo.pixels.copy()
        share = sum(shares)
        seconds = {
            "seconds": (time.perf_counter() - wall) / share,
            "cpu_seconds": (time.process_time() - cpu) / share,
        }
        write_photo(photo, derained, Path(name) / "derained.jpg", "benchmark")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"tile_px": tiling.side, **seconds, "share": share, "peak_mb": peak_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--tiles", type=int, default=0, help="stop after so many; 0 derains the whole photo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tile", type=int, help="side, px; chosen for the network if left out")
    parser.add_argument("--overlap", type=int, default=64, help="px")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.presets[0], options.tiles, options.tile, options.overlap)))
        return
    table = Table("network", "tile, px", "seconds", "CPU seconds", "peak memory, MB", box=None, header_style="bold")
    for preset in options.presets:
        found = _measure_apart(preset, options)
        about = "" if found["share"] > 0.999 else "about "
        table.add_row(
            preset,
            f"{found['tile_px']}",
            f"{about}{found['seconds']:.0f}",
            f"{about}{found['cpu_seconds']:.0f}",
            f"{found['peak_mb']:.0f}",
        )
    Console().print(table)


def _measure_apart(preset: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.derain_photo", preset, "--here"]
    command += [f"--tiles={options.tiles}", f"--overlap={options.overlap}"]
    command += [f"--tile={options.tile}"] if options.tile else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
