"""What `ifrvis verify` finds of a file, be it a record, a run's or a report's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Outcome = Literal["recomputed", "digest only", "wrong", "not kept"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Finding:
    """What was found of one file.

    Attributes:
        outcome: `recomputed`: made again from what lies behind it, and the same; `digest only`: nothing contradicts it;
            `wrong`: something does; `not kept`: spoken of, and not here.
        path: The file.
        why: A reason for people; empty where there is nothing to say.
    """

    outcome: Outcome
    path: Path
    why: str = ""
