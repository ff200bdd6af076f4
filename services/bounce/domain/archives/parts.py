"""What comes out of an archive, and how much of it at most."""

from dataclasses import dataclass

EMPTY = "It is empty."


@dataclass(frozen=True, slots=True)
class Bounds:
    """`mail_bytes`: the largest mail; `bytes`: all of them together, unpacked; `mails`: how many, refused ones too."""

    mail_bytes: int
    bytes: int
    mails: int


@dataclass(frozen=True, slots=True)
class Found:
    """A mail; `name` is where in the archive it was."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """What is no mail that can be kept, and why, as a sentence."""

    name: str
    reason: str


class Unreadable(Exception):
    """From here on nothing can be found; the text says why and what to do, as a sentence."""


class Allowance:
    """Counts what was taken out of an archive. Raises Unreadable beyond its bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._mails = 0
        self._bytes = 0

    def begin(self) -> int:
        """One more mail; its number."""
        self._mails += 1
        if self._mails > self.bounds.mails:
            raise Unreadable(f"It holds more than {self.bounds.mails:,} mails; send it in parts.")
        return self._mails

    def take(self, count: int) -> None:
        """So many more bytes."""
        self._bytes += count
        if self._bytes > self.bounds.bytes:
            raise Unreadable(f"Its mails are larger than {self.bounds.bytes:,} bytes in all; send it in parts.")

    def checked(self, name: str, raw: bytes) -> Found | Refused:
        """A mail that is not empty; that it is not too large its reader has seen to."""
        return Found(name, raw) if raw.strip() else Refused(name, EMPTY)

    def too_large(self, name: str) -> Refused:
        return Refused(name, f"It is larger than the {self.bounds.mail_bytes:,} bytes of the largest bounce mail.")
