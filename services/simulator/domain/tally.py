"""Counts calls and accepted messages; records which messages were accepted more than once, and when.

`calls = accepted + refused + lost + validated` holds at any time; `repeated = accepted - distinct`.
"""

from array import array
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

_SHARDS = 1024
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_NEVER = 0


class FirstSeen:
    """When each key was first seen, in 24 to 48 bytes per key, while a dict takes 150: it must hold tens of millions.
    Open addressing over 64-bit hashes, in shards so that no resize stops the world; of ten million keys, two collide
    with a probability of 3 in a million.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._keys = [array("Q", bytes(128)) for _ in range(_SHARDS)]
        self._times = [array("Q", bytes(128)) for _ in range(_SHARDS)]
        self._counts = [0] * _SHARDS

    def __len__(self) -> int:
        return sum(self._counts)

    def add(self, key: Hashable, milliseconds: int, attempt: int = 0) -> tuple[int, int] | None:
        """Return None for a new key; else the time (milliseconds, > 0) and attempt (0–255) of its first occurrence."""
        mark = (hash(key) & _MASK) or 1
        shard = mark & (_SHARDS - 1)
        keys = self._keys[shard]
        last = len(keys) - 1
        slot = (mark >> 10) & last
        while seen := keys[slot]:
            if seen == mark:
                first = self._times[shard][slot]
                return first >> 8, first & 0xFF
            slot = (slot + 1) & last
        keys[slot] = mark
        self._times[shard][slot] = milliseconds << 8 | min(attempt, 255)
        self._counts[shard] += 1
        if self._counts[shard] * 3 > last * 2:
            self._grow(shard)
        return None

    def _grow(self, shard: int) -> None:
        old_keys, old_times = self._keys[shard], self._times[shard]
        size = len(old_keys) * 2
        keys, times = array("Q", bytes(8 * size)), array("Q", bytes(8 * size))
        for mark, first in zip(old_keys, old_times, strict=True):
            if mark:
                slot = (mark >> 10) & (size - 1)
                while keys[slot]:
                    slot = (slot + 1) & (size - 1)
                keys[slot], times[slot] = mark, first
        self._keys[shard], self._times[shard] = keys, times


@dataclass(slots=True)
class Tally:
    """The counters of one channel. Times are Unix milliseconds."""

    channel: str
    calls: int = 0
    accepted: int = 0
    refused: int = 0
    lost: int = 0  # neither accepted nor answered: cut, hanging, or closed in the middle
    validated: int = 0  # validate_only: checked, sent to nobody
    unanswered: int = 0  # accepted, but the caller got no answer
    answers: Counter[str] = field(default_factory=Counter)
    protocols: Counter[str] = field(default_factory=Counter)
    repeats: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    seen: FirstSeen = field(default_factory=FirstSeen)

    def accept(self, tag: str, milliseconds: int, attempt: int = 0) -> bool:
        """Count one accepted message; return True if it is a repeat."""
        self.accepted += 1
        first = self.seen.add(tag, milliseconds, attempt)
        if first is None:
            return False
        self.repeats.setdefault(tag, [first]).append((milliseconds, attempt))
        return True

    def refuse(self, answer: str) -> None:
        """Count one refused call, by its answer."""
        self.refused += 1
        self.answers[answer] += 1

    def clear(self) -> None:
        """Reset all counters to zero."""
        self.calls = self.accepted = self.refused = self.lost = self.validated = self.unanswered = 0
        for counted in (self.answers, self.protocols, self.repeats, self.seen):
            counted.clear()

    def figures(self) -> dict[str, Any]:
        """Return the counters in the control API's form."""
        distinct = len(self.seen)
        return {
            "calls": self.calls,
            "accepted": self.accepted,
            "distinct": distinct,
            "repeated": self.accepted - distinct,
            "refused": self.refused,
            "lost": self.lost,
            "validated": self.validated,
            "unanswered": self.unanswered,
            "answers": dict(self.answers),
            "protocols": dict(self.protocols),
        }
