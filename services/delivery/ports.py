"""The Protocols that delivery needs: small, named for the need."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from libs.contracts.outcomes import Channel, Lane, Mode
from libs.messaging.outbox import Outgoing
from libs.storage.erasures import Erased
from services.delivery.domain.callbacks import Callback, News, ReceiptNews, ReplyNews
from services.delivery.domain.intake import NewRequest
from services.delivery.domain.mail_vendors import Reading, WebhookKeys
from services.delivery.domain.outbound import Outbound, Sender
from services.delivery.domain.outcomes import Outcome
from services.delivery.domain.planning import Recipient
from services.delivery.domain.releases import Release, Unusable
from services.delivery.domain.standing import MessageRow, Standing
from services.delivery.domain.steering import Hold, KnownRelease, SenderSetup, Suppression
from services.delivery.domain.verifying import Answer, Doubt, Learned
from services.delivery.domain.work import Claimed, GiveBack, Prepared, Request, Result, WorkRow

# ---- Provider

Settle = Callable[[int, Outcome], None]
Tell = Callable[[int, Answer], None]


class Provider(Protocol):
    """Hands rendered messages to one kind of provider. Safe to call concurrently for the same sender."""

    channel: Channel

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """Call the provider for each message, and call `settle(index, outcome)` exactly once per message.

        `settle` is synchronous, cheap, and called from the event loop as each result arrives, in any order; all
        messages are settled when `send` returns. `deadline` is time.monotonic(): no call begins after it, and
        messages not called settle as NOT_CALLED; a call begun before it ends by the sender's own timeout. It raises
        nothing but cancellation; if cancelled in mid-call, the caller marks the unsettled messages unknown."""
        ...

    async def close(self) -> None:
        """Finish and close all connections."""
        ...


class Enquiry(Protocol):
    """Queries one kind of provider for the messages it accepted for an address. Few can be queried: libs' ASKABLE
    channels."""

    def receipts_of(self, ref: str) -> Sequence[tuple[str, str]]:
        """Return the receipts, as (provider, event id), that may have come about the provider's message `ref`."""
        ...

    async def ask(self, sender: Sender, addresses: Sequence[str], deadline: float, tell: Tell) -> None:
        """Query each address, and call `tell(index, answer)` exactly once per address, as `send` settles. The answer
        lists all messages that the provider still knows, by any sender of the account, or is Unclear."""
        ...

    async def close(self) -> None: ...


class Callbacks(Protocol):
    """Reads one provider's callbacks (one account's): verifies them over the raw bytes, then translates."""

    def read(self, callback: Callback, now: datetime) -> list[News]:
        """Return the news, possibly none. Raises Unauthorized, BadRequest, Invalid."""
        ...


class VendorWebhooks(Protocol):
    """Reads one mail vendor's webhooks: verifies them over the raw bytes, then translates, event by event."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """Return the news. Raises Unauthorized, BadRequest, Invalid, and Unavailable if verification is not possible
        now."""
        ...


class Nonces(Protocol):
    """What is valid only once, for signatures that do not cover the body."""

    async def bind(self, provider: str, nonce: str, body: bytes, now: datetime) -> bool:
        """Return whether the nonce is new, or was seen with this very body."""
        ...


class Received(NamedTuple):
    """Counts of receipts: about known messages, and of those, received for the first time."""

    known: int
    new: int


class Receipts(Protocol):
    """Where receipts are applied."""

    async def receive(self, news: Sequence[ReceiptNews], realm: "Realm | None" = None) -> Received:
        """Deduplicate, apply and publish in one transaction. Messages outside `realm` are treated as unknown."""
        ...


class Replies(Protocol):
    """Where customers' replies go."""

    async def publish(self, tenant: int, mode: Mode, replies: Sequence[tuple[ReplyNews, bytes]]) -> int:
        """Publish those not seen before, each with the hash of its address; return their number."""
        ...


# ---- Ledger


class Intake(Protocol):
    """Where requests are stored."""

    async def accept(self, requests: Sequence[NewRequest]) -> Sequence[UUID]:
        """Store the new ones, each with its work; return their ids. One transaction."""
        ...


@dataclass(slots=True)
class Recovered:
    """What one run of recovery found: figures for metrics and alarms."""

    rows: int = 0
    unknown: int = 0
    split: int = 0
    given_up: int = 0


