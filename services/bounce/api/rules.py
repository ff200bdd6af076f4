"""Rules over HTTP: created, changed with If-Match, retired; nothing is in force before a rule set is published."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response

from libs.auth import Principal, scope
from libs.errors import Conflict, Invalid
from libs.paging import INTEGERS, After, Limit, Page, next_cursor, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.bounce import queries
from services.bounce.api import Category, Reader, deps_of
from services.bounce.api.rule_shapes import (
    NewRule,
    RuleBody,
    RuleCounts,
    RuleDocument,
    RuleShown,
    RuleVersion,
    StateWord,
    shown_entry,
)
from services.bounce.domain.rules.assembling import switched_off
from services.bounce.domain.rules.entries import Entry, State, Wanted
from services.bounce.domain.rules.rule import Layer
from services.bounce.handlers import Bounce
from services.bounce.handlers import rules as handlers
from services.bounce.handlers.reports import counted
from services.bounce.handlers.rule_sets import in_force
from services.bounce.ports.rules import RuleFilter

router = Router(prefix="/v1/rules", tags=["rules"])

Author = Annotated[Principal, scope("rules:write")]
IdInPath = Annotated[
    str, Path(max_length=80, pattern=r"^[a-z0-9][a-z0-9-]*$", description="The rule's id.", examples=["our-house-rule"])
]


@router.get("")
async def list_rules(
    request: Request,
    principal: Reader,
    layer: Annotated[
        Literal["shipped", "organisation", "emergency"] | None, Query(description="Only rules of this layer.")
    ] = None,
    state: Annotated[StateWord | None, Query(description="Only rules in this state.")] = None,
    category: Category = None,
    provider: Annotated[
        str | None, Query(max_length=100, description="Only rules for this mailbox provider.", examples=["gmail"])
    ] = None,
    text: Annotated[str | None, Query(max_length=200, description="Occurs in id, words, note or examples.")] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[RuleShown]:
    """List all rules by id, including the shipped ones."""
    deps = deps_of(request)
    if any("\x00" in (term or "") for term in (category, provider, text)):
        raise Invalid("A search term must not contain NUL.", pointer="text")
    (after,) = read_cursor(cursor, str) or ("",)
    wanted = RuleFilter(
        limit + 1,
        after,
        Layer.parse(layer) if layer else None,
        State.parse(state) if state else None,
        category,
        provider,
        text,
    )
    found = await queries.rules(deps.workshop.shipped, deps.rules, wanted)
    shown = await _shown(deps, principal, found[:limit])
    return Page(items=shown, next_cursor=next_cursor(found, limit, lambda rule: (rule.id,)))


@router.post("", status_code=201)
async def create_rule(request: Request, response: Response, principal: Author, body: NewRule) -> RuleShown:
    """Create a rule. It is tested with its examples, and those that it would not decide are listed under `lost`."""
    deps = deps_of(request)

    def match(version: int | None) -> None:
        if version is not None:
            raise Conflict(f"The rule {body.id} exists already; change it with PUT, or choose another id.")

    saved = await handlers.put_rule(deps, principal, wanted_of(body.id, body), match)
    response.headers["location"] = f"/bounce/v1/rules/{body.id}"
    response.headers["etag"] = etag(saved.entry.version)
    return shown_entry(saved.entry, None, saved.lost)


@router.get("/{id}")
async def show_rule(request: Request, response: Response, principal: Reader, id: IdInPath) -> RuleShown:
    """Return a rule, with the ETag that an edit sends as If-Match."""
    deps = deps_of(request)
    entry = await deps.rules.get(id)
    if entry is None and id in deps.workshop.shipped.documents:
        entry = queries.shipped_entry(deps.workshop.shipped, id)
    if entry is None:
        raise handlers.unknown(deps, id)
    response.headers["etag"] = etag(entry.version)
    return (await _shown(deps, principal, [entry]))[0]


@router.put("/{id}", responses={201: {"description": "Created.", "model": RuleShown}}, openapi_extra=EDIT)
async def put_rule(request: Request, response: Response, principal: Author, id: IdInPath, body: RuleBody) -> RuleShown:
    """Create a rule (201) or change it (200; needs If-Match). The rules in force stay until a set is published."""
    deps = deps_of(request)
    saved = await handlers.put_rule(
        deps, principal, wanted_of(id, body), lambda version: require_match(request, version)
    )
    response.status_code = 201 if saved.created else 200
    response.headers["etag"] = etag(saved.entry.version)
    return shown_entry(saved.entry, await _version_in_force(deps, id), saved.lost)


@router.post("/{id}:retire")
async def retire_rule(request: Request, response: Response, principal: Author, id: IdInPath) -> RuleShown:
    """Retire a rule; the next rule set is without it."""
    deps = deps_of(request)
    entry = await handlers.retire_rule(deps, principal, id)
    response.headers["etag"] = etag(entry.version)
    return shown_entry(entry, await _version_in_force(deps, id))


@router.get("/{id}/history")
async def list_versions(
    request: Request, principal: Reader, id: IdInPath, limit: Limit = 100, cursor: After = None
) -> Page[RuleVersion]:
    """List every version of a rule and its author, newest first."""
    deps = deps_of(request)
    if await deps.rules.get(id) is None:
        raise handlers.unknown(deps, id)
    (below,) = read_cursor(cursor, int) or (INTEGERS - 1,)
    rows = await deps.rules.versions(id, below, limit + 1)
    return page_of(rows, limit, _version, lambda row: (row["version"],))


def _version(row: Mapping[str, Any]) -> RuleVersion:
    return RuleVersion(**{**row, "state": State(row["state"]).word, "document": RuleDocument(**row["document"])})


def wanted_of(id_: str, body: RuleBody) -> Wanted:
    """Return the rule that a body asks for."""
    return Wanted(id_, Layer.parse(body.layer), State.parse(body.state), body.document())


async def _version_in_force(deps: Bounce, id_: str) -> int | None:
    record = await in_force(deps)
    return next((rule.version for rule in record.rules if rule.id == id_), None)


async def _shown(deps: Bounce, principal: Principal, entries: list[Entry]) -> list[RuleShown]:
    record = await in_force(deps)
    versions: Mapping[str, int] = {rule.id: rule.version for rule in record.rules}
    off = switched_off(record.rules)
    counts = await counted(deps, principal, [entry.id for entry in entries])
    found = []
    for entry in entries:
        shipped = entry.layer is Layer.SHIPPED
        version = versions.get(entry.id) if not shipped else None if entry.id in off else 0
        found.append(
            shown_entry(entry, version).model_copy(
                update={"switched_off_by": off.get(entry.id), "hits": RuleCounts(**counts[entry.id])}
            )
        )
    return found
