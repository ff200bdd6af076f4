"""The units on a connection: single calls, and the batches that they come from and report to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from services.delivery.adapters.http2.hpack_decoding import Head

Fields = Sequence[tuple[bytes, bytes]]


class Lost(Enum):
    """What became of a call without a reply."""

    NOT_SENT = "not sent"  # its end never left us, or the peer promised that it did not process it
    TIMED_OUT = "timed out"
    CUT = "cut off"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call without a reply, and why in one line."""

    lost: Lost
    text: str
    our_fault: bool = False  # our configuration is wrong


class Call:
    """One request and its progress. Its end (END_STREAM) decides: before `sent`, the server was asked for nothing."""

    __slots__ = (
        "again",
        "batch",
        "body",
        "due",
        "fields",
        "head",
        "index",
        "parts",
        "sent",
        "size",
        "stream",
        "window",
    )

    fields: Fields
    due: float

    def __init__(self, batch: "Batch", index: int, body: bytes) -> None:
        self.batch = batch
        self.index = index
        self.body = body
        self.again = False  # the server has returned it unprocessed once
        self.stream = 0
        self.sent = False
        self.window = 0  # its stream's, while the body is not fully sent
        self.head: Head | None = None
        self.parts: list[bytes] | None = None
        self.size = 0


class Batch(Protocol):
    """Calls that belong together. For each call it gave, exactly one of `answered` and `failed` is called."""

    @property
    def waiting(self) -> int:
        """Number of calls that have not been taken."""
        ...

    def take(self, now: float) -> Call | None:
        """Return the next call, or None if none is left. `now` is time.monotonic()."""
        ...

    def give_back(self, call: Call) -> None:
        """Return a call that was taken but not processed; `take` gives it again."""
        ...

    def answered(self, call: Call, head: Head, body: bytes) -> None: ...

    def failed(self, call: Call, failure: Failure) -> None: ...

    def fail_waiting(self, failure: Failure) -> None:
        """No connection could be opened: the calls that were not taken are not sent."""
        ...
