"""The Protocols that delivery needs: small, named for the need."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from libs.contracts.outcomes import Channel, Lane, Mode
from libs.messaging.outbox import Outgoing
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
        """Call the provider for each message, and `settle(index, outcome)` exactly once per message.

        `settle` is synchronous, cheap, and called from the event loop as each result comes, in any order;
        all have been settled when `send` returns. `deadline` is time.monotonic(): no call begins after it,
        what was not called settles as NOT_CALLED; a call begun before it ends by the sender's own time-out.
        It raises nothing but cancellation; cancelled in mid-call, the unsettled messages are the caller's
        to call unknown.
        """
        ...

    async def close(self) -> None:
        """Finish and close all connections."""
        ...


class Enquiry(Protocol):
    """Asks one kind of provider which messages it took for an address. Few can be asked: libs' ASKABLE channels."""

    def receipts_of(self, ref: str) -> Sequence[tuple[str, str]]:
        """The receipts, as (provider, event id), that may have come about the message that the provider calls so."""
        ...

    async def ask(self, sender: Sender, addresses: Sequence[str], deadline: float, tell: Tell) -> None:
        """Ask about each address, and `tell(index, answer)` exactly once per address, as `send` settles. The answer
        lists all that the provider still knows of, by any sender of the account, or is Unclear."""
        ...

    async def close(self) -> None: ...


class Callbacks(Protocol):
    """Reads one provider's callbacks (one account's): verifies them over the raw bytes, then translates."""

    def read(self, callback: Callback, now: datetime) -> list[News]:
        """What it says, possibly nothing. Raises Unauthorized, BadRequest, Invalid."""
        ...


class VendorWebhooks(Protocol):
    """Reads one mail vendor's webhooks: verifies them over the raw bytes, then translates, event by event."""

    async def read(self, callback: Callback, keys: WebhookKeys, now: datetime) -> Reading:
        """What it says. Raises Unauthorized, BadRequest, Invalid, and Unavailable where what verifies it is away."""
        ...


class Nonces(Protocol):
    """What is valid once, for signatures that do not cover the body."""

    async def bind(self, provider: str, nonce: str, body: bytes, now: datetime) -> bool:
        """Whether the nonce was never seen, or with this very body."""
        ...


class Received(NamedTuple):
    """Of receipts: how many are about messages that we know, and how many of those came for the first time."""

    known: int
    new: int


class Receipts(Protocol):
    """Where receipts are applied."""

    async def receive(self, news: Sequence[ReceiptNews], realm: "Realm | None" = None) -> Received:
        """Deduplicates, applies and publishes in one transaction. Messages of others than `realm` are unknown to it."""
        ...


class Replies(Protocol):
    """Where customers' replies go."""

    async def publish(self, tenant: int, mode: Mode, replies: Sequence[tuple[ReplyNews, bytes]]) -> int:
        """Publishes those not seen before, each with the hash of its address; how many there were."""
        ...


# ---- Ledger


class Intake(Protocol):
    """Where requests are stored."""

    async def accept(self, requests: Sequence[NewRequest]) -> Sequence[UUID]:
        """Stores those that are new, each with its work; their ids. One transaction."""
        ...


@dataclass(slots=True)
class Recovered:
    """What one turn of recovery found: figures for metrics and alarms."""

    rows: int = 0
    unknown: int = 0
    split: int = 0
    given_up: int = 0


class Ledger(Protocol):
    """The cycle's transactions. Each method is one, and may be called again after a failure."""

    async def lease(self, lane: Lane, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """Due rows: at most `sizes[0]` rows and about `sizes[1]` recipients."""
        ...

    async def give_back(self, backs: Sequence[GiveBack]) -> None: ...

    async def claim(self, prepared: Prepared) -> Claimed:
        """What comes back may be called, and nothing else."""
        ...

    async def record(self, results: Sequence[Result], finished: Sequence[WorkRow]) -> None: ...

    async def recover(self, limit: int) -> Recovered: ...


class Doubts(Protocol):
    """The ledger's transactions about attempts in doubt."""

    async def lease_doubts(self, sizes: tuple[int, int], seconds: float) -> list[WorkRow]:
        """As `Ledger.lease`, of the lane in which providers are asked."""
        ...

    async def doubts(self, rows: Sequence[WorkRow]) -> list[Doubt]:
        """What is still in doubt of leased rows."""
        ...

    async def owners(self, events: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], tuple[UUID, int]]:
        """Messages (notification, address) by the receipts that came about them, as (provider, event id)."""
        ...

    async def learn(self, rows: Sequence[WorkRow], learned: Sequence[Learned]) -> list[Learned]:
        """Records what was learned and ends the rows; gives what it changed."""
        ...


