"""Published versions over HTTP, and publishing itself."""

from typing import Annotated

from fastapi import Path, Request, Response

from libs.auth import Principal, internal, scope
from libs.paging import INTEGERS, After, Limit, Page, page_of, read_cursor
from libs.web import Router, etag
from services.templates import handlers, queries
from services.templates.api.deps import deps_of
from services.templates.api.shapes import Found, NameInPath, VersionShown, Wanted, shown_version

router = Router(prefix="/v1")

Reader = Annotated[Principal, scope("templates:read", internal=True)]
Publisher = Annotated[Principal, scope("templates:publish")]
NumberInPath = Annotated[int, Path(ge=1, le=2**31 - 1, description="The version's number.", examples=[3])]


@router.post("/templates/{name}:publish")
async def publish_template(
    request: Request, response: Response, principal: Publisher, name: NameInPath
) -> VersionShown:
    """Freeze the draft as a version; communications use it when they are published again.

    422 lists every problem of every locale at once. Publishing an unchanged draft returns the same version.
    """
    template, version = await handlers.publish_template(deps_of(request), principal, name)
    response.headers["etag"] = etag(template.version)
    return shown_version(version)


@router.get("/templates/{name}/versions")
async def list_versions(
    request: Request, principal: Reader, name: NameInPath, limit: Limit = 100, cursor: After = None
) -> Page[VersionShown]:
    """List published versions, newest first."""
    (below,) = read_cursor(cursor, int) or (INTEGERS - 1,)
    store = deps_of(request).store
    await queries.template(store, principal, name)
    found = await queries.versions(store, principal, name, (below, limit + 1))
    return page_of(found, limit, shown_version, lambda version: (version.version,))


@router.get("/templates/{name}/versions/{number}")
async def show_version(request: Request, principal: Reader, name: NameInPath, number: NumberInPath) -> VersionShown:
    """Return a published version; it never changes."""
    return shown_version(await queries.version(deps_of(request).store, principal, name, number))


@router.post("/templates:resolve")
async def resolve_templates(request: Request, principal: Annotated[Principal, internal()], wanted: Wanted) -> Found:
    """Return the latest published version of each name; unknown and unpublished ones are absent."""
    found = await queries.published(deps_of(request).store, principal, wanted.names)
    return Found(templates={name: shown_version(version) for name, version in found.items()})
