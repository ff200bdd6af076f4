"""The bus as services see it: handlers that take batches, and the table of who wants what.

A handler gets envelopes of one type and either returns (all done) or raises: then the bus delivers them one
by one, so that one poison message cannot stop its neighbours. Transient: again with back-off. Permanent, or
too many tries: the dead-letter store, with the reason. Duplicate: success. Handlers must bear redelivery,
twins and any order.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from libs.contracts.envelope import Envelope, Event

Handler = Callable[[Any, Sequence[Envelope]], Awaitable[None]]
Subscriptions = Mapping[type[Event], Handler]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One service's wish for one event type; `handle` has its service's dependencies bound."""

    app_id: str
    event_type: str
    handle: Callable[[Sequence[Envelope]], Awaitable[None]]


class Bus(Protocol):
    """Carries what outboxes hold to the subscribers until it is stopped."""

    async def run(self) -> None: ...
