"""What the doctor found: one thing that was looked at, how it is, and what to do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    advice: str = ""
