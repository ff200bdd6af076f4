"""What bounce needs: delivery's messages, a store for facts and their consequences."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.storage.erasures import Erased
from services.bounce.domain.domains import Answer, Domain
from services.bounce.domain.facts import Fact, Vendor
from services.bounce.domain.suppressions import Evidence, Suppression
from services.bounce.domain.undoing import Selection, Undo, Undone
from services.bounce.ports.mails import Mail, MailFilter


@dataclass(frozen=True, slots=True)
class Sending:
    """What figures are grouped by: the tenant's sender, its domain, the communication."""

    sender: int = 0
    from_domain: str = ""
    communication: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as stored in delivery's ledger."""

    tenant: int
    mode: Mode
    address_hash: bytes
    recipient: str | None
    channel: str
    sending: Sending
    erased: bool = False  # the recipient was erased: what is said about them is not stored


class Messages(Protocol):
    """The ledger, queried in batches by message id; unknown ids are absent."""

    async def lookup(self, ids: Sequence[str]) -> Mapping[str, Message]: ...


class NewFact(msgspec.Struct, frozen=True, gc=False):
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
    sending: Sending = Sending()
    domain: str | None = None  # the address's own, if it is reported not to exist
    vendor: Vendor | None = None
    erased: bool = False  # its recipient was erased: stored without words, and without the mail's bytes


class Reading(msgspec.Struct, frozen=True):
    """A mail's new reading about `message`: facts by id, and addresses that it calls dead."""

    mail: UUID
    message: str
    facts: frozenset[UUID]
    dead: frozenset[bytes]


Change = Callable[[Suppression], tuple[Suppression, ActionRecorded]]


class Facts(Protocol):
    """Facts and their consequences; each call is one transaction with its events."""

    async def record(self, facts: Sequence[NewFact], now: datetime) -> None: ...

    async def supersede(self, readings: Sequence[Reading], now: datetime) -> None:
        """Void the facts that their mails no longer state, and lift what they barred."""
        ...

    async def forget(self, erased: Sequence[Erased]) -> None:
        """Wipe what is stored about these recipients; what arrives late about their messages is stored nameless."""
        ...

    async def drop_before(self, moment: datetime) -> int:
        """Delete older facts, except the evidence of suppressions in force; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Preview:
    """What an undo would change: groups by category, provider, rule and policy; examples with the server's words."""

    counts: Undone
    groups: Sequence[Mapping[str, Any]]
    examples: Sequence[tuple[Suppression, str | None]]


class Reached(NamedTuple):
    """An accepted mail to an address, or a sign that it was read."""

    tenant: int
    mode: Mode
    address_hash: bytes
    at: datetime


class Contacts(Protocol):
    """Successful contacts with addresses; each call may be repeated."""

    async def accepted(self, mails: Sequence[Reached]) -> None: ...

    async def read(self, readings: Sequence[Reached]) -> None: ...

    async def forget_before(self, day: date, minute: datetime) -> int: ...


@dataclass(frozen=True, slots=True)
class Parking:
    """What one breaker has parked for one tenant and mode."""

    tenant: int
    mode: Mode
    breaker: UUID


class Breakers(Protocol):
    """Providers that are not believed, after their breakers have opened."""

    async def watch(self, now: datetime) -> list[str]: ...

    async def follow_up(self, now: datetime) -> int: ...

    async def release(self, wanted: Parking, undo: Undo) -> int: ...

    async def drop(self, wanted: Parking, undo: Undo) -> int: ...


class Domains(Protocol):
    """Domains reported to have no mail."""

    async def lease(self, limit: int, now: datetime, seconds: float) -> list[Domain]: ...

    async def conclude(self, domain: Domain, answer: Answer, now: datetime) -> int: ...


class Dns(Protocol):
    """Checks whether a domain accepts mail. Bounded; a missing answer is an answer too."""

    async def ask(self, domain: str) -> Answer: ...


class Suppressions(Protocol):
    """People's changes to suppressions; each call is one transaction with its events."""

    async def place(self, evidence: Evidence, action: ActionRecorded) -> Suppression: ...

    async def lift(self, tenant: int, mode: Mode, suppression: UUID, change: Change) -> Suppression: ...

    async def undo(self, wanted: Selection, undo: Undo) -> Undone: ...

    async def preview(self, wanted: Selection, examples: int) -> Preview: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """A list's filters; None: no filter. `after` is the sort key of the previous page."""

    tenant: int
    mode: Mode
    limit: int
    after: tuple[Any, ...] | None = None
    address_hash: bytes | None = None
    recipient: str | None = None
    message: str | None = None
    category: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class FigureQuery:
    """`grain`: hour, day or none (UTC); `by` and `only`: category, provider, from_domain, communication."""

    tenant: int
    mode: Mode
    grain: str
    since: datetime
    until: datetime
    by: frozenset[str]
    only: Mapping[str, str]
    limit: int


@dataclass(frozen=True, slots=True)
class BreakerQuery:
    """`since`: those that were open after this moment."""

    tenant: int
    mode: Mode
    limit: int = 1
    provider: str | None = None
    id: UUID | None = None
    after: tuple[Any, ...] | None = None
    since: datetime | None = None


class Figures(Protocol):
    """The figures; no query here scans the facts."""

    async def figures(self, wanted: FigureQuery) -> list[Mapping[str, Any]]: ...

    async def health(
        self, realm: tuple[int, Mode], span: tuple[datetime, datetime], sender: int | None, provider: str | None
    ) -> list[Mapping[str, Any]]: ...

    async def breakers(self, wanted: BreakerQuery) -> list[Mapping[str, Any]]: ...


class Reads(Protocol):
    """Lists for the API and the console, newest first."""

    async def bounces(self, wanted: Filter) -> list[Mapping[str, Any]]: ...

    async def bounce(self, tenant: int, mode: Mode, id: UUID) -> Mapping[str, Any] | None: ...

    async def suppressions(self, wanted: Filter) -> list[Suppression]: ...

    async def suppression(self, tenant: int, mode: Mode, id: UUID) -> Suppression | None: ...

    async def mail(self, tenant: int, mode: Mode, id: UUID) -> Mail | None: ...

    async def mails(self, wanted: MailFilter) -> list[Mail]: ...

    async def feed(
        self, realm: tuple[int, Mode], after: tuple[str, int] | None, limit: int
    ) -> list[Mapping[str, Any]]: ...

    def export(self, what: str, realm: tuple[int, Mode], span: tuple[datetime, datetime]) -> AsyncIterator[Any]: ...