class Ledger(Protocol):
    """The cycle's transactions. Each method is one, and may be called again after a failure."""

    async def lease(self, lane: Lane, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """Lease due rows: at most `sizes[0]` rows and about `sizes[1]` recipients."""
        ...

    async def give_back(self, backs: Sequence[GiveBack]) -> None: ...

    async def claim(self, prepared: Prepared) -> Claimed:
        """Claim. Only the messages that it returns may be called."""
        ...

    async def record(self, results: Sequence[Result], finished: Sequence[WorkRow]) -> None: ...

    async def recover(self, limit: int) -> Recovered: ...


class Doubts(Protocol):
    """The ledger's transactions about attempts in doubt."""

    async def lease_doubts(self, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """Like `Ledger.lease`, for the lane of queries to providers."""
        ...

    async def doubts(self, rows: Sequence[WorkRow]) -> list[Doubt]:
        """Return the open doubts of leased rows."""
        ...

    async def owners(self, events: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[UUID, int]]:
        """Return messages (notification, address) by the receipts that came about them, as (provider, event id)."""
        ...

    async def learn(self, rows: Sequence[WorkRow], learned: Sequence[Learned]) -> list[Learned]:
        """Record what was learned and end the rows; return what changed."""
        ...


# ---- Other services, always in batches


@dataclass(frozen=True, slots=True)
class Question:
    """One query to `tokens`: up to 1,000 recipients of one tenant, for one topic."""

    tenant: int
    mode: Mode
    topic: str | None
    channels: tuple[str, ...]
    keys: Sequence[str]


class Tokens(Protocol):
    """Addresses, names and consent, queried for each chunk and never stored."""

    async def resolve(self, question: Question) -> Mapping[str, Recipient]:
        """Return recipients by key; unknown ones are absent. Raises Transient if `tokens` is unavailable."""
        ...


class Releases(Protocol):
    """Releases by id, compiled, from memory, our own table, or `orders-notification`."""

    async def get(self, wanted: Collection[tuple[UUID, int, Mode]]) -> Mapping[UUID, Release | Unusable]:
        """`wanted` are (id, tenant, mode)."""
        ...


class Senders(Protocol):
    """Senders with their credentials, cached for a few seconds."""

    async def get(
        self, wanted: Collection[tuple[int, Mode, Channel, int]]
    ) -> Mapping[tuple[int, Mode, Channel, int], Sender | None]:
        """`wanted` are (tenant, mode, channel, number); number 0 is the first on the channel. None: there is none."""
        ...


# ---- Our own tables, beside the cycle

Realm = tuple[int, Mode]  # a tenant and its mode


class Projections(Protocol):
    """Other services' events, applied in any order."""

    async def suppress(self, changes: Sequence[Suppression]) -> None: ...

    async def know(self, releases: Sequence[KnownRelease]) -> None: ...

    async def erase(self, erased: Sequence[Erased]) -> int:
        """Wipe recipients, given as (tenant, mode, key); return the number of slots wiped."""
        ...


class Operations(Protocol):
    """Operators' actions; their events are committed with them."""

    async def place(self, hold: Hold, events: Sequence[Outgoing]) -> tuple[Hold, bool]:
        """Return the active hold, and whether it is new."""
        ...

    async def lift(self, hold: Hold, events: Sequence[Outgoing]) -> Hold | None: ...

    async def hold(self, hold: Hold) -> Hold | None:
        """Return the hold of this kind and target as stored, active or lifted."""
        ...

    async def holds(self, scope: Realm, after: tuple[str, str], limit: int) -> list[Hold]: ...

    async def cancel(self, scope: Realm, cause: UUID, now: datetime, events: Sequence[Outgoing]) -> int | None:
        """Return how many requests were open; None if no request of this cause ever arrived."""
        ...

    async def put_sender(self, setup: SenderSetup, events: Sequence[Outgoing]) -> bool:
        """Return False if somebody else stored this version meanwhile."""
        ...

    async def sender(self, scope: Realm, number: int) -> SenderSetup | None: ...

    async def senders(self, scope: Realm, after: int, limit: int) -> list[SenderSetup]: ...

    async def channels(self, scope: Realm, numbers: Sequence[int]) -> Mapping[int, Channel]:
        """Return the channels of the configured ones among these senders."""
        ...


class Partitions(Protocol):
    """The ledger's days."""

    async def make_ahead(self, days: int) -> int:
        """Create the coming days' partitions; return how many were missing."""
        ...

    async def retire(self) -> int:
        """Drop days beyond the retention in which nothing is open, and wipe bodies; return how many
        days were dropped."""
        ...

    async def always_empty(self, turn: int | None = None) -> Mapping[str, int]:
        """Return counts that must always be zero: open requests without work, held work without a hold. With a `turn`,
        check one slice of the older requests, and return the other slices' last counts."""
        ...


class Reads(Protocol):
    """Reads for API and console."""

    async def messages(self, realm: Realm, keys: Sequence[tuple[UUID, int]]) -> list[MessageRow]:
        """Return messages. Tenant 0, the suite itself, sees all tenants' messages."""
        ...

    async def requests(self, ids: set[UUID]) -> Mapping[UUID, Request]: ...

    async def request(self, realm: Realm, id_: UUID) -> Mapping[str, Any] | None: ...

    async def standings(self, realm: Realm, ids: Sequence[UUID]) -> list[Standing]: ...

    async def figures(self, realm: Realm, since: datetime) -> Mapping[str, Any]: ...

    async def backlog(self) -> Mapping[int, tuple[int, int, int, float]]:
        """Return, by lane: chunks, recipients, held chunks, age in seconds of the oldest due row."""
        ...

    async def unknown_by_sender(self) -> Mapping[tuple[int, int, int], int]:
        """Return the counts by tenant, mode, sender."""
        ...
