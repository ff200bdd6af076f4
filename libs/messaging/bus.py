"""The bus as services see it: handlers that take batches, and the table of subscriptions.

A handler gets envelopes of one type and either returns (all done) or raises. If it raises, the bus delivers the
envelopes one by one, so that a poison message cannot stop its neighbours. Transient: retry with back-off. Permanent,
or too many attempts: the dead-letter store, with the reason. Duplicate: success. Handlers must tolerate redelivery,
concurrent duplicates and any order.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from libs.contracts.envelope import Envelope, Event

Handler = Callable[[Any, Sequence[Envelope]], Awaitable[None]]
Subscriptions = Mapping[type[Event], Handler]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One service's subscription to one event type; `handle` has its service's dependencies bound."""

    app_id: str
    event_type: str
    handle: Callable[[Sequence[Envelope]], Awaitable[None]]


class Topic(NamedTuple):
    """A topic owned by others: Dapr's pub/sub component, and the topic's name on its broker."""

    component: str
    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of such a topic, exactly as sent. `headers`: its own and the broker's, names in lower case."""

    body: bytes
    headers: Mapping[str, str]


class OtherTopics(Protocol):
    """What a service consumes besides the suite's own events: topics of others, in whatever format they publish."""

    async def wanted(self) -> Sequence[Topic]: ...

    async def take(self, topic: Topic, messages: Sequence[Message]) -> None:
        """Return once all messages are safe: accepted, already known, or stored with the reason. Raises Unavailable if
        they are not; the caller may then pass them again, together or one by one."""


class Bus(Protocol):
    """Delivers the outboxes' events to the subscribers until it is stopped."""

    async def run(self) -> None: ...
