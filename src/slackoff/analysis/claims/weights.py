"""What the table of PReNet's repository says of its four networks, checked on their published weights."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from slackoff.analysis.claim import Claim
from slackoff.analysis.claims.variants import Direction, Statement, checked
from slackoff.analysis.claims.weights_published import HEAVY, LIGHT, MEASURES, variant
from slackoff.analysis.frames import Frames

_BETTER: Final[Mapping[str, Direction]] = MappingProxyType(dict.fromkeys(MEASURES, "higher"))


def check_published_weights(frames: Frames) -> list[Claim]:
    """A recurrent layer helps, and sharing one block costs quality; on the set that the weights were trained for."""
    return [claim for test_set in (LIGHT, HEAVY) for claim in checked(frames, _statements(test_set), test_set)]


def _statements(test_set: str) -> dict[str, Statement]:
    prenet, prenet_r, prn, prn_r = (variant(name, test_set) for name in ("PReNet", "PReNet_r", "PRN", "PRN_r"))
    return {
        "recurrent_layer": Statement(
            "A recurrent layer helps, with five blocks and with one that is shared",
            [(prenet, prn), (prenet_r, prn_r)],
            _BETTER,
        ),
        "shared_block": Statement(
            "Five blocks are better than one that is used five times, with a recurrent layer and without",
            [(prenet, prenet_r), (prn, prn_r)],
            _BETTER,
        ),
    }
