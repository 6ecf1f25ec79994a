"""Real test streaks on chosen backgrounds: the rain of a paired test set, laid over held-out photos."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slackoff.errors import SlackoffError
from slackoff.evaluation.image_sets import EvaluationImage, PairFolder, to_tensor
from slackoff.images import ImageSource, split_images
from slackoff.rain import add_rain


@dataclass(frozen=True)
class StreaksOnHeldOut:
    """The rain layers of a folder of pairs on held-out backgrounds ("Networks are Slacking Off", Figures 4 to 7, 10).

    Test image i has the rain of pair i and held-out background i, each list begun again when it ends, until every
    background and every pair was used or ``count`` is reached. Of both the centre is taken, as large as both allow:
    nothing is resized, so neither streaks nor photos lose their sharpness. The paper does not say how it did this.

    Args:
        root: the folder of pairs, such as Rain100L; R is taken from each as the largest channel of O - B.
        count: number of test images; None gives as many as there are pairs or backgrounds, whichever are more.
        crop_px: largest side of a test image; None sets no limit.
        backgrounds: whose held-out photos to use; None uses those of the cell's own backgrounds.
        held_out: share or number of ``backgrounds`` that may be used here. Ignored where these are the very photos that
            the cell trains on: then the cell's own split counts.
        key: the config key that names ``root``, for messages.
    """

    root: str
    count: int | None = None
    crop_px: int | None = None
    backgrounds: ImageSource | None = None
    held_out: float | int | None = None
    key: str = "evaluation.root"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(PairFolder(self.root, key=self.key).fingerprint().encode())
        if self.backgrounds is not None:
            digest.update(f"{self.backgrounds.fingerprint()} {self.held_out}".encode())
        return digest.hexdigest()

    def load(self, source: ImageSource, held_out: Sequence[int]) -> list[EvaluationImage]:
        """See ``ImageSet``.

        Raises:
            SlackoffError: no background is held out, or see ``find_pairs`` and ``read_pair``.
        """
        source, held_out = self._photos(source, held_out)
        rains = PairFolder(self.root, self.count, key=self.key).load(source, [])
        total = self.count or max(len(rains), len(held_out))
        return [
            self._compose(rains[number % len(rains)], source, held_out[number % len(held_out)])
            for number in range(total)
        ]

    def _photos(self, source: ImageSource, held_out: Sequence[int]) -> tuple[ImageSource, Sequence[int]]:
        if self.backgrounds is not None and self.backgrounds.fingerprint() != source.fingerprint():
            source = self.backgrounds
            held_out = split_images(source, self.held_out, key="evaluation.held_out").test
        if not held_out:
            raise SlackoffError(
                "No background is held out for the streak test set: set background.held_out (and evaluation.held_out) "
                "to a share such as 0.1"
            )
        return source, held_out

    def _compose(self, rain: EvaluationImage, source: ImageSource, number: int) -> EvaluationImage:
        photo = source.read(number)
        limit = self.crop_px or max(photo.shape)
        height = min(photo.shape[0], rain.rain.shape[-2], limit)
        width = min(photo.shape[1], rain.rain.shape[-1], limit)
        background = to_tensor(_centre(photo, height, width))
        top, left = (rain.rain.shape[-2] - height) // 2, (rain.rain.shape[-1] - width) // 2
        streaks = rain.rain[:, top : top + height, left : left + width]
        name = source.names[number]
        origin = {"source": hashlib.sha256(photo.tobytes()).hexdigest()[:12]}
        return EvaluationImage(f"{rain.name}-on-{name}", background, streaks, add_rain(background, streaks), origin)


def _centre(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
