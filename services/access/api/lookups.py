"""Batch lookups for other services: when publishing and recording consent, the named tenant and topics."""

from typing import Annotated

from fastapi import Request

from libs.auth import Principal, internal
from libs.web import Router
from services.access import queries
from services.access.api import tenants, topics
from services.access.api.shapes import NumbersWanted, Resolved, TenantsFound, Wanted
from services.access.handlers import Access

router = Router(prefix="/v1", tags=["look-ups"])

Caller = Annotated[Principal, internal()]


@router.post("/topics:resolve")
async def resolve_topics(request: Request, principal: Caller, body: Wanted) -> Resolved:
    """The tenant of the call, the requested topics that exist in its mode, and for the others the names near them."""
    deps: Access = request.app.state.deps
    tenant, found, near = await queries.resolve(deps.store, principal, body.topics)
    shown = {topic.name: topics.shown(topic) for topic in found}
    return Resolved(tenant=tenants.shown(tenant), topics=shown, near={name: list(near[name]) for name in near})


@router.post("/tenants:resolve")
async def resolve_tenants(request: Request, _: Caller, body: NumbersWanted) -> TenantsFound:
    """The tenants with these numbers; others are absent."""
    deps: Access = request.app.state.deps
    found = await queries.numbered(deps.store, body.numbers)
    return TenantsFound(tenants={tenant.number: tenants.shown(tenant) for tenant in found})
