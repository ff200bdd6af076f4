"""HTTP in: timeline, why, actions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from libs.auth import Principal
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.ids import AddressHasher, parse_message_id, recipient_key_of
from libs.paging import After, Limit, Page, make_cursor, page_of, read_cursor
from libs.web import ExactResponse, Router
from services.history.api.reading import Mask, Reader, deps_of, key_of, mask_of, masked, no_control_characters
from services.history.api.shapes import (
    ActionShown,
    EntryShown,
    FactShown,
    LinksShown,
    OtherShown,
    RenderShown,
    TimelineShown,
    WhyShown,
)
from services.history.domain.case import Case, Rendered
from services.history.domain.chain import Fact
from services.history.domain.facts import Document
from services.history.domain.verdict import Verdict
from services.history.ports import ActionSearch, Asker
from services.history.queries import Question
from services.history.queries.timeline import Entry, timeline_of
from services.history.queries.traces import trace_links
from services.history.queries.why import Answer, why

router = Router(prefix="/v1", tags=["history"])

Key = Annotated[
    str | None,
    Query(max_length=300, description="A recipient's key; a bare id is a customer's.", examples=["customer:1042"]),
]
Order = Annotated[
    str | None,
    Query(max_length=300, description="The events' subject, with or without a leading #.", examples=["A-1042"]),
]
Name = Annotated[
    str | None, Query(max_length=100, description="Only this communication.", examples=["order-confirmation"])
]
MessageId = Annotated[str | None, Query(max_length=60, description="A message's id.")]
Event = Annotated[str | None, Query(max_length=300, description="The producer's event id, or ours.")]
Address = Annotated[
    str | None, Query(max_length=320, description="An e-mail address or phone number; hashed on entry.")
]


@router.get("/timeline")
async def get_timeline(
    request: Request,
    principal: Reader,
    recipient: Key = None,
    order: Order = None,
    message: MessageId = None,
    address: Address = None,
    communication: Name = None,
    limit: Limit = 50,
    cursor: After = None,
) -> TimelineShown:
    """What happened to a recipient, an order, a message or an address, newest first; `limit` counts notifications."""
    deps = deps_of(request)
    asked = {"recipient": recipient, "order": order, "message": message, "communication": communication}
    question = _question(deps.hasher, principal, asked, address)
    (before,) = read_cursor(cursor, UUID) or (None,)
    page = await timeline_of(deps.timeline, deps.audit, question, limit, before)
    mask = mask_of(principal)
    links = await trace_links(deps, Asker(principal.tenant, principal.mode), [entry.cause for entry in page.entries])
    return TimelineShown(
        items=[_entry(entry, mask, links) for entry in page.entries],
        next_cursor=make_cursor(page.after) if page.after else None,
        complete=page.complete,
    )


@router.get("/why", response_class=ExactResponse, responses={200: {"model": WhyShown}})
async def get_why(
    request: Request,
    principal: Reader,
    recipient: Key = None,
    order: Order = None,
    communication: Name = None,
    message: MessageId = None,
    event: Event = None,
    address: Address = None,
) -> Response:
    """Why a recipient did or did not get a message: one verdict, the facts behind it, and the next step."""
    deps = deps_of(request)
    asked = {
        "recipient": recipient,
        "order": order,
        "communication": communication,
        "message": message,
        "event": event,
    }
    question = _question(deps.hasher, principal, asked, address)
    answer = await why(deps, question)
    return ExactResponse(_why(answer, question, principal).model_dump(mode="json"))


@router.get("/actions")
async def list_actions(
    request: Request,
    principal: Reader,
    actor: Annotated[
        str | None, Query(max_length=300, description="Only what this key (by its id) or service changed.")
    ] = None,
    action: Annotated[
        str | None, Query(max_length=100, description="Only this action.", examples=["hold.place"])
    ] = None,
    object: Annotated[str | None, Query(max_length=300, description="Only changes to this object.")] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[ActionShown]:
    """Who changed what, newest first."""
    deps = deps_of(request)
    words = {"actor": actor, "action": action, "object": object}
    no_control_characters(words)
    after = read_cursor(cursor, datetime, UUID)
    wanted = ActionSearch(principal.tenant, principal.mode, limit + 1, actor, action, object, after)
    found = await deps.audit.actions(wanted)
    return page_of(found, limit, _action, lambda document: (document.at, document.id))


def _question(
    hasher: AddressHasher, principal: Principal, asked: dict[str, str | None], address: str | None
) -> Question:
    """Build a question that names at least a subject to ask about. Raises Invalid."""
    no_control_characters(asked | {"address": address})
    if not any(asked.get(name) for name in ("recipient", "order", "message", "event")) and not address:
        raise Invalid("Name a recipient, order, message, event or address to ask about.", pointer="recipient")
    if asked["message"]:
        try:
            parse_message_id(asked["message"])
        except ValueError as error:
            raise Invalid(f"{error}. Timelines show it as `message`.", pointer="message") from error
    hashed = key_of(hasher, address) if address else None
    given = {name: value or None for name, value in asked.items()}
    if given["recipient"]:
        given["recipient"] = recipient_key_of(given["recipient"])
    return Question(principal.tenant, principal.mode, **given, address_key=hashed)


def _why(answer: Answer, question: Question, principal: Principal) -> WhyShown:
    case, verdict, mask = answer.case, answer.verdict, mask_of(principal)
    return WhyShown(
        verdict=verdict.code,
        certain=verdict.certain,
        reason=verdict.reason.word if verdict.reason is not Reason.NONE else None,
        sentence=mask(verdict.sentence),
        next_step=verdict.next_step,
        until=verdict.until,
        lost_at=verdict.lost_at,
        communication=case.communication if case else question.communication,
        recipient=masked(case.recipient if case else question.recipient, mask),
        order=_order(case) if case else question.order,
        messages=[message.id for message in case.messages] if case else [],
        facts=[_fact(fact, mask) for fact in answer.facts],
        render=_render(answer.rendered, principal),
        others=[_other(other, short, mask) for other, short in answer.others],
        links=LinksShown(trace=answer.trace_link),
    )


def _order(case: Case) -> str | None:
    known: Sequence[Any] = case.messages or case.decisions
    return known[0].subject if known else None


def _render(rendered: Rendered | None, principal: Principal) -> RenderShown | None:
    if rendered is None:
        return None
    parts = dict(rendered.parts) if rendered.parts and principal.may("pii:read") else None
    return RenderShown(digest=rendered.digest, why=rendered.why, parts=parts)


def _other(case: Case, verdict: Verdict, mask: Mask) -> OtherShown:
    return OtherShown(
        communication=case.communication,
        recipient=masked(case.recipient, mask),
        order=_order(case),
        message=case.messages[0].id if case.messages else None,
        at=case.began,
        verdict=verdict.code,
        sentence=mask(verdict.sentence),
    )


def _fact(fact: Fact, mask: Mask) -> FactShown:
    return FactShown(at=fact.at, source=fact.source, kind=fact.kind, text=mask(fact.text), message=fact.message)


def _entry(entry: Entry, mask: Mask, links: Mapping[UUID, str]) -> EntryShown:
    return EntryShown(
        **_fact(entry.fact, mask).model_dump(),
        recipient=masked(entry.recipient, mask),
        order=entry.order,
        communication=entry.communication,
        links=LinksShown(trace=links.get(entry.cause) if entry.cause else None),
    )


def _action(document: Document) -> ActionShown:
    body = document.body
    return ActionShown(
        id=document.id,
        at=document.at,
        actor=document.actor,
        action=document.action,
        object=document.object,
        before=body.get("before"),
        after=body.get("after"),
        note=body.get("note"),
    )
