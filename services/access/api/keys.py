"""API keys over HTTP: create, list, rotate and revoke them, and verify them for other services."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, Response

from libs.auth import Principal, internal, scope
from libs.contracts.outcomes import Mode
from libs.errors import Forbidden
from libs.ids import TenantId
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import Router
from services.access import domain, handlers, queries
from services.access.api.shapes import ROTATION, KeyBody, KeyMade, KeyShown, Presented, Rotation, Verified
from services.access.domain import ApiKey
from services.access.handlers import Access, MadeKey, NewKey

router = Router(prefix="/v1", tags=["keys"])

Admin = Annotated[Principal, scope("keys:admin")]
KeyId = Annotated[
    str, Path(pattern=r"^[a-z2-7]{16}$", description="The key's id, not its text.", examples=["7mxq4zdkzt3la5vw"])
]
RotationBody = Annotated[Rotation | None, Body(examples=[ROTATION])]
OfTenant = Annotated[int | None, Query(ge=1, le=domain.MAX_TENANTS, description="Default: the caller's own.")]


@router.get("/keys")
async def list_keys(
    request: Request, principal: Admin, tenant: OfTenant = None, limit: Limit = 100, cursor: After = None
) -> Page[KeyShown]:
    """List the tenant's keys of both modes, including revoked ones."""
    number = tenant or principal.tenant
    if number != principal.tenant and not queries.sees_all_tenants(principal):
        raise Forbidden(f"This key can only see keys of tenant {principal.tenant}; leave `tenant` out.")
    (after,) = read_cursor(cursor, str) or ("",)
    found = await queries.keys(_deps(request).store, number, after, limit + 1)
    return page_of(found, limit, lambda key: _shown(request, key), lambda key: (key.id,))


@router.post("/keys", status_code=201)
async def create_key(request: Request, response: Response, principal: Admin, body: KeyBody) -> KeyMade:
    """Create a key. Its text is in this response and nowhere else."""
    wanted = NewKey(
        tenant=TenantId(body.tenant or principal.tenant),
        mode=Mode[body.mode.upper()] if body.mode else principal.mode,
        name=body.name,
        scopes=tuple(body.scopes),
        expires_at=body.expires_at,
    )
    return _made(request, response, await handlers.create_key(_deps(request), principal, wanted))


@router.post("/keys/{id}:rotate", status_code=201)
async def rotate_key(
    request: Request, response: Response, principal: Admin, id: KeyId, body: RotationBody = None
) -> KeyMade:
    """Create a new key like this one; the old key keeps working for a while."""
    grace_hours = body.grace_hours if body else None
    return _made(request, response, await handlers.rotate_key(_deps(request), principal, id, grace_hours))


@router.delete("/keys/{id}")
async def revoke_key(request: Request, principal: Admin, id: KeyId) -> KeyShown:
    """Revoke a key; within five seconds no service accepts it any more."""
    return _shown(request, await handlers.revoke_key(_deps(request), principal, id))


@router.post("/keys:verify", dependencies=[internal()])
async def verify_key(request: Request, body: Presented) -> Verified:
    """Return a key's tenant, mode and scopes, or 401 saying why it is not valid."""
    key = await handlers.verify_key(_deps(request), body.key)
    return Verified(key_id=key.id, tenant=key.tenant, mode=_word(key), scopes=list(key.scopes))


def _made(request: Request, response: Response, made: MadeKey) -> KeyMade:
    response.headers["cache-control"] = "no-store"
    response.headers["location"] = f"/access/v1/keys/{made.key.id}"
    return KeyMade(**_fields(request, made.key), key=str(made.text))


def _shown(request: Request, key: ApiKey) -> KeyShown:
    return KeyShown(**_fields(request, key))


def _fields(request: Request, key: ApiKey) -> dict[str, Any]:
    fields = asdict(key)
    del fields["secret_hash"]
    return fields | {"mode": _word(key), "state": domain.state_of(key, _deps(request).clock())}


def _word(key: ApiKey) -> Any:
    return key.mode.word


def _deps(request: Request) -> Access:
    deps: Access = request.app.state.deps
    return deps
