"""Which families of statements a study is checked on."""

import difflib
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from slackoff.analysis.claim import Claim
from slackoff.analysis.claims.category import check_category
from slackoff.analysis.claims.limited_labels import check_limited_labels
from slackoff.analysis.claims.menet import check_menet_ablation, check_menet_lossnet, check_menet_table2
from slackoff.analysis.claims.menet_slacking import check_menet_slacking
from slackoff.analysis.claims.moss import check_moss, check_moss_ablation, check_moss_nu, check_moss_tau
from slackoff.analysis.claims.patchcount import check_patch_count
from slackoff.analysis.claims.rainrange import check_rain_range
from slackoff.analysis.claims.references import check_references
from slackoff.analysis.claims.semi_generalisation import check_semi_generalisation
from slackoff.analysis.claims.table2 import check_table2
from slackoff.analysis.claims.transfer import check_transfer
from slackoff.analysis.claims.versus import e_r_versus_removal, with_disagreements
from slackoff.analysis.claims.weights import check_published_weights
from slackoff.analysis.claims.zoo import check_zoo
from slackoff.analysis.frames import Frames
from slackoff.analysis.study import Study
from slackoff.errors import SlackoffError

REFERENCES: Final = "references"
SUMMARY: Final = "summary"

FAMILIES = MappingProxyType[str, Callable[[Frames], list[Claim]]](
    {
        "patchcount": check_patch_count,
        "rainrange": check_rain_range,
        "category": check_category,
        "transfer": check_transfer,
        "table2": check_table2,
        "moss": check_moss,
        "moss_ablation": check_moss_ablation,
        "moss_tau": check_moss_tau,
        "moss_nu": check_moss_nu,
        "menet_ablation": check_menet_ablation,
        "menet_table2": check_menet_table2,
        "menet_lossnet": check_menet_lossnet,
        "menet_slacking": check_menet_slacking,
        "limited_labels": check_limited_labels,
        "semi_generalisation": check_semi_generalisation,
        "published_weights": check_published_weights,
        "zoo": check_zoo,
        REFERENCES: check_references,
    }
)
"""What a study may name in `study.claims`, and the function that makes the claims."""


def check(frames: Frames) -> list[Claim]:
    """The claims of the families that the study names, how E_R and removal compare over them, and the references.

    A study that names none is checked on the patch count where that is its main axis. The references, whether the
    cells are comparable at all, are always checked.

    Raises SlackoffError when the study names a family that does not exist.
    """
    found: list[Claim] = []
    for family in _families(frames.study):
        found += [replace(claim, family=family) for claim in FAMILIES[family](frames)]
    found = with_disagreements(found)
    if summary := e_r_versus_removal(found):
        over = " ".join(dict.fromkeys(claim.scope for claim in found))
        found.append(replace(summary, family=SUMMARY, scope=over))
    return [*found, *(replace(claim, family=REFERENCES) for claim in check_references(frames))]


def _families(study: Study) -> list[str]:
    """The families to check, each once, without the references."""
    for name in study.claims:
        if name not in FAMILIES:
            close = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.4)
            suggestion = f"did you mean '{close[0]}'? " if close else ""
            raise SlackoffError(
                f"study.claims of the study '{study.name}' names '{name}', which is no family of claims: "
                f"{suggestion}There are {', '.join(FAMILIES)}."
            )
    default = ("patchcount",) if study.axis == "patch_count" else ()
    return [name for name in dict.fromkeys(study.claims or default) if name != REFERENCES]
