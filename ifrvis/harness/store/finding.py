"""What `ifrvis verify` finds of a file, be it a record, a run's or a report's."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ifrvis.files import sha256_file

Outcome = Literal["recomputed", "from videos", "digest only", "wrong", "not kept"]
MEANING: dict[Outcome, str] = {
    "recomputed": "made again from what lies behind it, and the same",
    "from videos": "a record that is the sum of what lies beside it, not at other thresholds (errors at half); "
    "predictions or ground truth are not here",
    "digest only": "as it was written, by its digest; it is of a kind that nothing makes again here, which is fine",
    "wrong": "contradicted by something",
    "not kept": "spoken of and not here, which is fine where it was not meant to be kept",
}


@dataclass(frozen=True)
class Finding:
    """What was found of one file."""

    outcome: Outcome
    path: Path  # the file
    why: str = ""  # a reason for people; empty where there is nothing to say


def held_against(path: Path, digest: str, *, absent: str = "", other: str = "it is not as it was written") -> Finding:
    """What a file's SHA-256 says of it; `absent` and `other` are reasons where there is no such file, or another."""
    if not path.is_file():
        return Finding("not kept", path, absent)
    return Finding("digest only", path) if sha256_file(path) == digest else Finding("wrong", path, other)


def same_to_rounding(one: Any, other: Any) -> bool:
    """Equal, floats to rounding: another version of numpy may sum in another order."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_to_rounding(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same_to_rounding, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)
