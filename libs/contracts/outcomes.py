"""Statuses, channels, lanes and the transitions a message may make: numbers in the database, words on the wire."""

from enum import IntEnum
from typing import Self


class Word(IntEnum):
    """A small number in the database whose lower-case name is the word on the wire; never renumbered."""

    word: str
    __hash__ = int.__hash__  # consistent with equality; Enum's own hash is a Python function that hashes the name

    def __init__(self, _: int) -> None:
        self.word = self._name_.lower()  # computed once: every message's transition uses it

    @classmethod
    def parse(cls, word: str) -> Self:
        """Return the member called `word`. Raises ValueError listing the valid words."""
        try:
            return cls[word.upper()]
        except KeyError:
            known = ", ".join(member.word for member in cls)
            raise ValueError(f"{word!r} is not one of {known}") from None


class Mode(Word):
    LIVE = 1
    TEST = 2


class Channel(Word):
    PUSH = 1
    EMAIL = 2
    SMS = 3
    WEBHOOK = 4


# Channels whose provider can be queried about a message afterwards, so that `on_unknown: verify` works.
ASKABLE = frozenset({Channel.SMS})


class Lane(Word):
    """Transactional work is leased first and in small chunks; bulk leaves it headroom."""

    TRANSACTIONAL = 0
    BULK = 1


class OnUnknown(Word):
    """What to do when nobody knows whether the provider accepted a message; the communication decides."""

    LEAVE = 0
    RESEND = 1
    VERIFY = 2  # query the provider, if the channel is ASKABLE; otherwise like LEAVE


class Status(Word):
    PENDING = 0
    SENDING = 1
    SENT = 2
    FAILED = 3
    SKIPPED = 4
    SUPPRESSED = 5
    UNKNOWN = 6


class ReceiptKind(Word):
    DELIVERED = 1
    BOUNCED = 2
    COMPLAINED = 3
    OPENED = 4
    CLICKED = 5
    CONVERTED = 6
    ACCEPTED = 7  # the provider says that it accepted the message: settles `sending` and `unknown`
    FAILED = 8  # the provider says that it gave up on the message
    UNSUBSCRIBED = 9
    DEFERRED = 10  # the provider keeps trying
    DROPPED = 11  # the provider did not try: the address is on its own suppression list


# Nobody opens, complains about or unsubscribes by a message that was never handed over: these prove that it arrived.
REACHED = frozenset(
    {
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.CLICKED,
        ReceiptKind.CONVERTED,
        ReceiptKind.COMPLAINED,
        ReceiptKind.UNSUBSCRIBED,
    }
)


class Scope(Word):
    """What a suppression covers: everything for a dead mailbox, only marketing for a complaint."""

    ALL = 0
    MARKETING = 1


# was → allowed next statuses. PENDING and SENDING count as pending.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.SENDING, Status.FAILED, Status.SKIPPED, Status.SUPPRESSED}),
    # back to pending: a 429 or a refused connection; the next attempt retries it
    Status.SENDING: frozenset({Status.PENDING, Status.SENT, Status.FAILED, Status.SKIPPED, Status.UNKNOWN}),
    # A receipt, a late response or a query to the provider may settle it either way, or show that it was not sent after
    # all (pending). A resend claims it again; retention ends it; unknown again: the queries ended without an answer.
    Status.UNKNOWN: frozenset(
        {Status.PENDING, Status.SENDING, Status.SENT, Status.FAILED, Status.SKIPPED, Status.UNKNOWN}
    ),
    # a receipt for the current attempt may say that the provider gave up after accepting
    Status.SENT: frozenset({Status.FAILED}),
    # we recorded failed (a timeout classified as definite), then the receipt arrived
    Status.FAILED: frozenset({Status.SENT}),
    Status.SKIPPED: frozenset(),
    Status.SUPPRESSED: frozenset(),
}


def counted(status: Status) -> Status:
    """Return the counter of the account that a status belongs to: `sending` counts as `pending`."""
    return Status.PENDING if status is Status.SENDING else status
