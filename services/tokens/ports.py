"""What the handlers and queries of tokens need: rows in batches, inside one transaction or read alone.

Everything takes lists and returns maps: one recipient is a batch of one.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from libs.addresses import Address
from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.errors import Transient
from libs.ids import AddressHasher
from libs.messaging.outbox import Outgoing
from libs.storage.erasures import Erased
from services.tokens.domain.consents import Statement
from services.tokens.domain.imports import Account, Refusal
from services.tokens.domain.recipients import Device, Profile, Realm
from services.tokens.settings import TokensSettings


class Contended(Transient):
    """Somebody else changed the same rows at the same moment; retry the transaction."""


@dataclass(frozen=True, slots=True)
class StoredRecipient:
    """A stored recipient, locked until the transaction ends."""

    id: int
    key: str
    version: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class StoredAddress:
    """A stored address; `live` unless it was retired."""

    id: int
    recipient_id: int
    channel: Channel
    kind: str
    value: str
    hash: bytes
    live: bool
    installation: str | None = None


@dataclass(frozen=True, slots=True)
class OwnedAddress:
    """An address with its owner's key, and why it was retired, if that is known."""

    address: StoredAddress
    owner: str
    retired_why: str | None = None


@dataclass(frozen=True, slots=True)
class NewAddress:
    """An e-mail, phone or webhook address to store for a recipient."""

    recipient_id: int
    channel: Channel
    address: Address
    hash: bytes


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to store for a recipient, wherever it was before."""

    recipient_id: int
    device: Device
    hash: bytes


@dataclass(frozen=True, slots=True)
class Touched:
    """A recipient whose version was incremented."""

    id: int
    key: str
    version: int


class RecipientRows(Protocol):
    """The recipients of a transaction."""

    async def lock(self, realm: Realm, keys: Sequence[str]) -> dict[str, StoredRecipient]: ...

    async def insert(self, realm: Realm, rows: Mapping[str, Profile], now: datetime) -> dict[str, int]: ...

    async def update(self, rows: Mapping[int, Profile], now: datetime) -> list[Touched]: ...

    async def touch(self, ids: Sequence[int], now: datetime) -> list[Touched]: ...

    async def erase(self, ids: Sequence[int]) -> None: ...


class AddressRows(Protocol):
    """The addresses of a transaction. To change one, hold the lock of its recipient."""

    async def of(self, recipient_ids: Sequence[int]) -> list[StoredAddress]: ...

    async def put(self, realm: Realm, rows: Sequence[NewAddress], now: datetime) -> list[StoredAddress]: ...

    async def retire(self, ids: Sequence[int], why: str, now: datetime) -> None: ...

    async def device_owners(self, realm: Realm, installations: Sequence[str], hashes: Sequence[bytes]) -> set[str]: ...

    async def lock_devices(
        self, realm: Realm, installations: Sequence[str], hashes: Sequence[bytes]
    ) -> list[StoredAddress]: ...

    async def device(self, realm: Realm, installation: str) -> OwnedAddress | None: ...

    async def dead_devices(self, realm: Realm, named: Mapping[int, tuple[bytes, datetime]]) -> list[OwnedAddress]: ...

    async def move(self, id_: int, recipient_id: int, now: datetime) -> None: ...

    async def put_devices(self, realm: Realm, rows: Sequence[NewDevice], now: datetime) -> dict[str, int]: ...


@dataclass(frozen=True, slots=True)
class Word:
    """A statement of one recipient, as stored."""

    recipient_id: int
    statement: Statement


class ConsentRows(Protocol):
    """Consent and its history, and the owners of an address."""

    async def standing(self, recipient_ids: Sequence[int]) -> dict[tuple[int, str, Channel], Statement]: ...

    async def put(self, realm: Realm, words: Sequence[Word]) -> None: ...

    async def remember(self, realm: Realm, words: Sequence[Word], actor: str, now: datetime) -> None: ...

    async def owners(self, realm: Realm, hashes: Sequence[bytes]) -> list[tuple[bytes, Channel, str]]: ...


class Unit(Protocol):
    """One transaction: rows and the events about them commit together."""

    recipients: RecipientRows
    addresses: AddressRows
    consents: ConsentRows

    async def remember_erased(self, erased: Sequence[Erased]) -> None:
        """Record who was erased, and take their names out of dead letters. Must be the transaction's first call."""
        ...

    async def erased_since(self, realm: Realm, keys: Collection[str], since: datetime) -> Set[str]:
        """Return who of these was erased since then. Must be the transaction's first call."""
        ...

    async def publish(self, events: Sequence[Outgoing]) -> None: ...

    async def advance_import(self, id_: UUID, account: Account) -> bool:
        """Return False if the import no longer runs."""
        ...

    async def end_import(self, realm: Realm, id_: UUID, state: str, account: Account) -> bool:
        """Return False if the import no longer runs."""
        ...

    async def cancel_import(self, realm: Realm, id_: UUID) -> bool:
        """Return False if the import no longer runs."""
        ...

    async def refuse_rows(self, id_: UUID, refusals: Sequence[Refusal]) -> None: ...


class Store(Protocol):
    """Opens transactions. Raises Contended if the database asks for a retry."""

    def transaction(self) -> AbstractAsyncContextManager[Unit]: ...


class Reader(Protocol):
    """Reads for the API and for other services, each one statement or a few."""

    async def resolve(
        self, realm: Realm, keys: Sequence[str], topic: str | None, channels: Sequence[int]
    ) -> "Found": ...

    async def find(self, realm: Realm, hashes: Sequence[bytes]) -> list[tuple[bytes, str]]: ...

    async def recipient(self, realm: Realm, key: str) -> Any: ...

    async def recipients(self, realm: Realm, page: "ListPage") -> list[Any]: ...

    async def details(self, realm: Realm, ids: Sequence[int]) -> tuple[list[Any], list[Any]]: ...

    async def statements(self, recipient_id: int, before: int | None, limit: int) -> list[Any]: ...

    async def device(self, realm: Realm, installation: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of one `recipients:resolve`: recipients, live addresses, consents (of the topic, and of all)."""

    recipients: Sequence[Any]
    addresses: Sequence[Any]
    consents: Sequence[Any]


@dataclass(frozen=True, slots=True)
class ListPage:
    """Which recipients a list shows: keys that start with `prefix`, and owners of an address."""

    limit: int
    after: str = ""
    prefix: str = ""
    hash: bytes | None = None


class Imports(Protocol):
    """Imports and their reports."""

    async def start(self, realm: Realm, id_: UUID, source: tuple[str, str], now: datetime) -> bool: ...

    async def get(self, realm: Realm, id_: UUID) -> Any: ...

    async def page(self, realm: Realm, limit: int, after: tuple[datetime, UUID] | None) -> list[Any]: ...

    async def refusals(self, id_: UUID, limit: int, after: tuple[int, int]) -> list[Any]: ...


class Topics(Protocol):
    """The topics of a tenant and mode."""

    async def missing(self, realm: Realm, names: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Return the names that are no topics, each with the topics that resemble it. Raises Transient."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """The dependencies of handlers and queries: ports, clock, settings, keys for address hashes and signed links."""

    store: Store
    reader: Reader
    imports: Imports
    topics: Topics
    clock: Clock
    settings: TokensSettings
    hasher: AddressHasher
    link_key: bytes
