"""Tenants over HTTP. Everyone sees their own; the operating tenant's administrators see and create all."""

from typing import Annotated

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.ids import TenantId
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.access import domain, handlers, queries
from services.access.api.shapes import TenantBody, TenantShown
from services.access.domain import Tenant
from services.access.handlers import Access

router = Router(prefix="/v1/tenants", tags=["tenants"])

Number = Annotated[int, Path(ge=1, le=domain.MAX_TENANTS, description="The tenant's number.", examples=[1])]
Reader = Annotated[Principal, scope("topics:read", internal=True)]
Admin = Annotated[Principal, scope("tenants:admin")]


@router.get("")
async def list_tenants(
    request: Request, principal: Reader, limit: Limit = 100, cursor: After = None
) -> Page[TenantShown]:
    """List tenants by number."""
    (after,) = read_cursor(cursor, int, below=domain.MAX_TENANTS + 1) or (0,)
    found = await queries.tenants(_deps(request).store, principal, after, limit + 1)
    return page_of(found, limit, shown, lambda tenant: (tenant.number,))


@router.post("", status_code=201)
async def create_tenant(request: Request, response: Response, principal: Admin, body: TenantBody) -> TenantShown:
    """Create a tenant, with the next free number."""
    tenant = await handlers.create_tenant(_deps(request), principal, _tenant(body, 0))
    response.headers["location"] = f"/access/v1/tenants/{tenant.number}"
    response.headers["etag"] = etag(tenant.version)
    return shown(tenant)


@router.get("/{number}")
async def show_tenant(request: Request, response: Response, principal: Reader, number: Number) -> TenantShown:
    """Get one tenant."""
    tenant = await queries.tenant(_deps(request).store, principal, number)
    response.headers["etag"] = etag(tenant.version)
    return shown(tenant)


@router.put("/{number}", openapi_extra=EDIT)
async def change_tenant(
    request: Request, response: Response, principal: Admin, number: Number, body: TenantBody
) -> TenantShown:
    """Change a tenant; If-Match names the version that was edited."""
    tenant = await handlers.change_tenant(
        _deps(request), principal, _tenant(body, number), lambda version: require_match(request, version)
    )
    response.headers["etag"] = etag(tenant.version)
    return shown(tenant)


def shown(tenant: Tenant) -> TenantShown:
    """Return a tenant as responses show it."""
    return TenantShown(
        number=tenant.number,
        name=tenant.name,
        default_locale=tenant.default_locale,
        zone=tenant.zone,
        version=tenant.version,
        changed_at=tenant.changed_at,
    )


def _tenant(body: TenantBody, number: int) -> Tenant:
    # the handler sets version and time
    return Tenant(TenantId(number), body.name, body.default_locale, body.zone, 0, domain.NEVER)


def _deps(request: Request) -> Access:
    deps: Access = request.app.state.deps
    return deps
