"""Bulk decisions over HTTP: an undo, a breaker's parked addresses."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.errors import Invalid
from libs.web import Router
from services.bounce.api import Writer, deps_of, period, shown_suppression
from services.bounce.api.shapes import Note, SuppressionShown
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.undoing import Selection
from services.bounce.handlers.people import drop_parked, release_parked, undo_suppressions
from services.bounce.ports import Preview

router = Router(prefix="/v1", tags=["bounces"])

EXAMPLES = 20
_BODY: dict[str, Any] = {
    "provider": "gmail",
    "since": "2027-03-01T08:00:00Z",
    "until": "2027-03-01T12:00:00Z",
    "preview": True,
    "note": "Gmail answered wrongly this morning",
}
_GROUP: dict[str, Any] = {
    "category": "unknown-user",
    "provider": "gmail",
    "rule": "",
    "policy": "trusted-provider",
    "count": 811,
}


class UndoBody(BaseModel):
    """What to undo: bars that began within the time and match every given filter. At least one filter is required."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_BODY]})
    since: AwareDatetime
    until: AwareDatetime | None = Field(None, description="Default: now.")
    provider: str | None = Field(None, max_length=100)
    rule: str | None = Field(None, max_length=200, description="The rule that gave the category.")
    rule_set: str | None = Field(None, max_length=100, description="The version of the rules.")
    category: str | None = Field(None, max_length=30, description="Complaints are undone only if named here.")
    preview: bool = Field(False, description="Only report what would change.")
    note: Note


class UndoGroup(BaseModel):
    """Suppressions that began for the same reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [_GROUP]})
    category: str
    provider: str
    rule: str
    policy: str
    count: int


class UndoExample(SuppressionShown):
    """One of them, with the server's words."""

    said: str | None


class UndoShown(BaseModel):
    """What was undone, or would be. `void`: facts that no longer count as proof; `dropped`: parked addresses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"preview": True, "lifted": 811, "dropped": 12, "void": 840, "groups": [_GROUP], "examples": []}
            ]
        }
    )
    preview: bool
    lifted: int
    dropped: int
    void: int
    groups: list[UndoGroup] = Field(default_factory=list)
    examples: list[UndoExample] = Field(default_factory=list)


class DecisionBody(BaseModel):
    """Why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"note": "Gmail's status page says it was an outage"}]}
    )
    note: Note


class Decided(BaseModel):
    """The number of addresses concerned."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"count": 188}]})
    count: int


Breaker = Annotated[UUID, Path(description="From GET breakers.")]


@router.post("/suppressions:undo", summary="Undo suppressions in bulk")
async def undo(request: Request, principal: Writer, body: UndoBody) -> UndoShown:
    """Lift what began within a time, by provider, rule or category; `preview` shows what that would be.

    The facts behind it no longer count as proof, so the next fact alone does not bar. Delivery receives each change
    within a second; the audit has one entry per thousand. Suppressions placed by hand stay.
    """
    deps = deps_of(request)
    wanted = _selection(body, (principal.tenant, principal.mode), deps.clock())
    if not body.preview:
        done = await undo_suppressions(deps, principal, wanted, body.note)
        return UndoShown(preview=False, lifted=done.lifted, dropped=done.dropped, void=done.void)
    return previewed(await deps.suppressions.preview(wanted, EXAMPLES))


def previewed(seen: Preview) -> UndoShown:
    """Return what an undo would change."""
    return UndoShown(
        preview=True,
        lifted=seen.counts.lifted,
        dropped=seen.counts.dropped,
        void=seen.counts.void,
        groups=[UndoGroup(**group) for group in seen.groups],
        examples=[UndoExample(**shown_suppression(item), said=said) for item, said in seen.examples],
    )


@router.post("/breakers/{id}:release", summary="Believe the provider")
async def release(request: Request, principal: Writer, id: Breaker, body: DecisionBody) -> Decided:
    """Bar what the breaker has parked: the mailboxes are indeed gone. What it saw counts as usual from now on."""
    return Decided(count=await release_parked(deps_of(request), principal, id, body.note))


@router.post("/breakers/{id}:drop", summary="Do not believe the provider")
async def drop(request: Request, principal: Writer, id: Breaker, body: DecisionBody) -> Decided:
    """Drop what the breaker has parked: it was an outage."""
    return Decided(count=await drop_parked(deps_of(request), principal, id, body.note))


def _selection(body: UndoBody, realm: tuple[int, Any], now: Any) -> Selection:
    since, until = period(body.since, body.until, now)
    if not (body.provider or body.rule or body.rule_set or body.category):
        raise Invalid(
            "Name a provider, a rule, a rule set or a category; time alone is too broad.", pointer="/provider"
        )
    if body.category is not None and body.category not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise Invalid(f"There is no such category; the categories are {known}.", pointer="/category")
    return Selection(*realm, since, until, body.provider, body.rule, body.rule_set, body.category)
