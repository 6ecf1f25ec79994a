"""Which training pairs show a scene that is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

from slackoff.pairs.files import Pair
from slackoff.pairs.layouts import find_pairs
from slackoff.pairs.likeness import scene_thumbnails, shown_in


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
        """Those of the pairs whose clean image shows none of the folder's scenes, see ``slackoff.pairs.likeness``.

        Copies that were cropped a little, mirrored, scaled or saved again with a loss count as the same scene.

        Raises:
            SlackoffError: as for ``find_pairs``, or a file cannot be read.
        """
        shown = shown_in(scene_thumbnails(pairs), scene_thumbnails(find_pairs(self.root, self.key, self.layout)))
        return [pair for pair, known in zip(pairs, shown, strict=True) if not known]
