"""Pictures of one grey level, as a study is made of."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, value: int, height: int = 8, width: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)
