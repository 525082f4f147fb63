"""What `ifrvis verify` finds of a file, be it a record, a run's or a report's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was found of one file."""

    outcome: Literal["verified", "not kept", "CHANGED"]
    path: Path
    why: str = ""
