"""Reports about rules over HTTP: which never match, which are always outdone, unmatched texts, disagreements.

Rules apply to all tenants, so those who manage them see the facts of all tenants; others see their own.
"""

from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from libs.errors import Invalid
from libs.paging import BIGINTS, After, Limit, Page, page_of, read_cursor
from libs.web import Router, etag
from services.bounce.api import Provider, Reader, deps_of
from services.bounce.api.report_shapes import (
    Agreement,
    Agreements,
    DeadRule,
    Disagreement,
    HitsOfDay,
    OutdoneRule,
    RuleHits,
    SuggestionBody,
    UnreadText,
)
from services.bounce.api.rule_shapes import RuleShown, shown_entry
from services.bounce.api.rules import Author, IdInPath
from services.bounce.domain.categories import CATEGORIES
from services.bounce.handlers.reports import draft_rule, realm_of, rules_without_a_hit, unread_texts
from services.bounce.ports.reports import OpinionQuery, UnreadQuery

router = Router(prefix="/v1", tags=["rules"])

Days = Annotated[int, Query(ge=1, le=400, description="Number of days (UTC), including today.")]


@router.get("/reports/dead-rules", summary="Rules that never match")
async def dead_rules(
    request: Request, principal: Reader, days: Days = 90, limit: Limit = 100, cursor: After = None
) -> Page[DeadRule]:
    """List rules in force that have not matched for so many days, sorted by id."""
    deps = deps_of(request)
    (after,) = read_cursor(cursor, str) or ("",)
    dead = await rules_without_a_hit(deps, realm_of(principal), _since(request, days))
    rest = [rule for rule in dead if rule["rule"] > after]
    return page_of(rest, limit, lambda rule: DeadRule(**rule), lambda rule: (rule["rule"],))


@router.get("/reports/outdone-rules", summary="Rules that never decide")
async def outdone_rules(
    request: Request, principal: Reader, days: Days = 30, limit: Limit = 100, cursor: After = None
) -> Page[OutdoneRule]:
    """List rules that matched and never decided, the most frequent first, with the rules that decided instead."""
    after = read_cursor(cursor, int, str, below=BIGINTS)
    rows = await deps_of(request).reports.outdone(realm_of(principal), _since(request, days), limit + 1, after)
    return page_of(rows, limit, lambda row: OutdoneRule(**row), lambda row: (row["count"], row["rule"]))


@router.get("/reports/unread-texts", summary="Replies that no rule matches")
async def list_unread(
    request: Request,
    principal: Reader,
    days: Days = 7,
    provider: Provider = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[UnreadText]:
    """List replies that no rule matched when they arrived, by template and provider, the most frequent first."""
    after = read_cursor(cursor, int, UUID, str, below=BIGINTS)
    wanted = UnreadQuery(realm_of(principal), _since(request, days), limit + 1, provider, after=after)
    rows = await unread_texts(deps_of(request), wanted)
    return page_of(
        rows,
        limit,
        lambda row: UnreadText(**row | {"provider": row["provider"] or None}),
        lambda row: (row["count"], row["template_id"], row["provider"]),
    )


@router.post("/reports/unread-texts/{template_id}:rule", status_code=201, summary="Draft a rule for such replies")
async def make_a_rule(
    request: Request,
    response: Response,
    principal: Author,
    template_id: Annotated[UUID, Path(description="From GET reports/unread-texts.")],
    body: SuggestionBody,
) -> RuleShown:
    """Draft a rule for these replies: their longest common words, the provider, the newest one as its example."""
    if body.category is not None and body.category not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise Invalid(f"There is no such category; the categories are {known}.", pointer="/category")
    wanted = UnreadQuery(realm_of(principal), date.min, 1, body.provider, template_id)
    saved = await draft_rule(deps_of(request), principal, wanted, body.category)
    response.headers["location"] = f"/bounce/v1/rules/{saved.entry.id}"
    response.headers["etag"] = etag(saved.entry.version)
    return shown_entry(saved.entry, None, saved.lost)


@router.get("/reports/disagreements", summary="Disagreements")
async def disagreements(
    request: Request,
    principal: Reader,
    days: Days = 30,
    who: Annotated[str | None, Query(max_length=100, description="A vendor, or `model`.", examples=["ses"])] = None,
    limit: Limit = 100,
    cursor: After = None,
) -> Page[Disagreement]:
    """List where a mail vendor or the model gives another category than we do, the most frequent first."""
    after = read_cursor(cursor, int, str, str, str, str, str, below=BIGINTS)
    wanted = OpinionQuery(realm_of(principal), _since(request, days), limit + 1, who, after)
    rows = await deps_of(request).reports.opinions(wanted)
    names = ("count", "who", "other", "category", "rule", "provider")
    return page_of(rows, limit, _disagreement, lambda row: tuple(row[name] for name in names))


def _disagreement(row: Any) -> Disagreement:
    named = {"rule": row["rule"] or None, "provider": row["provider"] or None, "said": row["vendor_class"]}
    return Disagreement(**dict(row) | named)


@router.get("/reports/agreements", summary="Agreements")
async def agreements(request: Request, principal: Reader, days: Days = 30) -> Agreements:
    """Return by vendor, and for the model, the number of facts with an opinion, and how often it was ours."""
    rows = await deps_of(request).reports.agreeing(realm_of(principal), _since(request, days))
    return Agreements(items=[Agreement(**row, share=round(row["agreeing"] / row["facts"], 4)) for row in rows])


@router.get("/rules/{id}/hits", summary="A rule's hits")
async def rule_hits(request: Request, principal: Reader, id: IdInPath, days: Days = 30) -> RuleHits:
    """Return by day how often it decided, matched in vain, or matched while only watched; and when last."""
    reports, realm = deps_of(request).reports, realm_of(principal)
    rows = await reports.hits_by_day(realm, id, _since(request, days))
    last = (await reports.last_hits(realm, [id])).get(id)
    parts = ("decided", "outdone", "shadow")
    shown = [HitsOfDay(day=row["day"].isoformat(), **{part: row[part] or 0 for part in parts}) for row in rows]
    return RuleHits(
        rule=id,
        **{part: sum(getattr(day, part) for day in shown) for part in parts},
        last_at=last["last_at"] if last else None,
        last_bounce=last["last_bounce"] if last else None,
        days=shown,
    )


def _since(request: Request, days: int) -> date:
    today: date = deps_of(request).clock().date()
    return today - timedelta(days=days - 1)
