"""Event types over HTTP: the JSON Schema of each, edited with If-Match."""

from typing import Annotated, Any

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.errors import NotFound
from libs.paging import After, Limit, next_cursor, read_cursor
from libs.web import EDIT, ExactResponse, Router, etag, require_match
from services.orders_notification.api.deps import deps_of
from services.orders_notification.api.shapes import EventTypeBody, EventTypes, EventTypeShown
from services.orders_notification.domain.event_types import check_marks, event_type
from services.orders_notification.ports.sources import Author, StoredType

router = Router(prefix="/v1", tags=["event types"])

Reader = Annotated[Principal, scope("sources:read")]
Writer = Annotated[Principal, scope("sources:write")]
Type = Annotated[
    str,
    Path(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="The event type.",
        examples=["order.placed"],
    ),
]
_ONE: dict[int | str, dict[str, Any]] = {200: {"model": EventTypeShown}}
_NEW: dict[int | str, dict[str, Any]] = _ONE | {201: {"model": EventTypeShown, "description": "It is new."}}


@router.get("/event-types", response_class=ExactResponse, responses={200: {"model": EventTypes}})
async def list_event_types(request: Request, principal: Reader, limit: Limit = 100, cursor: After = None) -> Response:
    """List declared event types by name."""
    (after,) = read_cursor(cursor, str) or ("",)
    found = await deps_of(request).event_types.all(principal.tenant, principal.mode, after, limit + 1)
    following = next_cursor(found, limit, lambda stored: (stored.type,))
    return ExactResponse({"items": found[:limit], "next_cursor": following})


@router.get("/event-types/{type:path}", response_class=ExactResponse, responses=_ONE)
async def get_event_type(request: Request, principal: Reader, type: Type) -> Response:
    """Return the declaration of an event type."""
    stored = await deps_of(request).event_types.get(principal.tenant, principal.mode, type)
    if stored is None:
        raise NotFound(f"The event type {type!r} is not declared; its events are accepted unchecked.")
    return ExactResponse(stored, headers={"etag": etag(stored.version)})


@router.put("/event-types/{type:path}", response_class=ExactResponse, responses=_NEW, openapi_extra=EDIT)
async def put_event_type(request: Request, principal: Writer, type: Type, body: EventTypeBody) -> Response:
    """Declare an event type. It applies to the next event; events that do not match are stored and can be replayed."""
    deps = deps_of(request)
    held = await deps.event_types.get(principal.tenant, principal.mode, type)
    require_match(request, held.version if held else None)
    at = deps.clock()
    declared = StoredType(
        type=type,
        version=held.version + 1 if held else 1,
        description=body.description,
        schema=body.schema_,
        updated_at=at,
    )
    event_type(type, declared.version, declared.schema)
    check_marks(declared.schema)
    await deps.event_types.put(Author(principal.tenant, principal.mode, principal.actor, at), declared)
    return ExactResponse(declared, 200 if held else 201, headers={"etag": etag(declared.version)})
