"""The contents of an archive, and their limits."""

from dataclasses import dataclass

EMPTY = "It is empty."


@dataclass(frozen=True, slots=True)
class Bounds:
    """`mail_bytes`: the largest mail; `bytes`: all of them together, unpacked; `mails`: how many, including refused."""

    mail_bytes: int
    bytes: int
    mails: int


@dataclass(frozen=True, slots=True)
class Found:
    """A mail; `name` is its place in the archive."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that cannot be stored as a mail, and why, as a sentence."""

    name: str
    reason: str


class Unreadable(Exception):
    """Nothing can be found from here on; the text says why and what to do, as a sentence."""


class Allowance:
    """Counts what has been taken out of an archive. Raises Unreadable beyond its bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._mails = 0
        self._bytes = 0

    def begin(self) -> int:
        """Count one more mail; return its number."""
        self._mails += 1
        if self._mails > self.bounds.mails:
            raise Unreadable(f"It contains more than {self.bounds.mails:,} mails; send it in parts.")
        return self._mails

    def take(self, count: int) -> None:
        """Count that many more bytes."""
        self._bytes += count
        if self._bytes > self.bounds.bytes:
            raise Unreadable(f"Its mails are larger than {self.bounds.bytes:,} bytes in all; send it in parts.")

    def checked(self, name: str, raw: bytes) -> Found | Refused:
        """Refuse an empty mail; the reader has already checked its size."""
        return Found(name, raw) if raw.strip() else Refused(name, EMPTY)

    def too_large(self, name: str) -> Refused:
        return Refused(name, f"It is larger than the {self.bounds.mail_bytes:,} bytes that a bounce mail may have.")
