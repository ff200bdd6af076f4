"""Replays stored rejections, after the mapping or the schema was fixed."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from libs import exact_json
from libs.contracts.reasons import Reason
from libs.errors import Invalid, Permanent
from services.orders_notification.domain.cloudevents import from_structured
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.intake import (
    ACCEPTED,
    REJECTED,
    Kept,
    Origin,
    Raw,
    Submission,
    Verdict,
    new_cause,
)
from services.orders_notification.domain.mapping import map_delivery
from services.orders_notification.handlers.intake import accept, keep
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.rejections import Filter, Rejection
from services.orders_notification.ports.sources import Author

FILTERED = "filtered"


async def replay(deps: OrdersNotification, author: Author, wanted: Filter) -> tuple[list[dict[str, Any]], UUID | None]:
    """Send open rejections through intake again, in the order of `wanted`.

    Return one result each, and the last one's id if there are more than `wanted.limit`.

    A crash half-way may leave accepted rejections open: replayed again, they are duplicates.
    """
    one_more = msgspec.structs.replace(wanted, limit=wanted.limit + 1)
    found = await deps.rejections.find(author.tenant, author.mode, one_more)
    results = []
    for rejection in found[: wanted.limit]:
        verdicts = await _again(deps, author, rejection)
        results.append(_result(rejection, verdicts))
    done = [result["id"] for result in results if result["status"] != REJECTED]
    if done:
        await deps.rejections.replayed(author, done)
    return results, found[wanted.limit - 1].id if len(found) > wanted.limit else None


async def _again(deps: OrdersNotification, author: Author, rejection: Rejection) -> Sequence[Verdict]:
    origin = Origin(author.tenant, author.mode, rejection.client, source=rejection.source, replayed=rejection.id)
    raw = Raw(rejection.body, rejection.headers, rejection.query)
    try:
        submissions = await _submissions(deps, origin, rejection, raw)
    except Permanent as error:
        reason = Reason.SCHEMA_INVALID if rejection.source is None else Reason.MAPPING_FAILED
        errors = error.errors or Invalid(error.detail, pointer="").errors
        return await keep(deps, [Kept(new_cause(), origin, reason, errors, raw)])
    return await accept(deps, submissions) if submissions else ()


async def _submissions(deps: OrdersNotification, origin: Origin, rejection: Rejection, raw: Raw) -> list[Submission]:
    # the first arrival stands in for a missing event time: an event that is too late by now is decided as expired
    if rejection.source is None:
        event = from_structured(exact_json.loads(rejection.body), rejection.received_at)
        return [Submission(origin, event, came_at=rejection.received_at)]
    stored = await deps.sources.get(origin.tenant, origin.mode, rejection.source)
    if stored is None:
        raise Invalid(f"The source {rejection.source!r} is gone; create it again to replay.", pointer="")
    delivery = Delivery(raw.body, raw.headers, raw.query)
    mapped = await asyncio.to_thread(map_delivery, stored.source, delivery, rejection.received_at)
    return [Submission(origin, event, raw, rejection.received_at) for event in mapped.events]


def _result(rejection: Rejection, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    refused = [verdict for verdict in verdicts if verdict.status == REJECTED]
    accepted = [verdict for verdict in verdicts if verdict.status == ACCEPTED]
    last = next(iter([*refused, *accepted, *verdicts]), None)
    errors = last.errors if last is not None and refused else ()
    return {
        "id": rejection.id,
        "status": FILTERED if last is None else last.status,
        "events": [verdict.id for verdict in verdicts if verdict.status != REJECTED],
        "errors": [{"pointer": error.pointer, "detail": error.detail} for error in errors],
    }
