"""Incoming mails: how they arrive, where they are stored, what becomes of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode

STATES = ("waiting", "read", "backscatter")


class NewMail(msgspec.Struct, frozen=True):
    """A mail as received. `owner` is set if a key of one tenant and mode submitted it."""

    recipient: str
    raw: bytes
    at: datetime
    owner: tuple[int, Mode] | None = None


class Mail(msgspec.Struct, frozen=True, gc=False):
    """A stored mail. `outcome`: its category, or why it changed nothing; None while it waits."""

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
    """A mail list's filters; None: no filter. `after`: time and id at which the previous page ended."""

    owner: tuple[int, Mode]
    limit: int
    state: int | None = None  # index in STATES
    outcome: str | None = None
    message: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[Any, ...] | None = None


class Kept(msgspec.Struct, frozen=True):
    """A mail after it was submitted; `is_new` is false if the same one existed already."""

    mail: Mail
    is_new: bool


class Keeper(Protocol):
    """Lets mails that arrive together share a commit."""

    async def submit(self, mails: Sequence[NewMail]) -> Sequence[Kept]:
        """Store one mail for each of its recipients; return after the commit. Raises Unavailable when too many wait."""
        ...


class Stray(msgspec.Struct, frozen=True):
    """Mail that is not about us, to be counted."""

    why: str
    recipient: str
    peer: str = ""


class Closing(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a mail that made no fact about a message. `owner`: of the message, if there is one."""

    mail: UUID
    state: str
    outcome: str
    message: str | None = None
    owner: tuple[int, Mode] | None = None
    about: str | None = None  # the message's recipient: their erasure takes the mail's bytes along
    erased: bool = False  # that has happened


@dataclass(frozen=True, slots=True)
class Rereading:
    """Which mails to read again: a tenant and mode, a time span, one outcome; `after` is where to continue."""

    owner: tuple[int, Mode]
    since: datetime
    until: datetime
    outcome: str | None = None
    id: UUID | None = None
    after: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Mails that one reader has leased; usually none."""

    id: UUID
    mails: Sequence[Mail]


class Mails(Protocol):
    """Mails between their 250 and their outcome."""

    async def keep(self, mails: Sequence[NewMail]) -> list[Kept]: ...

    async def lease(self, limit: int, seconds: float) -> Lease: ...

    async def release(self, lease: Lease) -> None:
        """Release it: its mails are closed or postponed; those that still wait may be leased by others."""
        ...

    async def close(self, closing: Sequence[Closing]) -> None: ...

    async def postpone(self, waits: Mapping[UUID, float]) -> None: ...

    async def count_backscatter(self, strays: Sequence[Stray], at: datetime) -> None: ...

    async def count_readable(self, wanted: Rereading) -> int: ...

    async def read_again(
        self, wanted: Rereading, limit: int, action: ActionRecorded | None
    ) -> list[tuple[datetime, UUID]]:
        """Queue mails that still have their bytes for the reader, oldest first; publish the action if there are any."""
        ...

    async def drop_raw_before(self, moment: datetime) -> int:
        """Delete the bytes of mails that arrived before; return how many."""
        ...

    async def drop_before(self, moment: datetime) -> int:
        """Delete the mails that arrived before; return how many."""
        ...


class Listener(Protocol):
    """Accepts mails from the network until it is stopped."""

    async def serve(
        self,
        accept: Callable[[str, str], Awaitable[str | None]],
        keep: Callable[[Sequence[str], bytes], Awaitable[None]],
        stop: asyncio.Event,
    ) -> None:
        """`accept(recipient, peer)` returns the refusal, or None; `keep` stores the mail and raises Transient."""
        ...
