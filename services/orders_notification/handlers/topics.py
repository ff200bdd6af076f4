"""Messages from other teams' topics: mapped, deduplicated and decided like a webhook, one commit per batch.

Messages are not signed: the broker controls who may publish on a topic. Several sources, also of other tenants and
modes, may use one topic; each gets every message, and its own filter selects.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

from libs.contracts.reasons import Reason
from libs.errors import Unavailable
from libs.messaging.bus import Message, Topic
from libs.telemetry import get_logger
from services.orders_notification.domain.cloudevents import traceparent_of
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.intake import BY_TOPIC, Kept, Origin, Raw, Submission, new_cause
from services.orders_notification.domain.mapping import Mapped
from services.orders_notification.domain.reading import Unmappable
from services.orders_notification.domain.topics import Hearing, hearing
from services.orders_notification.handlers.intake import accept, keep
from services.orders_notification.handlers.sources import CREDENTIALS, observe, outcome, try_mapping
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.sources import StoredSource

_RESTART_AFTER_LOOKS = 2  # sources that are applied together cost one restart
_RESTART_SPREAD_SECONDS = 10.0  # jitter, so that replicas rarely restart at the same time

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceTopics:
    """Implements libs.messaging.bus.OtherTopics: the sidecar's extra subscriptions and their handler."""

    deps: OrdersNotification

    async def wanted(self) -> list[Topic]:
        grants = self.deps.grants
        named = {topic for tenant, topic in await self.deps.sources.topics() if grants.allow(tenant, topic)}
        return sorted(named)

    async def take(self, topic: Topic, messages: Sequence[Message]) -> None:
        for owner in await self.deps.sources.hearing(topic):
            if self.deps.grants.allow(owner.tenant, topic):
                await _taken_in(self.deps, owner, messages)


async def _taken_in(deps: OrdersNotification, owner: StoredSource, messages: Sequence[Message]) -> None:
    submissions: list[Submission] = []
    kept: list[Kept] = []
    read = await asyncio.to_thread(_read, owner, messages, deps.clock())  # see `receive`
    for message, (raw, result) in zip(messages, read, strict=True):
        origin = _origin(owner, message)
        if isinstance(result, Unmappable):
            kept.append(Kept(new_cause(), origin, Reason.MAPPING_FAILED, result.errors, raw))
            continue
        submissions += [Submission(origin, event, raw) for event in result.events]
        observe(owner.source.name, outcome(result))
    if submissions:
        await accept(deps, submissions)
    if kept:
        await keep(deps, kept)
        for _ in kept:
            observe(owner.source.name, "kept")


def _read(owner: StoredSource, messages: Sequence[Message], now: datetime) -> list[tuple[Raw, Mapped | Unmappable]]:
    """Return what is stored of each message, with its events or why there are none."""
    raws = [
        Raw(message.body, {name: value for name, value in message.headers.items() if name not in CREDENTIALS})
        for message in messages
    ]
    return [(raw, try_mapping(owner.source, Delivery(raw.body, raw.headers, {}), now)) for raw in raws]


def _origin(owner: StoredSource, message: Message) -> Origin:
    name = owner.source.name
    traceparent = traceparent_of(message.headers.get("traceparent"))
    return Origin(owner.tenant, owner.mode, f"{BY_TOPIC}{name}", traceparent, source=name)


@dataclass(slots=True)
class TopicWatch:
    """Watches a worker's sidecar: reports which topics it consumes, and restarts it to reread its subscriptions."""

    deps: OrdersNotification
    worker: UUID = field(default_factory=uuid4)
    _looks: int = 0  # consecutive ones with a missing subscription

    async def look(self) -> None:
        """Report, and restart the sidecar if that is enabled and would help."""
        assert self.deps.sidecar is not None
        wanted = await SourceTopics(self.deps).wanted()
        try:
            subscribed = await self.deps.sidecar.subscribed()
        except Unavailable as error:
            log.warning("sidecar_away", error=error.detail)
            return
        states = {topic: hearing(topic, subscribed) for topic in wanted}
        await self.deps.listening.report(self.worker, states)
        self._looks = self._looks + 1 if Hearing.WAITING in states.values() else 0
        if self._looks >= _RESTART_AFTER_LOOKS and self.deps.restart_sidecar:
            await asyncio.sleep(random.uniform(0, _RESTART_SPREAD_SECONDS))
            log.info("sidecar_restarts", count=sum(state is Hearing.WAITING for state in states.values()))
            await self.deps.sidecar.restart()
            self._looks = 0
