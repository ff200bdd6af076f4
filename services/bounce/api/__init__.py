"""HTTP in: bounce mails, bounces, suppressions."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import AwareDatetime

from libs.auth import Principal, scope
from libs.contracts.outcomes import Scope
from libs.errors import BadRequest, Invalid, Transient, UnsupportedMedia
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import Router
from services.bounce import queries
from services.bounce.api.shapes import (
    BounceShown,
    Kind,
    LiftBody,
    MailShown,
    SuppressionBody,
    SuppressionExplained,
    SuppressionShown,
)
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.policy import Decision
from services.bounce.domain.suppressions import Suppression
from services.bounce.domain.templates import template_of
from services.bounce.handlers import Bounce
from services.bounce.handlers.mails import keep_mail, read_kept, rules_ready
from services.bounce.handlers.people import lift_suppression, suppress_by_hand
from services.bounce.ports import Filter
from services.bounce.ports.mails import STATES, Mail, MailFilter

router = Router(prefix="/v1", tags=["bounces"])

Reader = Annotated[Principal, scope("bounces:read")]
Writer = Annotated[Principal, scope("bounces:write")]
Address = Annotated[str | None, Query(max_length=4096, description="An address; only its hash is searched for.")]
Recipient = Annotated[str | None, Query(max_length=300, description="A recipient's key.", examples=["customer:1042"])]
OfKind = Annotated[Kind | None, Query(description="Kind of `address`; without it, it is recognised by its form.")]
OfMessage = Annotated[str | None, Query(max_length=60, description="Only what is about this message.")]
Category = Annotated[str | None, Query(max_length=30, description="Only this category.", examples=["unknown-user"])]
Provider = Annotated[str | None, Query(max_length=100, description="Only this mailbox provider's.", examples=["gmail"])]
MailId = Annotated[UUID, Path(description="The mail's id.")]
BounceId = Annotated[UUID, Path(description="The fact's id.")]
SuppressionId = Annotated[UUID, Path(description="The suppression's id.")]

_RAW = {"message/rfc822": {"schema": {"type": "string", "format": "binary"}, "example": "From: mailer-daemon@…"}}


@router.post(
    "/mails",
    status_code=202,
    openapi_extra={"requestBody": {"required": True, "content": _RAW}},
)
async def hand_in_mail(
    request: Request,
    principal: Writer,
    recipient: Annotated[str, Query(max_length=320, description="The envelope's recipient, if known.")] = "",
) -> MailShown:
    """Submit a bounce mail as message/rfc822; 202 once its bytes are stored. It is read at once, unless the service has
    just started: then its state is `waiting`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "message/rfc822":
        raise UnsupportedMedia("Send the original mail as message/rfc822; a zip or mbox goes to POST mails:import.")
    raw = await request.body()
    if not raw.strip():
        raise BadRequest("The body is empty; send the whole mail with its headers.")
    if "\x00" in recipient:
        raise Invalid("An envelope recipient must not contain NUL.", pointer="recipient")
    deps = deps_of(request)
    owner = (principal.tenant, principal.mode)
    mail = await keep_mail(deps, recipient, raw, owner)
    if mail.state == "waiting":
        if not await rules_ready(deps):
            return shown_mail(mail)  # the reader's loop reads it
        try:
            await read_kept(deps, [mail])
        except Transient:
            return shown_mail(mail)  # the reader's loop retries it
        mail = await queries.mail(deps.reads, principal, mail.id)
    return shown_mail(mail)


