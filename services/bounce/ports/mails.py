"""Mails on their way in: how they come, where they are kept, what becomes of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Mode

STATES = ("waiting", "read", "backscatter")


class NewMail(msgspec.Struct, frozen=True):
    """A mail as it came. `owner` is set where a key of one tenant and mode handed it in."""

    recipient: str
    raw: bytes
    at: datetime
    owner: tuple[int, Mode] | None = None


class Mail(msgspec.Struct, frozen=True, gc=False):
    """A mail that we keep. `outcome`: its category, or why it changed nothing; None while it waits."""

    id: UUID
    recipient: str
    received_at: datetime
    state: str  # waiting | read | backscatter
    outcome: str | None
    message: str | None
    attempts: int
    owner: tuple[int, Mode] | None
    raw: bytes | None
    again: bool = False  # it was read before


@dataclass(frozen=True, slots=True)
class MailFilter:
    """What a list of mails is narrowed to; None: not at all. `after`: time and id that the page before ended with."""

    owner: tuple[int, Mode]
    limit: int
    state: int | None = None  # its place in STATES
    outcome: str | None = None
    message: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[Any, ...] | None = None


class Kept(msgspec.Struct, frozen=True):
    """A mail after it was handed over; `is_new` is false where the same one was there already."""

    mail: Mail
    is_new: bool


class Keeper(Protocol):
    """Lets mails that come in at the same time share a commit."""

    async def submit(self, mails: Sequence[NewMail]) -> Sequence[Kept]:
        """One mail for each of its recipients, after the commit. Raises Unavailable when too many wait."""
        ...


class Stray(msgspec.Struct, frozen=True):
    """Mail that is none of ours, to be counted."""

    why: str
    recipient: str
    peer: str = ""


class Closing(msgspec.Struct, frozen=True, gc=False):
    """What became of a mail that made no fact about a message. `owner`: of the message, where there is one."""

    mail: UUID
    state: str
    outcome: str
    message: str | None = None
    owner: tuple[int, Mode] | None = None


@dataclass(frozen=True, slots=True)
class Rereading:
    """Which mails are read again: of a tenant and mode, of a time, of one outcome; `after` is where to go on."""

    owner: tuple[int, Mode]
    since: datetime
    until: datetime
    outcome: str | None = None
    id: UUID | None = None
    after: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Mails that one reader has for a time, most often none."""

    id: UUID
    mails: Sequence[Mail]


class Mails(Protocol):
    """Mails between their 250 and their outcome."""

    async def keep(self, mails: Sequence[NewMail]) -> list[Kept]: ...

    async def lease(self, limit: int, seconds: float) -> Lease: ...

    async def release(self, lease: Lease) -> None:
        """Its mails were closed or put off: what still waits may be leased by others."""
        ...

    async def close(self, closing: Sequence[Closing]) -> None: ...

    async def postpone(self, waits: Mapping[UUID, float]) -> None: ...

    async def count_backscatter(self, strays: Sequence[Stray], at: datetime) -> None: ...

    async def count_readable(self, wanted: Rereading) -> int: ...

    async def read_again(self, wanted: Rereading, limit: int) -> list[tuple[datetime, UUID]]:
        """Makes them wait for the reader, oldest first: those whose bytes are still there."""
        ...

    async def drop_raw_before(self, moment: datetime) -> int:
        """Drop the bytes of mails that arrived before; how many."""
        ...

    async def drop_before(self, moment: datetime) -> int:
        """Drop the mails themselves that came in before; how many."""
        ...


class Listener(Protocol):
    """Takes mails in over the network until it is stopped."""

    async def serve(
        self,
        accept: Callable[[str, str], Awaitable[str | None]],
        keep: Callable[[Sequence[str], bytes], Awaitable[None]],
        stop: asyncio.Event,
    ) -> None:
        """`accept(recipient, peer)` gives the refusal, or None; `keep` stores the mail and raises Transient."""
        ...
