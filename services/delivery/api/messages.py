"""Routes for requests, messages, the standing of notifications, rendering again, figures."""

import base64
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request

from libs.auth import Principal, internal, scope
from libs.contracts.outcomes import Channel, Lane, Mode, OnUnknown, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.ids import message_id
from libs.web import Router
from services.delivery import queries
from services.delivery.api.shapes import (
    MESSAGE_ID,
    REQUEST_ID,
    Figures,
    Ids,
    LookedUp,
    MessageShown,
    RenderedShown,
    RequestShown,
    Standings,
)
from services.delivery.domain.outbound import domain_of
from services.delivery.domain.standing import MessageRow
from services.delivery.handlers import Delivery

router = Router(prefix="/v1", tags=["messages"])

Reader = Annotated[Principal, scope("delivery:read", internal=True)]
Suite = Annotated[Principal, internal()]
RequestInPath = Annotated[UUID, Path(alias="id", description="The request's id.", examples=[REQUEST_ID])]
MessageInPath = Annotated[str, Path(alias="id", max_length=80, description="The message's id.", examples=[MESSAGE_ID])]
COUNTERS = ("pending", "sent", "failed", "skipped", "suppressed", "unknown")


@router.get("/requests/{id}", summary="A request and its account")
async def get_request(
    request: Request,
    principal: Reader,
    id_: RequestInPath,
) -> RequestShown:
    """The counters always add up to recipients + extra."""
    found = await queries.request(_deps(request), (principal.tenant, principal.mode), id_)
    plain = {name: value for name, value in found.items() if name not in COUNTERS}
    plain |= {"lane": Lane(found["lane"]).word, "on_unknown": OnUnknown(found["on_unknown"]).word}
    return RequestShown(**plain, counters={name: found[name] for name in COUNTERS})


@router.get("/messages/{id}", summary="A message with its attempts and receipts")
async def get_message(
    request: Request,
    principal: Reader,
    id_: MessageInPath,
) -> MessageShown:
    """Its last attempt, the superseded attempts, and its receipts."""
    return _message(await queries.message(_deps(request), (principal.tenant, principal.mode), id_))


@router.post("/notifications:explain", summary="Where notifications stand")
async def explain(request: Request, principal: Reader, body: Ids) -> Standings:
    """For each notification that is not final: what it waits for, and until when. Up to 500 at once; unknown ones are
    absent."""
    ids: list[UUID] = []
    for place, text in enumerate(body.ids):
        try:
            ids.append(UUID(text))
        except ValueError as error:
            raise Invalid("A notification id must be a UUID.", pointer=f"/ids/{place}") from error
    found = await queries.explained(_deps(request), (principal.tenant, principal.mode), ids)
    return Standings(
        notifications={
            str(id_): {
                "state": explained.state,
                "reason": explained.reason.word,
                "until": explained.until,
                "detail": explained.detail,
                "next_step": explained.reason.text.next_step,
                "request_id": standing.request_id,
                "recipient": standing.recipient or None,
                "subject": standing.subject,
                "communication": standing.communication,
                "expires_at": standing.expires_at,
                "messages": [_message(row).model_dump(exclude={"attempts", "receipts"}) for row in standing.messages],
            }
            for id_, (standing, explained) in found.items()
        }
    )


@router.post("/messages:render", summary="Render messages again")
async def render(request: Request, principal: Reader, body: Ids) -> RenderedShown:
    """Render from release and variables, with the recipient's current data: equal, differs, or not reproducible."""
    found = await queries.rendered(_deps(request), (principal.tenant, principal.mode), body.ids)
    shows = principal.may("pii:read") or principal.actor.startswith("service:")
    return RenderedShown(
        messages={
            id_: {"digest": again.digest, "why": again.why, "parts": again.parts if shows else None}
            for id_, again in found.items()
        }
    )


@router.post("/messages:lookup", summary="Look up messages' recipients")
async def lookup(request: Request, principal: Suite, body: Ids) -> LookedUp:
    """For the suite's services: a return path names a message and nothing else."""
    rows = await _deps(request).reads.messages((principal.tenant, principal.mode), queries.keys_of(body.ids))
    return LookedUp(
        messages={
            message_id(row.notification_id, row.address_id): {
                "tenant": row.tenant,
                "mode": Mode(row.mode).word,
                "address_hash": base64.b64encode(row.address_hash).decode() if row.address_hash else None,
                "recipient": row.recipient or None,
                "erased": row.erased,
                "channel": Channel(row.channel).word if row.channel else None,
                "request_id": str(row.request_id),
                "communication": row.communication,
                "sender": row.sender,
                "from_domain": domain_of(row.from_address or ""),
                "status": row.status.word,
                "attempt": row.attempt,
            }
            for row in rows
        }
    )


@router.get("/statistics", summary="Figures")
async def statistics(
    request: Request,
    principal: Reader,
    hours: Annotated[float, Query(gt=0, le=24 * 90, description="How many hours back to count requests.")] = 24,
) -> Figures:
    """Sums over the requests of the last hours, and the current queue."""
    return Figures(**await queries.figures(_deps(request), (principal.tenant, principal.mode), hours))


def _message(row: MessageRow) -> MessageShown:
    return MessageShown(
        id=message_id(row.notification_id, row.address_id),
        request_id=row.request_id,
        recipient=row.recipient or None,
        status=row.status.word,
        reason=row.reason.word,
        sentence=row.sentence,
        channel=Channel(row.channel).word if row.channel else None,
        sender=row.sender,
        step=row.plan_step,
        locale=row.locale,
        attempt=row.attempt,
        duplicates=row.duplicates,
        provider_ref=row.provider_ref,
        detail=row.detail,
        claimed_at=row.claimed_at,
        recorded_at=row.recorded_at,
        attempts=[_worded(entry) for entry in row.attempts],
        receipts=[entry | {"kind": ReceiptKind(entry["kind"]).word} for entry in row.receipts],
    )


def _worded(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"status": Status(entry["status"]).word, "reason": Reason(entry["reason"]).word}


def _deps(request: Request) -> Delivery:
    deps: Delivery = request.app.state.deps
    return deps
