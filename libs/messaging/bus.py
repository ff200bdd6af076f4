"""The bus as services see it: handlers that take batches, and the table of who wants what.

A handler gets envelopes of one type and either returns (all done) or raises: then the bus delivers them one
by one, so that one poison message cannot stop its neighbours. Transient: again with back-off. Permanent, or
too many tries: the dead-letter store, with the reason. Duplicate: success. Handlers must bear redelivery,
twins and any order.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from libs.contracts.envelope import Envelope, Event

Handler = Callable[[Any, Sequence[Envelope]], Awaitable[None]]
Subscriptions = Mapping[type[Event], Handler]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One service's wish for one event type; `handle` has its service's dependencies bound."""

    app_id: str
    event_type: str
    handle: Callable[[Sequence[Envelope]], Awaitable[None]]


class Topic(NamedTuple):
    """A topic that others own: Dapr's pub/sub component, and the topic's name on its broker."""

    component: str
    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of such a topic as its sender wrote it. `headers`: its own and the broker's, names in lower case."""

    body: bytes
    headers: Mapping[str, str]


class OtherTopics(Protocol):
    """What a service hears beside the suite's own events, from topics in whatever shape others publish."""

    async def wanted(self) -> Sequence[Topic]: ...

    async def take(self, topic: Topic, messages: Sequence[Message]) -> None:
        """Returns when all are safe: taken in, known already, or kept with the reason. Raises Unavailable where they
        are not, and may be given them again, together or one by one."""


class Bus(Protocol):
    """Carries what outboxes hold to the subscribers until it is stopped."""

    async def run(self) -> None: ...
