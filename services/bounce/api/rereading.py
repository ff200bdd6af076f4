"""Mails read again by today's rules, while their bytes are kept."""

from datetime import timedelta

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.errors import Conflict, Invalid
from libs.web import Router
from services.bounce import queries
from services.bounce.api import MailId, Writer, deps_of, period, shown_mail
from services.bounce.api.shapes import MailShown
from services.bounce.handlers.mails import read_again
from services.bounce.ports.mails import Rereading

_MOMENT = timedelta(microseconds=1)

router = Router(prefix="/v1", tags=["bounces"])


class RereadBody(BaseModel):
    """Mails of a time span, by arrival, and of one outcome."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"since": "2027-03-01T00:00:00Z", "outcome": "undetermined", "preview": True}]},
    )
    since: AwareDatetime
    until: AwareDatetime | None = Field(None, description="Default: now.")
    outcome: str | None = Field(None, max_length=100, description="As in `GET mails/{id}`.")
    preview: bool = Field(False, description="Only report how many.")


class Reread(BaseModel):
    """The number of mails that are read again, or would be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 1204, "preview": True}]})
    count: int
    preview: bool


@router.post("/mails:reclassify", summary="Read mails again")
async def reclassify_many(request: Request, principal: Writer, body: RereadBody) -> Reread:
    """Read mails again by today's rules, within seconds. New facts count for the day on which the mail arrived; facts
    that the new reading lacks become `void`, and what they barred is lifted."""
    deps = deps_of(request)
    since, until = period(body.since, body.until, deps.clock())
    if body.outcome and "\x00" in body.outcome:
        raise Invalid("An outcome must not contain NUL.", pointer="/outcome")
    wanted = Rereading((principal.tenant, principal.mode), since, until, body.outcome)
    count = await (deps.mails.count_readable(wanted) if body.preview else read_again(deps, principal, wanted))
    return Reread(count=count, preview=body.preview)


@router.post("/mails/{id}:reclassify", status_code=202, summary="Read a mail again")
async def reclassify(request: Request, principal: Writer, id: MailId) -> MailShown:
    """Read one mail again; it is `waiting` until then."""
    deps = deps_of(request)
    found = await queries.mail(deps.reads, principal, id)
    wanted = Rereading((principal.tenant, principal.mode), found.received_at, found.received_at + _MOMENT, id=id)
    if found.state != "waiting" and not await read_again(deps, principal, wanted):
        raise Conflict("Its bytes are no longer stored, so it cannot be read again.")
    return shown_mail(await queries.mail(deps.reads, principal, id))
