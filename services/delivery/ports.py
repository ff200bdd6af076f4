"""The Protocols that delivery needs: small, named for the need."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from libs.contracts.outcomes import Channel, Lane, Mode
from services.delivery.domain.callbacks import Callback, News, ReceiptNews, ReplyNews
from services.delivery.domain.intake import NewRequest
from services.delivery.domain.outbound import Outbound, Sender
from services.delivery.domain.outcomes import Outcome
from services.delivery.domain.planning import Recipient
from services.delivery.domain.releases import Release, Unusable
from services.delivery.domain.work import Claimed, GiveBack, Prepared, Result, WorkRow

# ---- Provider

Settle = Callable[[int, Outcome], None]


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


class Callbacks(Protocol):
    """Reads one provider's callbacks (one account's): verifies them over the raw bytes, then translates."""

    def read(self, callback: Callback, now: datetime) -> list[News]:
        """What it says, possibly nothing. Raises Unauthorized, BadRequest, Invalid."""
        ...


class Receipts(Protocol):
    """Where receipts are applied."""

    async def receive(self, news: Sequence[ReceiptNews]) -> int:
        """Deduplicates, applies and publishes in one transaction; how many were new."""
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
