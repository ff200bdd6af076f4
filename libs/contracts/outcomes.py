"""Statuses, channels, lanes and the transitions a message may make: numbers in the database, words on the wire."""

from enum import IntEnum
from typing import Self


class Word(IntEnum):
    """A small number in the database whose lower-case name is the word on the wire; never renumbered."""

    word: str
    __hash__ = int.__hash__  # as it compares; Enum's own is a function in Python that hashes the name

    def __init__(self, _: int) -> None:
        self.word = self._name_.lower()  # made once: transitions say it for every message

    @classmethod
    def parse(cls, word: str) -> Self:
        """The member called `word`; raises ValueError naming the words there are."""
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


# Channels whose provider can be asked afterwards what became of a message: where `on_unknown: verify` can verify.
ASKABLE = frozenset({Channel.SMS})


class Lane(Word):
    """Transactional work is leased first and in small chunks; bulk leaves it headroom."""

    TRANSACTIONAL = 0
    BULK = 1


class OnUnknown(Word):
    """What follows when nobody knows whether the provider accepted: decided by the communication."""

    LEAVE = 0
    RESEND = 1
    VERIFY = 2  # ask the provider, where the channel is ASKABLE; elsewhere as LEAVE


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
    ACCEPTED = 7  # the provider says that it took the message: settles sending and unknown
    FAILED = 8  # the provider says that it gave the message up
    UNSUBSCRIBED = 9
    DEFERRED = 10  # the provider goes on trying
    DROPPED = 11  # the provider did not even try: its own list of addresses says no


class Scope(Word):
    """What a suppression bars: a dead mailbox everything, a complaint marketing only."""

    ALL = 0
    MARKETING = 1


FINAL = frozenset({Status.SENT, Status.FAILED, Status.SKIPPED, Status.SUPPRESSED})

# was → what may follow. Counted as pending: PENDING and SENDING.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.SENDING, Status.FAILED, Status.SKIPPED, Status.SUPPRESSED}),
    # back to pending: a 429 or a connection refused, to be tried again with the next attempt
    Status.SENDING: frozenset({Status.PENDING, Status.SENT, Status.FAILED, Status.SKIPPED, Status.UNKNOWN}),
    # a receipt, a late answer or the provider, asked, may settle it either way, or say that it was not sent after all
    # (pending); a resend claims it again; retention ends it; unknown again: asking ended without an answer
    Status.UNKNOWN: frozenset(
        {Status.PENDING, Status.SENDING, Status.SENT, Status.FAILED, Status.SKIPPED, Status.UNKNOWN}
    ),
    # a receipt of the current attempt may say that the provider gave up after accepting
    Status.SENT: frozenset({Status.FAILED}),
    # our own record said failed (a time-out sorted as definite), then the receipt came
    Status.FAILED: frozenset({Status.SENT}),
    Status.SKIPPED: frozenset(),
    Status.SUPPRESSED: frozenset(),
}


def counted(status: Status) -> Status:
    """The counter of the account that a status belongs to: `sending` counts as `pending`."""
    return Status.PENDING if status is Status.SENDING else status
