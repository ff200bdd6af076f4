"""Accepting events: prepare each in memory (schema, match, decide), then write all of them in one commit."""

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
from libs.messaging.bus import Subscriptions
from libs.telemetry import batch_span, new_trace, one_of
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.deciding import decide, wiped_when_final
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

# Above this much data an event is decided in a thread: converting it for CEL would hold up everybody else.
LARGE_BYTES = 16_384

_events = Counter("depesche_intake_events", "Events by verdict", ["verdict"])
_batch = Histogram("depesche_intake_batch_events", "Events per commit", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))


async def accept(deps: OrdersNotification, submissions: Sequence[Submission]) -> list[Verdict]:
    """Takes a batch in, one verdict each, in order. All of it is committed when this returns."""
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
    """Keeps what no mapping could read, with its reason; all of it in one commit."""
    stored = await deps.events.store((), kept, deps.clock())
    verdicts = [Verdict(REJECTED, stored.rejections[one.id], reason=one.reason, errors=one.errors) for one in kept]
    _observe(verdicts)
    return verdicts


async def settle_events(deps: OrdersNotification, batch: Sequence[Envelope]) -> None:
    """An event is settled when all that it requested has its account: "accepted" can be reconciled end to end."""
    await deps.events.settle({(envelope.data.cause_id, envelope.data.request_id) for envelope in batch})


async def erase_recipients(deps: OrdersNotification, batch: Sequence[Envelope]) -> None:
    """Wipes the bodies of the events of erased recipients, and what of theirs was kept."""
    for envelope in batch:
        await deps.events.erase(envelope.tenant, envelope.mode, envelope.data.recipient)


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
    """Checks an event against its type's schema and decides it; pure."""
    origin, event = submission.origin, submission.event
    cause = new_cause()
    declared = catalogue.event_types.get(event.type)
    if declared is not None and (errors := declared.errors_of(event.data)):
        raw = submission.raw or Raw(structured(event), {"content-type": "application/cloudevents+json"})
        return Kept(cause, origin, Reason.SCHEMA_INVALID, tuple(errors), raw, event)
    body = event.body
    decided = decide(event, cause, catalogue.listening_to(event.type), now)
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
        # an event of a bulk has a trace of its own
        traceparent=event.traceparent or origin.traceparent or new_trace("event", cause_id=cause),
    )


def structured(event: BusinessEvent) -> bytes:
    """The event in CloudEvents' JSON format."""
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
