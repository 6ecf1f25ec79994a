"""Clean images by their pixels: which training pairs show a scene that is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

from slackoff.pairs.files import Pair, clean_digests
from slackoff.pairs.layouts import find_pairs


@dataclass(frozen=True)
class Scenes:
    """The clean images of a folder of pairs, such as a test set.

    Args:
        root: the folder; see docs/datasets.md for the layouts.
        key: the config key that names it, for messages.
        layout: see ``find_pairs``.
    """

    root: str
    key: str = "labelled.leave_out.root"
    layout: str = "auto"

    def without(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of the pairs whose clean image has not the same pixels as one of the folder's.

        A copy that was cropped, or saved again with a loss, is another image.

        Raises:
            SlackoffError: as for ``find_pairs``, or a file cannot be read.
        """
        known = set(clean_digests(find_pairs(self.root, self.key, self.layout)))
        return [pair for pair, digest in zip(pairs, clean_digests(pairs), strict=True) if digest not in known]
