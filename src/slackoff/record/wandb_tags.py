"""The tag by which everything of a study is found in W&B, whatever group its runs are in."""

import hashlib

_LONGEST = 64


def tag_of(study: str) -> str:
    """``study=NAME``; a name that is too long for a tag ends in a digest, so that no two are taken for one."""
    tag = f"study={study}"
    if len(tag) <= _LONGEST:
        return tag
    return f"{tag[: _LONGEST - 9]}-{hashlib.sha256(study.encode()).hexdigest()[:8]}"
