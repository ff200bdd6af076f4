"""Deliveries that could not become events, over HTTP: listed with their reasons, replayed once the cause is fixed."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Request, Response

from libs.auth import Principal, scope
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.paging import After, Limit, Page, make_cursor, page_of, read_cursor
from libs.web import ExactResponse, Router
from services.orders_notification.api.deps import deps_of
from services.orders_notification.api.shapes import PLAIN, RejectionShown, ReplayBody, Replayed
from services.orders_notification.domain.intake import REJECTED
from services.orders_notification.handlers.replaying import replay
from services.orders_notification.ports.rejections import OPEN, REPLAYED, Filter
from services.orders_notification.ports.sources import Author
from services.orders_notification.queries import rejection_shown

router = Router(prefix="/v1", tags=["rejections"])

Reader = Annotated[Principal, scope("events:read")]
Writer = Annotated[Principal, scope("sources:write")]

_KEPT = {reason.word: reason for reason in (Reason.SCHEMA_INVALID, Reason.MAPPING_FAILED)}


@router.get("/rejections")
async def list_rejections(
    request: Request,
    principal: Reader,
    source: Annotated[str | None, Query(max_length=63, pattern=PLAIN, description="Only of this source.")] = None,
    type: Annotated[str | None, Query(max_length=200, pattern=PLAIN, description="Only this event type.")] = None,
    reason: Annotated[str | None, Query(max_length=50, description=f"{' or '.join(_KEPT)}.")] = None,
    state: Annotated[
        Literal["open", "replayed"] | None, Query(description="open: not yet replayed with success.")
    ] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[RejectionShown]:
    """List stored rejections, newest first. The bytes are shown with the scope pii:read, without their secrets."""
    (before,) = read_cursor(cursor, UUID) or (None,)
    wanted = Filter(
        limit=limit + 1,
        before=before,
        source=source,
        type=type,
        reason=_reason(reason, "reason"),
        state=None if state is None else OPEN if state == "open" else REPLAYED,
    )
    found = await deps_of(request).rejections.find(principal.tenant, principal.mode, wanted)
    owner = (principal.tenant, principal.mode)
    types = (await deps_of(request).catalogues.current([owner]))[owner].event_types
    shown = types if principal.may("pii:read") else None
    return page_of(
        found, limit, lambda item: RejectionShown.model_validate(rejection_shown(item, shown)), lambda item: (item.id,)
    )


@router.post("/rejections:replay", response_class=ExactResponse, responses={200: {"model": Replayed}})
async def replay_rejections(request: Request, principal: Writer, body: ReplayBody) -> Response:
    """Send open rejections through intake again, oldest first, after the mapping or the schema was fixed.

    What is refused again stays open. `next_cursor`, sent back as `cursor`, goes on after it.
    """
    deps = deps_of(request)
    (after,) = read_cursor(body.cursor, UUID, pointer="/cursor") or (None,)
    wanted = Filter(
        limit=body.limit,
        after=after,
        oldest_first=True,
        ids=body.ids,
        source=body.source,
        type=body.type,
        reason=_reason(body.reason, "/reason"),
        state=OPEN,
    )
    author = Author(principal.tenant, principal.mode, principal.actor, deps.clock())
    results, last = await replay(deps, author, wanted)
    refused = sum(result["status"] == REJECTED for result in results)
    answer = {"replayed": len(results) - refused, "rejected": refused, "results": results}
    return ExactResponse(answer | {"next_cursor": make_cursor(last) if last is not None else None})


def _reason(word: str | None, pointer: str) -> Reason | None:
    if word is None:
        return None
    if word not in _KEPT:
        raise Invalid(f"{word!r} is not one of {', '.join(_KEPT)}.", pointer=pointer)
    return _KEPT[word]
