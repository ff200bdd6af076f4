"""`/v1/dead-letters` of every service: events that its subscribers failed to process, for people to work with.

    GET  /v1/dead-letters             list them, the latest first; filter by type, subscriber, words of the reason
    GET  /v1/dead-letters/{id}        one, with its payload
    GET  /v1/dead-letters:groups      count them by type, subscriber and reason
    POST /v1/dead-letters:replay      deliver again to the subscriber that failed, by ids or by filter
    POST /v1/dead-letters:discard     by ids or by filter, with a note

Unreadable events name no tenant: live keys of tenant 1 list them along with their own, and can discard them.

Without `pii:read` a payload shows its numbers, booleans, ids and times; all other strings are hidden.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs import exact_json
from libs.auth import Principal, scope
from libs.errors import BadRequest, NotFound
from libs.messaging.dead_letters import MOST_AT_ONCE, DeadLetter, DeadLetters, Done, Wanted, find, groups
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.privacy import masked_key, redacted
from libs.web import Router

router = Router(prefix="/v1", tags=["dead letters"])

Reader = Annotated[Principal, scope("dead-letters:read")]
Writer = Annotated[Principal, scope("dead-letters:write")]

_PLAIN = r"^[^\x00-\x1f\x7f]+$"
_MASK = "…"
_TELLS_NOBODY = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
)

Type = Annotated[
    str | None, Query(max_length=200, pattern=_PLAIN, description="Only this event type: `message.rejected`.")
]
OfSubscriber = Annotated[
    str | None, Query(max_length=63, pattern=_PLAIN, description="Only those of this subscriber: `history`.")
]
Words = Annotated[str | None, Query(max_length=200, pattern=_PLAIN, description="Words that the reason contains.")]
_Three = tuple[str | None, str | None, str | None]  # type, subscriber, reason


def _fitting(type: Type = None, subscriber: OfSubscriber = None, reason: Words = None) -> _Three:
    return type, subscriber, reason


Fitting = Annotated[_Three, Depends(_fitting)]
Id = Annotated[UUID, Path(description="The dead letter's id.")]


class DeadLetterShown(BaseModel):
    """An event that one subscriber failed to process."""

    id: UUID
    event_id: UUID
    type: str = Field(examples=["message.rejected"])
    source: str = Field(examples=["delivery"])
    subscriber: str = Field(examples=["bounce"])
    subject: str | None = Field(examples=["100045"])
    created_at: datetime
    dead_at: datetime = Field(description="When retrying ended.")
    attempts: int
    reason: str = Field(examples=["invalid: There is no suppression scope 'none'."])
    traceparent: str | None = Field(examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
    tenant: int = Field(
        description="0: the event is unreadable and names no tenant; only operators of the suite see it."
    )


class DeadLetterWhole(DeadLetterShown):
    """A dead letter with its payload; strings are hidden without pii:read."""

    payload: Any


class DeadLetterGroup(BaseModel):
    """The dead letters of one type, subscriber and reason."""

    type: str = Field(examples=["message.rejected"])
    subscriber: str = Field(examples=["bounce"])
    reason: str = Field(examples=["invalid: There is no suppression scope 'none'."])
    count: int
    oldest: datetime
    newest: datetime


class DeadLetterGroups(BaseModel):
    """The largest groups first, a hundred at most."""

    items: list[DeadLetterGroup]


class _Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ids: list[UUID] | None = Field(None, min_length=1, max_length=MOST_AT_ONCE)
    type: Annotated[str, StringConstraints(max_length=200, pattern=_PLAIN)] | None = None
    subscriber: Annotated[str, StringConstraints(max_length=63, pattern=_PLAIN)] | None = None
    reason: Annotated[str, StringConstraints(max_length=200, pattern=_PLAIN)] | None = None
    until: AwareDatetime | None = Field(
        None, description="Only those that died at or before this time; use `at` of the first response."
    )
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = MOST_AT_ONCE

    @model_validator(mode="after")
    def _says_which(self) -> "_Chosen":
        if self.ids is None and not (self.type or self.subscriber or self.reason):
            raise ValueError("Select which: give ids, type, subscriber or reason.")
        return self

    def wanted(self, principal: Principal) -> Wanted:
        realm = (principal.tenant, int(principal.mode))
        return Wanted(*realm, self.ids, self.type, self.subscriber, self.reason, self.until)


class ReplayDeadLetters(_Chosen):
    """Which dead letters to replay, the oldest first, at most `limit`; repeat while `more` is true."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"type": "message.rejected", "subscriber": "bounce"}}
    )


