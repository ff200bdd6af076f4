"""Accepts events: prepares each in memory (schema, match, decide), then writes all of them in one commit."""

import asyncio
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from datetime import datetime

from prometheus_client import Counter, Histogram

from libs import exact_json
from libs.contracts.delivery import RequestSettled
from libs.contracts.envelope import Envelope
from libs.contracts.reasons import Reason
from libs.contracts.tokens import RecipientErased
from libs.ids import time_of
from libs.messaging.bus import Subscriptions
from libs.telemetry import batch_span, new_trace, one_of
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.deciding import about, decide, wiped_when_final
from services.orders_notification.domain.event_types import without
from services.orders_notification.domain.intake import (
    ACCEPTED,
    DUPLICATE,
    REJECTED,
    Kept,
    Prepared,
    Raw,
    Submission,
    Verdict,
    key_of,
    new_cause,
)
from services.orders_notification.domain.releases import Catalogue
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.intake import TenantMode

# Larger events are decided in a thread: converting their data for CEL would block the event loop.
LARGE_BYTES = 16_384

_events = Counter("depesche_intake_events", "Events by verdict", ["verdict"])
_batch = Histogram("depesche_intake_batch_events", "Events per commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))


async def accept(deps: OrdersNotification, submissions: Sequence[Submission]) -> list[Verdict]:
    """Accept a batch; return one verdict each, in order, after all of it is committed."""
    now = deps.clock()
    wanted = {(s.origin.tenant, s.origin.mode) for s in submissions}
    catalogues = await deps.catalogues.current(wanted)
    made = await _prepared(submissions, catalogues, now)
    prepared = [item for item in made if isinstance(item, Prepared)]
    kept = [item for item in made if isinstance(item, Kept)]
    with batch_span(
        "accept",
        [item.traceparent for item in prepared],
        events=len(made),
        cause_id=one_of([item.cause for item in prepared]),
    ):
        stored = await deps.events.store(prepared, kept, now)
    verdicts: list[Verdict] = []
    for item in made:
        if isinstance(item, Kept):
            verdicts.append(Verdict(REJECTED, stored.rejections[item.id], None, item.reason, item.errors))
        elif (first := stored.causes[item.key]) == item.cause:
            verdicts.append(Verdict(ACCEPTED, item.cause, item.decided))
        else:
            verdicts.append(Verdict(DUPLICATE, first))
    _observe(verdicts)
    return verdicts


async def keep(deps: OrdersNotification, kept: Sequence[Kept]) -> list[Verdict]:
    """Store deliveries that no mapping could read, with their reasons; all in one commit."""
    stored = await deps.events.store((), kept, deps.clock())
    verdicts = [Verdict(REJECTED, stored.rejections[one.id], reason=one.reason, errors=one.errors) for one in kept]
    _observe(verdicts)
    return verdicts


async def settle_events(deps: OrdersNotification, batch: Sequence[Envelope]) -> None:
    """An event is settled once all its requests are accounted for: "accepted" can be reconciled end to end."""
    await deps.events.settle({(envelope.data.cause_id, envelope.data.request_id) for envelope in batch})


async def erase_recipients(deps: OrdersNotification, batch: Sequence[Envelope]) -> None:
    """Wipe the bodies of erased recipients' events, and delete the rejections that name them."""
    await deps.events.erase([(e.tenant, e.mode, e.data.recipient, e.data.at) for e in batch])


async def _prepared(
    submissions: Sequence[Submission], catalogues: Mapping[TenantMode, Catalogue], now: datetime
) -> list[Prepared | Kept]:
    made: list[Prepared | Kept] = []
    for submission in submissions:
        catalogue = catalogues[submission.origin.tenant, submission.origin.mode]
        if len(submission.event.body) > LARGE_BYTES:
            made.append(await asyncio.to_thread(prepare, submission, catalogue, now))
        else:
            made.append(prepare(submission, catalogue, now))
    return made


def prepare(submission: Submission, catalogue: Catalogue, now: datetime) -> Prepared | Kept:
    """Check an event against its type's schema and decide it; pure."""
    origin, event = submission.origin, submission.event
    cause = new_cause()
    declared, listeners = catalogue.event_types.get(event.type), catalogue.listening_to(event.type)
    if declared is not None and (errors := declared.errors_of(event.data)):
        raw = submission.raw or Raw(structured(event), {"content-type": "application/cloudevents+json"})
        recipient = event.recipient or next(iter(about(event, listeners)), None)
        reason = Reason.SCHEMA_INVALID
        return Kept(cause, origin, reason, tuple(errors), raw, event, recipient, submission.came_at)
    body = event.body
    decided = decide(event, cause, listeners, now)
    if declared is not None and declared.secret:
        body = exact_json.dumps(without(event.data, declared.secret))
        decided = wiped_when_final(decided)
    return Prepared(
        key=key_of(origin, event),
        cause=cause,
        origin=origin,
        event=event,
        decided=decided,
        body=body,
        # an event of a batch has its own trace
        traceparent=event.traceparent or origin.traceparent or new_trace("event", cause_id=cause),
        came_at=submission.came_at or time_of(cause),
    )


def structured(event: BusinessEvent) -> bytes:
    """Return the event in CloudEvents' JSON format."""
    document = (event.extensions or {}) | {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "recipient": event.recipient,
        "traceparent": event.traceparent,
        "data": event.data,
    }
    return exact_json.dumps({name: value for name, value in document.items() if value is not None})


def _observe(verdicts: Sequence[Verdict]) -> None:
    _batch.observe(len(verdicts))
    for status, count in Tally(verdict.status for verdict in verdicts).items():
        _events.labels(status).inc(count)


INTAKE_SUBSCRIPTIONS: Subscriptions = {
    RequestSettled: settle_events,
    RecipientErased: erase_recipients,
}