@router.get("/mails", summary="Bounce mails")
async def list_mails(
    request: Request,
    principal: Reader,
    state: Annotated[
        Literal["waiting", "read", "backscatter"] | None, Query(description="How far it has been processed.")
    ] = None,
    outcome: Annotated[
        str | None, Query(max_length=100, description="Only this outcome.", examples=["undetermined"])
    ] = None,
    message: OfMessage = None,
    since: Annotated[AwareDatetime | None, Query(description="Arrived at or after this time.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Arrived before this time.")] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[MailShown]:
    """List mails with their outcomes, newest first: those submitted by this key's tenant and mode, and those that came
    by SMTP or LMTP and were found to be about its messages."""
    wanted = MailFilter(
        (principal.tenant, principal.mode),
        limit + 1,
        STATES.index(state) if state else None,
        _clean(outcome, "outcome"),
        _clean(message, "message"),
        sensible(since, "since") if since else None,
        sensible(until, "until") if until else None,
        read_cursor(cursor, datetime, UUID),
    )
    found = await deps_of(request).reads.mails(wanted)
    return page_of(found, limit, shown_mail, lambda mail: (mail.received_at, mail.id))


@router.get("/mails/{id}")
async def get_mail(request: Request, principal: Reader, id: MailId) -> MailShown:
    """Return a mail's outcome."""
    return shown_mail(await queries.mail(deps_of(request).reads, principal, id))


@router.get("/bounces")
async def list_bounces(
    request: Request,
    principal: Reader,
    recipient: Recipient = None,
    address: Address = None,
    kind: OfKind = None,
    message: OfMessage = None,
    category: Category = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[BounceShown]:
    """List facts about addresses, newest first."""
    deps = deps_of(request)
    require_category(category)
    wanted = Filter(
        principal.tenant,
        principal.mode,
        limit + 1,
        read_cursor(cursor, datetime, UUID),
        queries.hash_of(deps.hasher, address, kind) if address else None,
        _clean(recipient, "recipient"),
        _clean(message, "message"),
        category,
    )
    rows = await deps.reads.bounces(wanted)
    return page_of(rows, limit, shown_bounce, lambda row: (row["at"], row["id"]))


@router.get("/bounces/{id}")
async def get_bounce(request: Request, principal: Reader, id: BounceId) -> BounceShown:
    """Return one fact; suppressions refer to it as `bounce` and in `proofs`."""
    return shown_bounce(await queries.bounce(deps_of(request).reads, principal, id))


@router.get("/suppressions")
async def list_suppressions(
    request: Request,
    principal: Reader,
    recipient: Recipient = None,
    address: Address = None,
    kind: OfKind = None,
    active: Annotated[bool | None, Query(description="true: in force; false: lifted or expired.")] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[SuppressionShown]:
    """List active and past suppressions, newest change first."""
    deps = deps_of(request)
    wanted = Filter(
        principal.tenant,
        principal.mode,
        limit + 1,
        read_cursor(cursor, datetime, UUID),
        queries.hash_of(deps.hasher, address, kind) if address else None,
        _clean(recipient, "recipient"),
        active=active,
    )
    found = await deps.reads.suppressions(wanted)
    return page_of(
        found,
        limit,
        lambda suppression: SuppressionShown(**shown_suppression(suppression)),
        lambda suppression: (suppression.changed_at, suppression.id),
    )


@router.get("/suppressions/{id}")
async def get_suppression(request: Request, principal: Reader, id: SuppressionId) -> SuppressionExplained:
    """Return one suppression with its evidence."""
    found = await queries.explained(deps_of(request).reads, principal, id)
    evidence = [shown_bounce(row) for row in found.evidence]
    return SuppressionExplained(**shown_suppression(found.suppression), evidence=evidence)


@router.post("/suppressions", status_code=201)
async def add_suppression(
    request: Request, response: Response, principal: Writer, body: SuppressionBody
) -> SuppressionShown:
    """Bar an address by hand, from the next claim on."""
    deps = deps_of(request)
    hashed = queries.hash_of(deps.hasher, body.address, body.kind)
    placed = await suppress_by_hand(deps, principal, hashed, _SCOPES[body.scope], body.note)
    response.headers["location"] = f"/bounce/v1/suppressions/{placed.id}"
    return SuppressionShown(**shown_suppression(placed))


@router.post("/suppressions/{id}:lift")
async def lift(request: Request, principal: Writer, id: SuppressionId, body: LiftBody) -> SuppressionShown:
    """End a suppression; only new evidence places it again."""
    return SuppressionShown(**shown_suppression(await lift_suppression(deps_of(request), principal, id, body.note)))


_SCOPES = {"all": Scope.ALL, "marketing": Scope.MARKETING}


def shown_mail(mail: Mail) -> MailShown:
    """Return a mail's response."""
    return MailShown(
        id=mail.id, state=mail.state, outcome=mail.outcome, message=mail.message, received_at=mail.received_at
    )


def shown_bounce(row: Any) -> BounceShown:
    """Return a fact's response."""
    category = CATEGORIES[row["category"]]
    fields = {name: row[name] for name in BounceShown.model_fields if name not in ("group", "action", "mail")}
    fields |= {"decision": Decision(row["decision"]).word, "provider": row["provider"] or None}
    if fields["template"] is None and fields["text"] is not None:  # stored only where no rule decided
        fields["template"] = template_of(fields["text"])
    return BounceShown(**fields, group=category.group, action=category.action, mail=row["mail_id"])


def shown_suppression(item: Suppression) -> dict[str, Any]:
    """Return the fields of SuppressionShown."""
    return {
        "id": item.id,
        "scope": item.key.scope.word,
        "reason": item.reason.word,
        "sentence": item.reason.text.sentence,
        "active": item.active,
        "version": item.version,
        "changed_at": item.changed_at,
        "actor": item.actor,
        "recipient": item.recipient,
        "message": item.message,
        "bounce": item.bounce_id,
        "note": item.note,
        "category": item.cause.category or None,
        "provider": item.cause.provider or None,
        "rule": item.cause.rule,
        "rule_set": item.cause.rule_set,
        "policy": item.cause.policy or None,
        "proofs": list(item.cause.evidence),
    }


def require_category(category: str | None) -> None:
    """Check a filter. Raises Invalid: no category at all would look like one without facts."""
    if category is not None and category not in CATEGORIES:
        raise Invalid(f"There is no such category; the categories are {', '.join(CATEGORIES)}.", pointer="category")


def _clean(text: str | None, name: str) -> str | None:
    if text is not None and "\x00" in text:
        raise Invalid("A search term must not contain NUL.", pointer=name)
    return text


def sensible(moment: datetime, pointer: str) -> datetime:
    """Check a time that calendars can compute with. Raises Invalid."""
    if not 1990 <= moment.year <= 2200:
        raise Invalid("Give a time between 1990 and 2200.", pointer=pointer)
    return moment.astimezone(UTC)


def period(since: datetime, until: datetime | None, now: datetime, *, at: str = "/") -> tuple[datetime, datetime]:
    """Check a period, which ends now without `until`. `at`: what precedes the fields' pointers; "" in a query. Raises
    Invalid."""
    first, last = sensible(since, f"{at}since"), sensible(until or now, f"{at}until")
    if first >= last:
        said = "`until`" if until else "now"
        raise Invalid(f"`since` must be before {said}: {last.isoformat(timespec='seconds')}.", pointer=f"{at}since")
    return first, last


def deps_of(request: Request) -> Bounce:
    """Return the application's dependencies."""
    deps: Bounce = request.app.state.deps
    return deps
