"""A finding of the doctor: what was checked, its state, and what to do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    state: Literal["ok", "warning", "wrong"]
    found: str
    advice: str = ""
