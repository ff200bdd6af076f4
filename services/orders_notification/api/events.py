"""Events over HTTP: accepted one by one, in batches and as streams; returned with the decisions about them."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from libs import exact_json
from libs.auth import Principal, internal, scope
from libs.contracts.reasons import Reason
from libs.errors import Invalid, NotFound, Permanent, TooLarge
from libs.ids import recipient_key_of
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.telemetry import current_traceparent
from libs.web import ExactResponse, Router
from services.orders_notification import queries
from services.orders_notification.api.bodies import ContentMode, content_mode, headers_of, read_body
from services.orders_notification.api.deps import deps_of
from services.orders_notification.api.shapes import (
    ORDER_PLACED,
    PLAIN,
    BatchTaken,
    EventDetail,
    EventShown,
    Taken,
    TraceBody,
    Traced,
)
from services.orders_notification.api.stream import stream_in
from services.orders_notification.api.verdicts import refusal, shown
from services.orders_notification.domain.cloudevents import BusinessEvent, from_binary, from_structured
from services.orders_notification.domain.intake import ACCEPTED, REJECTED, Origin, Submission
from services.orders_notification.handlers.intake import accept
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.events import EventFilter

router = Router(prefix="/v1", tags=["events"])

Sender = Annotated[Principal, scope("events:send")]
Reader = Annotated[Principal, scope("events:read", internal=True)]

_NDJSON = "application/x-ndjson"
_BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": {"type": "object"}, "example": ORDER_PLACED},
            "application/json": {"schema": {"type": ["object", "array"]}, "example": ORDER_PLACED},
            "application/cloudevents-batch+json": {"schema": {"type": "array"}, "example": [ORDER_PLACED]},
            _NDJSON: {"schema": {"type": "string"}, "example": exact_json.dumps(ORDER_PLACED).decode() + "\n"},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Committed. One event: its id and decisions; a batch: a result each; a stream: a line each.",
        "model": Taken | BatchTaken,
    },
    200: {"description": "A duplicate of an earlier event; nothing was done again.", "model": Taken},
}


class SchemaInvalid(Invalid):
    """The event does not match the schema of its type; it is stored and can be replayed."""

    slug = "schema-invalid"
    title = "The event does not match the schema of its type"


class AllRejected(Invalid):
    """No event of a batch could be accepted."""

    slug = "all-rejected"
    title = "No event of the batch could be accepted"


@router.post("/events", status_code=202, openapi_extra=_BODIES, responses=_ANSWERS, response_class=ExactResponse)
async def take_events(request: Request, principal: Sender) -> Response:
    """Accept business events, as CloudEvents 1.0: structured, binary (`ce-` headers), batched, or one per line.

    The response follows the commit. Events with the same `source` and `id` are duplicates.
    """
    deps = deps_of(request)
    origin = Origin(principal.tenant, principal.mode, principal.actor, current_traceparent())
    mode = content_mode(request)
    if mode is ContentMode.STREAM:
        bulk = Origin(principal.tenant, principal.mode, principal.actor)
        return await stream_in(deps, bulk, request)
    if mode is ContentMode.BINARY:
        body = await read_body(request, deps.limits.event_bytes)
        return await _one(request, origin, from_binary(headers_of(request), body, deps.clock()))
    limit = deps.limits.event_bytes if mode is ContentMode.STRUCTURED else deps.limits.batch_bytes
    document = exact_json.loads(await read_body(request, limit))
    if mode is ContentMode.BATCH and not isinstance(document, list):
        raise Invalid("A CloudEvents batch is a JSON array of events.", pointer="")
    if isinstance(document, list) and mode is not ContentMode.STRUCTURED:
        bulk = Origin(principal.tenant, principal.mode, principal.actor)
        return await _batch(deps, bulk, document)
    event = from_structured(document, deps.clock())
    if len(event.body) > deps.limits.event_bytes:
        raise TooLarge(f"An event may have at most {deps.limits.event_bytes:,} bytes.", limit=deps.limits.event_bytes)
    return await _one(request, origin, event)


async def _one(request: Request, origin: Origin, event: BusinessEvent) -> Response:
    verdict = await deps_of(request).committer.submit(Submission(origin, event))
    if verdict.status == REJECTED:
        refused = SchemaInvalid.many(verdict.errors)
        next_step = Reason.SCHEMA_INVALID.text.next_step
        refused.extra = {"rejection": verdict.id, "reason": verdict.reason.word, "next_step": next_step}
        raise refused
    answer = {
        "status": verdict.status,
        "id": verdict.id,
        "event_id": event.id,
        "decisions": verdict.decided.decisions if verdict.decided else (),
    }
    location = f"{request.scope.get('root_path', '')}/v1/events/{verdict.id}"
    status = 202 if verdict.status == ACCEPTED else 200
    return ExactResponse(answer, status, headers={"location": location})


async def _batch(deps: OrdersNotification, origin: Origin, documents: list[Any]) -> Response:
    if len(documents) > deps.limits.batch_events:
        raise TooLarge(
            f"A batch may have at most {deps.limits.batch_events:,} events; stream more as {_NDJSON}.",
            limit=deps.limits.batch_events,
        )
    results: list[dict[str, Any]] = []
    for start in range(0, len(documents), deps.limits.stream_chunk):
        part = documents[start : start + deps.limits.stream_chunk]
        results.extend(await _part(deps, origin, part, start))
    tally = {status: sum(r["status"] == status for r in results) for status in ("accepted", "duplicate", "rejected")}
    if results and tally["rejected"] == len(results):
        raise AllRejected(
            "No event of the batch could be accepted; `results` gives the reasons.", **tally, results=results
        )
    return ExactResponse(tally | {"results": results}, 202)


async def _part(deps: OrdersNotification, origin: Origin, documents: Sequence[Any], start: int) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [{} for _ in documents]
    submissions: list[tuple[int, Submission]] = []
    for index, document in enumerate(documents):
        try:
            submissions.append((index, Submission(origin, from_structured(document, deps.clock()))))
        except Permanent as error:
            results[index] = {"index": start + index, **refusal(error)}
    verdicts = await accept(deps, [s for _, s in submissions]) if submissions else []
    for (index, submission), verdict in zip(submissions, verdicts, strict=True):
        results[index] = {"index": start + index, **shown(submission.event.id, verdict)}
    return results


@router.get("/events")
async def list_events(
    request: Request,
    principal: Reader,
    subject: Annotated[str | None, Query(max_length=256, pattern=PLAIN, description="The order number.")] = None,
    type: Annotated[str | None, Query(max_length=200, pattern=PLAIN, description="Only this event type.")] = None,
    recipient: Annotated[
        str | None, Query(max_length=200, pattern=PLAIN, description="The recipient's key; a bare id is a customer's.")
    ] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[EventShown]:
    """List accepted events, newest first."""
    (before,) = read_cursor(cursor, UUID) or (None,)
    key = recipient_key_of(recipient) if recipient else None
    wanted = EventFilter(limit=limit + 1, before=before, subject=subject, type=type, recipient=key)
    rows = await deps_of(request).reader.find(principal.tenant, principal.mode, wanted)
    return page_of(rows, limit, lambda row: EventShown.model_validate(queries.event_head(row)), lambda row: (row.id,))


@router.get("/events/{id}", response_class=ExactResponse, responses={200: {"model": EventDetail}})
async def get_event(
    request: Request, principal: Reader, id: Annotated[UUID, Path(description="The cause id.")]
) -> Response:
    """Return an event with its data and every communication's decision. Marked PII needs the scope pii:read."""
    found = await queries.events(deps_of(request), principal, [id])
    if not found:
        raise NotFound(f"There is no event {id} in this tenant and mode.")
    return ExactResponse(found[0])


@router.post("/events:trace", response_class=ExactResponse, responses={200: {"model": Traced}})
async def trace_events(request: Request, principal: Annotated[Principal, internal()], body: TraceBody) -> Response:
    """Return what became of causes and subjects: for `why`."""
    return ExactResponse(await queries.trace(deps_of(request), principal, body.causes, body.subjects))
