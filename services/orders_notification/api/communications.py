"""Communications and releases over HTTP, in the caller's tenant and mode."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Request, Response

from libs.auth import Principal, scope
from libs.errors import NotFound
from libs.paging import INTEGERS, After, Limit, Page, next_cursor, page_of, read_cursor
from libs.web import EDIT, ExactResponse, Router, etag, require_match
from services.orders_notification.api.communication_shapes import (
    RELEASE_ID,
    CommunicationBody,
    CommunicationName,
    CommunicationShown,
    ReleaseShown,
    Republish,
    Republished,
    shown,
    shown_release,
)
from services.orders_notification.api.deps import deps_of
from services.orders_notification.handlers import publishing

router = Router(prefix="/v1", tags=["communications"])

Reader = Annotated[Principal, scope("communications:read", internal=True)]
Writer = Annotated[Principal, scope("communications:write")]
Publisher = Annotated[Principal, scope("communications:publish")]
NameInPath = Annotated[CommunicationName, Path(description="The communication's name.", examples=["parcel-shipped"])]


@router.get("/communications")
async def list_communications(
    request: Request,
    principal: Reader,
    limit: Limit = 100,
    cursor: After = None,
    outdated: Annotated[bool, Query(description="Only those that use templates with newer versions.")] = False,
) -> Page[CommunicationShown]:
    """List drafts by name; `outdated` lists those to publish again."""
    deps = deps_of(request)
    (after,) = read_cursor(cursor, str) or ("",)
    old = await publishing.outdated(deps, principal) if outdated else {}
    async with deps.communications.begin(principal) as unit:
        found = await unit.page(after, limit + 1)
    return Page(
        items=[shown(c, list(old.get(c.name, ()))) for c in found[:limit] if not outdated or c.name in old],
        next_cursor=next_cursor(found, limit, lambda communication: (communication.name,)),
    )


@router.get("/communications/{name}")
async def show_communication(
    request: Request, response: Response, principal: Reader, name: NameInPath
) -> CommunicationShown:
    """One draft."""
    async with deps_of(request).communications.begin(principal) as unit:
        found = await unit.get(name)
    if found is None:
        raise publishing.unknown(name)
    response.headers["etag"] = etag(found.version)
    return shown(found)


@router.put(
    "/communications/{name}",
    responses={201: {"description": "Created.", "model": CommunicationShown}},
    openapi_extra=EDIT,
)
async def put_communication(
    request: Request, response: Response, principal: Writer, name: NameInPath, body: CommunicationBody
) -> CommunicationShown:
    """Create a draft (201) or change it (200); a change needs If-Match. The published release stays as it is."""
    made, created = await publishing.put_communication(
        deps_of(request), principal, (name, body.definition()), lambda version: require_match(request, version)
    )
    response.status_code = 201 if created else 200
    response.headers["etag"] = etag(made.version)
    return shown(made)


@router.post("/communications/{name}:publish")
async def publish_communication(request: Request, principal: Publisher, name: NameInPath) -> ReleaseShown:
    """Publish a release, which decides the next event. 422 lists at once all that could fail when sending."""
    _, release = await publishing.publish_communication(deps_of(request), principal, name)
    return shown_release(release)


@router.post("/communications/{name}:retire")
async def retire_communication(request: Request, principal: Publisher, name: NameInPath) -> CommunicationShown:
    """Retire it: it decides no further event, and none of its waiting messages is sent."""
    return shown(await publishing.retire_communication(deps_of(request), principal, name))


@router.post("/communications:republish")
async def republish(request: Request, principal: Publisher, wanted: Republish) -> Republished:
    """Publish every communication again whose active release uses an older version of the template. 422 names those
    that are refused; the others are published, and the same call again publishes only what is left."""
    made = await publishing.republish(deps_of(request), principal, wanted.template)
    return Republished(releases={name: shown_release(release) for name, release in made})


@router.get("/communications/{name}/releases")
async def list_releases(
    request: Request, principal: Reader, name: NameInPath, limit: Limit = 100, cursor: After = None
) -> Page[ReleaseShown]:
    """List releases, newest first."""
    (below,) = read_cursor(cursor, int) or (INTEGERS - 1,)
    async with deps_of(request).communications.begin(principal) as unit:
        if await unit.get(name) is None:
            raise publishing.unknown(name)
        found = await unit.releases(name, below, limit + 1)
    return page_of(found, limit, shown_release, lambda release: (release.version,))


@router.get("/releases/{id}", response_class=ExactResponse)
async def show_release(
    request: Request,
    principal: Reader,
    id_: Annotated[UUID, Path(alias="id", description="The release's id.", examples=[RELEASE_ID])],
) -> Any:
    """Return the bundle from which everything is rendered. `active` becomes false when the communication is retired. A
    newer release does not make an older one inactive, since what the older one decided is still sent."""
    async with deps_of(request).communications.begin(principal) as unit:
        release = await unit.release(id_)
        current = await unit.get(release.communication) if release else None
    if release is None:
        raise NotFound(f"There is no release {id_} in this tenant and mode.")
    active = current is not None and current.release_id is not None
    head = {"id": str(release.id), "version": release.version, "digest": release.digest.hex(), "active": active}
    return ExactResponse(head | dict(release.bundle))