class DiscardDeadLetters(_Chosen):
    """Which dead letters to discard, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"type": "message.rejected", "reason": "suppression", "note": "test data"}},
    )
    note: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_PLAIN)]


class DeadLettersDone(BaseModel):
    """The dead letters that were handled. `more`: the limit was reached and others may match. Repeat with `until` =
    `at`; otherwise those that fail again meanwhile are included too."""

    count: int
    ids: list[UUID]
    at: datetime | None
    more: bool
    unreadable: int = Field(
        0, description="How many more matched but are unreadable, so that there is no event to replay."
    )


@router.get("/dead-letters")
async def list_dead_letters(
    request: Request, principal: Reader, fitting: Fitting, limit: Limit = 100, cursor: After = None
) -> Page[DeadLetterShown]:
    """List the events of this service that subscribers failed to process, the latest first."""
    wanted = Wanted(principal.tenant, int(principal.mode), None, *fitting)
    found = await find(_database(request), wanted, read_cursor(cursor, datetime, UUID), limit + 1)
    return page_of(found, limit, lambda letter: _shown(letter, principal), lambda letter: (letter.dead_at, letter.id))


@router.get("/dead-letters:groups")
async def group_dead_letters(request: Request, principal: Reader, fitting: Fitting) -> DeadLetterGroups:
    """Count the dead letters by type, subscriber and reason: what to fix first."""
    wanted = Wanted(principal.tenant, int(principal.mode), None, *fitting)
    found = await groups(_database(request), wanted, 100)
    return DeadLetterGroups(items=[DeadLetterGroup(**one | {"reason": redacted(one["reason"])}) for one in found])


@router.get("/dead-letters/{id}")
async def get_dead_letter(request: Request, principal: Reader, id: Id) -> DeadLetterWhole:
    """Get one dead letter, with its payload."""
    wanted = Wanted(principal.tenant, int(principal.mode), [id])
    for letter in await find(_database(request), wanted, None, 1):
        return DeadLetterWhole(**_shown(letter, principal).model_dump(), payload=_payload(letter, principal))
    raise NotFound(f"There is no dead letter {id} here: it was replayed or discarded, or belongs to another service.")


@router.post("/dead-letters:replay")
async def replay_dead_letters(request: Request, principal: Writer, body: ReplayDeadLetters) -> DeadLettersDone:
    """Deliver them again to the subscriber that failed, after the cause was fixed; a letter that fails again comes
    back. Unreadable ones are not replayed: 409 if named by id, otherwise only counted."""
    now = request.app.state.runtime.clock()
    return _answer(await _letters(request).replay(principal, body.wanted(principal), body.limit, now), body)


@router.post("/dead-letters:discard")
async def discard_dead_letters(request: Request, principal: Writer, body: DiscardDeadLetters) -> DeadLettersDone:
    """Discard them for good. The audit records which they were, who did it and why."""
    about = (body.note, request.app.state.runtime.clock())
    return _answer(await _letters(request).discard(principal, body.wanted(principal), body.limit, about), body)


def _answer(done: Done, body: _Chosen) -> DeadLettersDone:
    return DeadLettersDone(
        count=len(done.ids), ids=done.ids, at=done.at, more=len(done.ids) == body.limit, unreadable=done.unreadable
    )


def _database(request: Request) -> Any:
    return request.app.state.service.database


def _letters(request: Request) -> DeadLetters:
    service = request.app.state.service
    return DeadLetters(service.database, service.name)


def _shown(letter: DeadLetter, principal: Principal) -> DeadLetterShown:
    unmasked = principal.may("pii:read")
    return DeadLetterShown(
        id=letter.id,
        event_id=letter.event_id,
        type=letter.type,
        source=letter.source,
        subscriber=letter.subscriber,
        subject=letter.subject if unmasked or letter.subject is None else masked_key(letter.subject),
        created_at=letter.created_at,
        dead_at=letter.dead_at,
        attempts=letter.attempts,
        reason=letter.reason if unmasked else redacted(letter.reason),
        traceparent=letter.traceparent,
        tenant=letter.tenant,
    )


def _payload(letter: DeadLetter, principal: Principal) -> Any:
    try:
        payload = exact_json.loads(letter.payload)
    except BadRequest:  # poison: this may be the very reason
        payload = letter.payload.decode("utf-8", "replace")
    return payload if principal.may("pii:read") else masked(payload)


def masked(value: Any) -> Any:
    """Return the value with its strings hidden, except ids (UUIDs) and times."""
    if isinstance(value, Mapping):
        return {name: masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    if isinstance(value, str) and not _TELLS_NOBODY.fullmatch(value):
        return _MASK
    return value
