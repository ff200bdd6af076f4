"""HTTP in: search and count the audit."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from libs.auth import Principal
from libs.contracts.outcomes import Channel, ReceiptKind, Status
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.ids import parse_message_id
from libs.paging import Page, make_cursor, read_cursor
from libs.web import ExactResponse, Router
from services.history.api.reading import Reader, deps_of, key_of, mask_of, no_control_characters
from services.history.api.records import CountsShown, RecordShown, counted, shown
from services.history.domain.records import KINDS
from services.history.domain.search import (
    GROUPED,
    INTERVALS,
    MOST_CHARACTERS,
    MOST_VALUES,
    AuditSearch,
    Grouping,
    check_grouping,
    check_range,
    foreign_cursor,
    terms_of,
)
from services.history.ports import History

router = Router(prefix="/v1", tags=["history"])

_DEFAULT_SPAN = timedelta(days=30)
_CLOCKS_APART = timedelta(minutes=1)
_NOT_FILTERS = {"q", "since", "until", "address", "limit", "cursor", "by", "zone"}


def _one_of(words: Iterable[str]) -> tuple[AfterValidator, WithJsonSchema]:
    known = tuple(words)

    def check(word: str) -> str:
        if word not in known:
            raise ValueError(f"Unknown value {word[:50]!r}; use one of {', '.join(known)}.")
        return word

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": list(known)})


Kind = Annotated[str, *_one_of(KINDS)]
StatusWord = Annotated[str, *_one_of(status.word for status in Status)]
ChannelWord = Annotated[str, *_one_of(channel.word for channel in Channel)]
ReceiptWord = Annotated[str, *_one_of(kind.word for kind in ReceiptKind)]
ReasonWord = Annotated[str, *_one_of(["requested", *(reason.word for reason in Reason if reason)])]
CountedBy = Annotated[str, *_one_of((*GROUPED, *INTERVALS))]
Text = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
Small = Annotated[int, Field(ge=0, le=32_767)]


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def _in_reach(moment: datetime) -> datetime:
    if not _FIRST <= moment <= _LAST:
        raise ValueError(f"give a time between {_FIRST.year} and {_LAST.year}")  # ids cannot encode other years
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_in_reach)]


def _any(description: str, *examples: Any) -> Any:
    """A filter that may be repeated: a record matches if any of the values does."""
    return Field([], max_length=MOST_VALUES, description=description, examples=[list(examples)] if examples else None)


class Asked(BaseModel):
    """Filters. A repeated field matches any of its values; different fields must all match."""

    model_config = ConfigDict(extra="forbid")
    q: str | None = Field(
        None,
        max_length=MOST_CHARACTERS,
        description='Words that must all occur; "a phrase", -without. Searched in texts, or equal to an order, '
        "recipient, event, action's object or provider's code.",
        examples=['"user unknown" -gmail'],
    )
    since: Moment | None = Field(None, alias="from", description="Start, inclusive; 30 days before `to` by default.")
    until: Moment | None = Field(None, alias="to", description="End, exclusive; now by default. At most 366 days.")
    kind: list[Kind] = _any("Kind of record.")
    type: list[Text] = _any("The event's type.", "bounce.classified")
    status: list[StatusWord] = _any("A message's new status.", "failed")
    was: list[StatusWord] = _any("A message's previous status.")
    reason: list[ReasonWord] = _any("Reason; `requested`: the decision led to a notification.", "no_consent")
    channel: list[ChannelWord] = _any("Channel.", "email")
    communication: list[Text] = _any("Communication.", "parcel-shipped")
    cause: list[UUID] = _any("Accepted event, wave or action.")
    release: list[UUID] = _any("Release.")
    notification: list[UUID] = _any("Notification.")
    message: list[Text] = _any("Message.")
    order: list[Text] = _any("The events' subject.", "A-1042")
    recipient: list[Text] = _any("A recipient's key.", "customer:1042")
    address: str | None = Field(None, max_length=320, description="An e-mail address or phone number; hashed on entry.")
    sender: list[Small] = _any("The sender's number.")
    attempt: list[Small] = _any("Number of the attempt.")
    locale: list[Text] = _any("Locale.", "de")
    provider: list[Text] = _any("Provider that reported it.")
    provider_ref: list[Text] = _any("The provider's own id.")
    receipt: list[ReceiptWord] = _any("Kind of receipt.", "bounced")
    reply_code: list[Small] = _any("Reply code of the provider's server.", 550)
    enhanced_code: list[Text] = _any("RFC 3463.", "5.1.1")
    error: list[Text] = _any("The provider's own code.", "UNREGISTERED")
    final: bool | None = Field(None, description="Whether a refusal was permanent.")
    category: list[Text] = _any("A bounce's category.", "mailbox-full")
    group: list[Text] = _any("A bounce's group: hard, soft, block, other.", "hard")
    origin: list[Text] = _any("Where a bounce was seen: mail, session, receipt, manual.")
    scope: list[Text] = _any("A suppression's scope: all, marketing.")
    active: bool | None = Field(None, description="Whether a suppression was placed or lifted.")
    event_id: list[Text] = _any("The producer's event id.")
    event_type: list[Text] = _any("The business event's type.", "order.placed")
    event_source: list[Text] = _any("The business event's source.")
    actor: list[Text] = _any("Who did it: a key's id, or a service.")
    action: list[Text] = _any("The action.", "hold.place")
    object: list[Text] = _any("The action's object.")


class Searched(Asked):
    """A page of records."""

    limit: int = Field(50, ge=1, le=1000, description="Records per page.")
    cursor: str | None = Field(None, max_length=60_000, description="`next_cursor` of the previous page.")


class Counted(Asked):
    """What to count by."""

    by: list[CountedBy] = Field(
        min_length=1, max_length=2, description="One or two fields.", examples=[["day", "status"]]
    )
    zone: str = Field("UTC", max_length=60, description="Time zone of days and hours.", examples=["Europe/Berlin"])


@router.get("/audit")
async def search_audit(request: Request, principal: Reader, asked: Annotated[Searched, Query()]) -> Page[RecordShown]:
    """Everything that happened, newest first: decisions, messages' transitions, receipts, refusals and other events.

    Pages stay consistent while records arrive: none twice, none left out. Request the next page within five
    minutes.
    """
    deps = deps_of(request)
    wanted, after = _resumed(deps, principal, asked)
    page = await deps.audit.search(wanted, asked.limit, after)
    mask, whole = mask_of(principal), principal.may("pii:read")
    frozen = (wanted.fingerprint(), wanted.since, wanted.until)
    return Page(
        items=[shown(record, mask, whole=whole) for record in page.records],
        next_cursor=make_cursor(*frozen, page.after) if page.after else None,
    )


@router.get("/audit/counts", response_class=ExactResponse, responses={200: {"model": CountsShown}})
async def count_audit(request: Request, principal: Reader, asked: Annotated[Counted, Query()]) -> Response:
    """Count records by day, status, reason, channel …; only records that have all of the fields are counted.

    Records are counted, not messages: a message that was put back and then sent has two transitions. `status=sent`
    counts each message once.
    """
    deps = deps_of(request)
    by = tuple(asked.by)
    check_grouping(by)
    until = asked.until or deps.clock() + _CLOCKS_APART
    wanted = _wanted(deps, principal, asked, asked.since or until - _DEFAULT_SPAN, until)
    groups = await deps.audit.counts(wanted, Grouping(by, _zone(asked.zone)))
    return ExactResponse(counted(by, groups).model_dump(mode="json"))


def _resumed(deps: History, principal: Principal, asked: Searched) -> tuple[AuditSearch, list[Any] | None]:
    """Return the query and the place where its next page starts. A cursor keeps the first page's time range."""
    place = read_cursor(asked.cursor, str, datetime, datetime, list)
    if place is None:
        until = asked.until or deps.clock() + _CLOCKS_APART
        return _wanted(deps, principal, asked, asked.since or until - _DEFAULT_SPAN, until), None
    fingerprint, since_then, until_then, after = place
    if not all(_FIRST <= moment <= _LAST for moment in (since_then, until_then)):
        raise foreign_cursor()
    wanted = _wanted(deps, principal, asked, asked.since or since_then, asked.until or until_then)
    if wanted.fingerprint() != fingerprint:
        raise foreign_cursor()
    return wanted, after


def _wanted(deps: History, principal: Principal, asked: Asked, since: datetime, until: datetime) -> AuditSearch:
    no_control_characters({"q": asked.q, "address": asked.address})
    check_range(since, until)
    filters: dict[str, tuple[Any, ...]] = {}
    for name in type(asked).model_fields.keys() - _NOT_FILTERS:
        value = getattr(asked, name)
        if value not in (None, []):
            filters["subject" if name == "order" else name] = tuple(value) if isinstance(value, list) else (value,)
    for name in ("cause", "release", "notification"):
        if name in filters:
            filters[name] = tuple(str(value) for value in filters[name])
    _messages(filters.get("message", ()))
    if asked.address:
        filters["address_key"] = (key_of(deps.hasher, asked.address),)
    return AuditSearch(principal.tenant, principal.mode, since, until, filters, terms_of(asked.q))


def _messages(given: tuple[str, ...]) -> None:
    for id_ in given:
        try:
            parse_message_id(id_)
        except ValueError as error:
            raise Invalid(f"{error}. Timelines show it as `message`.", pointer="message") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"There is no time zone {name!r}; write it like Europe/Berlin.", pointer="zone") from error