# ---- Other services, always in batches


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of `tokens` at once: up to 1,000 recipients of one tenant, for one topic."""

    tenant: int
    mode: Mode
    topic: str | None
    channels: tuple[str, ...]
    keys: Sequence[str]


class Tokens(Protocol):
    """Addresses, names and consent, asked for each chunk and never kept."""

    async def resolve(self, question: Question) -> Mapping[str, Recipient]:
        """Recipients by key; unknown ones are absent. Raises Transient where `tokens` is away."""
        ...


class Releases(Protocol):
    """Releases by id, compiled, from memory, our own table, or `orders-notification`."""

    async def get(self, wanted: Collection[tuple[UUID, int, Mode]]) -> Mapping[UUID, Release | Unusable]:
        """`wanted` are (id, tenant, mode)."""
        ...


class Senders(Protocol):
    """Senders with their credentials, remembered for a few seconds."""

    async def get(
        self, wanted: Collection[tuple[int, Mode, Channel, int]]
    ) -> Mapping[tuple[int, Mode, Channel, int], Sender | None]:
        """`wanted` are (tenant, mode, channel, number); number 0 is the first on the channel. None: there is none."""
        ...


# ---- Our own tables, beside the cycle

Realm = tuple[int, Mode]  # a tenant and its mode


class Projections(Protocol):
    """What other services say, applied in whichever order it comes."""

    async def suppress(self, changes: Sequence[Suppression]) -> None: ...

    async def know(self, releases: Sequence[KnownRelease]) -> None: ...

    async def erase(self, whom: Sequence[tuple[int, int, str]]) -> int:
        """Recipients as (tenant, mode, key); how many slots were wiped."""
        ...


class Operations(Protocol):
    """What operators do; events are committed with it."""

    async def place(self, hold: Hold, events: Sequence[Outgoing]) -> tuple[Hold, bool]:
        """The standing hold, and whether it is new."""
        ...

    async def lift(self, hold: Hold, events: Sequence[Outgoing]) -> Hold | None: ...

    async def hold(self, hold: Hold) -> Hold | None:
        """The hold of this kind and target as it is kept, standing or lifted."""
        ...

    async def holds(self, scope: Realm, after: tuple[str, str], limit: int) -> list[Hold]: ...

    async def cancel(self, scope: Realm, cause: UUID, now: datetime, events: Sequence[Outgoing]) -> int: ...

    async def put_sender(self, setup: SenderSetup, events: Sequence[Outgoing]) -> bool:
        """False where somebody else stored this version meanwhile."""
        ...

    async def sender(self, scope: Realm, number: int) -> SenderSetup | None: ...

    async def senders(self, scope: Realm, after: int, limit: int) -> list[SenderSetup]: ...

    async def channels(self, scope: Realm, numbers: Sequence[int]) -> Mapping[int, Channel]:
        """The channels of those senders that are set up."""
        ...


class Partitions(Protocol):
    """The ledger's days."""

    async def make_ahead(self, days: int) -> int:
        """Makes the coming days'; how many were missing."""
        ...

    async def retire(self) -> int:
        """Drops days beyond the retention in which nothing is open; wipes bodies; how many days went."""
        ...

    async def always_empty(self, turn: int | None = None) -> Mapping[str, int]:
        """Counts of what must never be: open requests without work, held work without a hold. With a `turn` a slice
        of the older requests is looked at, and the others are as they were at theirs."""
        ...


class Reads(Protocol):
    """Reads for API and console."""

    async def messages(self, realm: Realm, keys: Sequence[tuple[UUID, int]]) -> list[MessageRow]:
        """Tenant 0, the suite itself, sees those of all tenants."""
        ...

    async def requests(self, ids: set[UUID]) -> Mapping[UUID, Request]: ...

    async def request(self, realm: Realm, id_: UUID) -> Mapping[str, Any] | None: ...

    async def standings(self, realm: Realm, ids: Sequence[UUID]) -> list[Standing]: ...

    async def figures(self, realm: Realm, since: datetime) -> Mapping[str, Any]: ...

    async def backlog(self) -> Mapping[int, tuple[int, int, int, float]]:
        """By lane: chunks, recipients, held chunks, age in seconds of the oldest that is due."""
        ...

    async def unknown_by_sender(self) -> Mapping[tuple[int, int, int], int]:
        """By tenant, mode, sender."""
        ...
