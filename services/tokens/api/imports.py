"""Imports: a file streams in, rows are written in batches, and the report says what was refused and why."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response
from pydantic import StringConstraints

from libs.errors import DepescheError
from libs.ids import uuid7
from libs.paging import After, Limit, Page, next_cursor, read_cursor
from libs.web import ExactResponse, Router
from services.tokens import queries
from services.tokens.api.common import CanRead, CanWrite, act_of, deps_of, exact_page_of, realm_of, translator_of
from services.tokens.api.rows import batches, format_of
from services.tokens.api.shapes import ImportRow
from services.tokens.api.shown import ImportListed, ImportShown, RefusalShown
from services.tokens.domain.recipients import Realm
from services.tokens.handlers.imports import Import, cancel_import, import_recipients
from services.tokens.ports import Tokens

router = Router(prefix="/v1/imports", tags=["imports"])

Id = Annotated[UUID, Path(description="The import's id.")]

_FIRST_REFUSALS = 100
_COLUMN = (
    "What a CSV's column means, if its name does not say so: `Klaviyo ID=customer_id`, "
    "`Email Marketing Consent=consent.news.email`, `Size=attributes.size`; `OPTIN_TIME=consent_at:UTC` "
    "for times without an offset."
)
Column = Annotated[str, StringConstraints(max_length=250)]
_CSV = "customer_id;first_name;email;consent.price-alerts.email\n4711;Jörg;joerg@example.com;yes\n"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": _CSV},
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"key": "customer:4711", "first_name": "Jörg", "emails": ["joerg@example.com"]}\n',
            },
        },
    }
}


@router.post("", response_model=ImportShown, status_code=201, openapi_extra=_BODY)
async def start_import(
    request: Request,
    principal: CanWrite,
    id: Annotated[UUID | None, Query(description="Choose the import's id yourself, to follow its progress.")] = None,
    column: Annotated[list[Column] | None, Query(description=_COLUMN, max_length=100)] = None,
) -> Response:
    """Import a CSV or NDJSON file of any length, row by row; a refused row does not stop it.

    CSV: UTF-8, UTF-16 or Windows-1252, with `,` `;` tab or `|`; the header names key or customer_id, first_name,
    last_name, email, phone, country, locale, zone, token, `attributes.<name>`, `consent.<topic>.<channel>`,
    `optout.<topic>.<channel>` (yes: declined), or the names that exports usually have; `column` says what any other
    name means. NDJSON: one object per line, in the shape of a recipient with key, devices and consents. Sending the
    same file again changes only what differs: that is how to resume an interrupted import.
    """
    deps = deps_of(request)
    format_, _ = format_of(request.headers.get("content-type", ""))
    id_ = id or uuid7()
    file = Import(id_, format_, batches(request, translator_of(request), deps.settings))
    try:
        await import_recipients(deps, act_of(request, principal), file)
    except DepescheError as error:
        error.extra.setdefault("import", str(id_))
        raise
    report = await _report(deps, realm_of(principal), id_)
    return ExactResponse(report, 201, headers={"location": f"/tokens/v1/imports/{id_}"})


@router.get("", response_model=Page[ImportListed])
async def list_imports(request: Request, principal: CanRead, limit: Limit = 100, cursor: After = None) -> Response:
    """List imports, newest first."""
    after = read_cursor(cursor, datetime, UUID)
    found = await deps_of(request).imports.page(realm_of(principal), limit + 1, after)
    return exact_page_of([dict(row) for row in found], limit, "started_at", "id")


@router.get("/{id}", response_model=ImportShown)
async def show_import(request: Request, principal: CanRead, id: Id) -> Response:
    """Get an import's progress, its results, and the first of its refusals."""
    return ExactResponse(await _report(deps_of(request), realm_of(principal), id))


@router.get("/{id}/refusals", response_model=Page[RefusalShown])
async def list_refusals(
    request: Request, principal: CanRead, id: Id, limit: Limit = 100, cursor: After = None
) -> Response:
    """List an import's refusals, row by row: the field and the reason, never the value."""
    deps = deps_of(request)
    await queries.import_report(deps, realm_of(principal), id)
    items, following = await _refusals(deps, id, limit, read_cursor(cursor, int, int) or (0, 0))
    return ExactResponse({"items": items, "next_cursor": following})


@router.post("/{id}:cancel", response_model=ImportShown)
async def cancel(request: Request, principal: CanWrite, id: Id) -> Response:
    """Stop an import after the batch that it is writing; rows already written stay."""
    deps = deps_of(request)
    await queries.import_report(deps, realm_of(principal), id)
    await cancel_import(deps, act_of(request, principal), id)
    return ExactResponse(await _report(deps, realm_of(principal), id))


async def _report(deps: Tokens, realm: Realm, id_: UUID) -> dict[str, Any]:
    report = await queries.import_report(deps, realm, id_)
    items, following = await _refusals(deps, id_, _FIRST_REFUSALS, (0, 0))
    return {**report, "refusals": items, "refusals_cursor": following}


async def _refusals(
    deps: Tokens, id_: UUID, limit: int, after: tuple[int, int]
) -> tuple[list[dict[str, Any]], str | None]:
    rows = await deps.imports.refusals(id_, limit + 1, after)
    shown = [RefusalShown(**dict(row)).model_dump() for row in rows[:limit]]
    return shown, next_cursor(rows, limit, lambda row: (row["row"], row["ordinal"]))


__all__ = ["ImportRow", "router"]
