"""What bounce needs: the messages of delivery, a place for mails, a place for facts, and a listener."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import Fact
from services.bounce.domain.suppressions import Evidence, Suppression


@dataclass(frozen=True, slots=True)
class Message:
    """A message as delivery's ledger knows it."""

    tenant: int
    mode: Mode
    address_hash: bytes
    recipient: str | None
    channel: str


class Messages(Protocol):
    """The ledger, asked in batches by message id; ids that it does not know are absent."""

    async def lookup(self, ids: Sequence[str]) -> Mapping[str, Message]: ...


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail as it came. `owner` is set where a key of one tenant and mode handed it in."""

    recipient: str
    raw: bytes
    at: datetime
    owner: tuple[int, Mode] | None = None


@dataclass(frozen=True, slots=True)
class Mail:
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


@dataclass(frozen=True, slots=True)
class Closing:
    """What became of a mail that made no fact about a message."""

    mail: UUID
    state: str
    outcome: str
    message: str | None = None


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact to record; `id` is the same for the same evidence. `mail_id`: the mail that brought it.

    Without a message nothing proves that we wrote to the address: it closes no mail and bars nothing.
    """

    id: UUID
    tenant: int
    mode: Mode
    at: datetime
    fact: Fact
    origin: str  # mail | session | receipt
    address_hash: bytes
    message: str | None
    attempt: int | None
    recipient: str | None
    mail_id: UUID | None = None


Change = Callable[[Suppression], tuple[Suppression, ActionRecorded]]


class Mails(Protocol):
    """Mails between their 250 and their outcome."""

    async def keep(self, mail: NewMail) -> Mail: ...

    async def lease(self, limit: int, seconds: float) -> list[Mail]: ...

    async def close(self, closing: Sequence[Closing]) -> None: ...

    async def postpone(self, mail: UUID, seconds: float) -> None: ...

    async def count_backscatter(self, why: str, recipient: str, peer: str, at: datetime) -> None: ...

    async def drop_raw_before(self, moment: datetime) -> int: ...


class Facts(Protocol):
    """Facts and suppressions; each call is one transaction with its events."""

    async def record(self, facts: Sequence[NewFact]) -> None: ...

    async def place(self, evidence: Evidence, action: ActionRecorded) -> Suppression: ...

    async def lift(self, tenant: int, mode: Mode, suppression: UUID, change: Change) -> Suppression: ...

    async def forget(self, recipients: Sequence[tuple[int, Mode, str]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to; None: not at all. `after` is the sort key of the page before."""

    tenant: int
    mode: Mode
    limit: int
    after: tuple[Any, ...] | None = None
    address_hash: bytes | None = None
    recipient: str | None = None
    message: str | None = None
    category: str | None = None
    active: bool | None = None


class Reads(Protocol):
    """Lists for API and console, newest first."""

    async def bounces(self, wanted: Filter) -> list[Mapping[str, Any]]: ...

    async def suppressions(self, wanted: Filter) -> list[Suppression]: ...

    async def suppression(self, tenant: int, mode: Mode, id: UUID) -> Suppression | None: ...

    async def mail(self, tenant: int, mode: Mode, id: UUID) -> Mail | None: ...


class Rulebook(Protocol):
    """The rules in force, ready to classify by. Whoever asks keeps the answer for the whole of one mail or batch."""

    async def current(self) -> Classifier: ...


class Listener(Protocol):
    """Takes mails in over the network until it is stopped."""

    async def serve(
        self,
        accept: Callable[[str, str], Awaitable[str | None]],
        keep: Callable[[str, bytes], Awaitable[None]],
        stop: asyncio.Event,
    ) -> None:
        """`accept(recipient, peer)` gives the refusal, or None; `keep` stores the mail and raises Transient."""
        ...
