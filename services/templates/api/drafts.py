"""Drafts over HTTP, in the caller's tenant and mode."""

from typing import Annotated

from fastapi import Query, Request, Response

from libs.auth import Principal, scope
from libs.contracts.outcomes import Channel
from libs.paging import After, Limit, Page, page_of, read_cursor
from libs.web import EDIT, Router, etag, require_match
from services.templates import handlers, ports, queries
from services.templates.api.deps import deps_of
from services.templates.api.shapes import ChannelWord, NameInPath, TemplateBody, TemplateShown, shown
from services.templates.handlers import Draft

router = Router(prefix="/v1/templates")

Reader = Annotated[Principal, scope("templates:read", internal=True)]
Writer = Annotated[Principal, scope("templates:write")]


@router.get("")
async def list_templates(
    request: Request,
    principal: Reader,
    limit: Limit = 100,
    cursor: After = None,
    channel: Annotated[ChannelWord | None, Query(description="Only templates of this channel.")] = None,
) -> Page[TemplateShown]:
    """List drafts by name."""
    (after,) = read_cursor(cursor, str) or ("",)
    wanted = ports.After(after, Channel.parse(channel) if channel else None, limit + 1)
    found = await queries.templates(deps_of(request).store, principal, wanted)
    return page_of(found, limit, shown, lambda template: (template.name,))


@router.get("/{name}")
async def show_template(request: Request, response: Response, principal: Reader, name: NameInPath) -> TemplateShown:
    """One draft."""
    template = await queries.template(deps_of(request).store, principal, name)
    response.headers["etag"] = etag(template.version)
    return shown(template)


@router.put("/{name}", responses={201: {"description": "Created.", "model": TemplateShown}}, openapi_extra=EDIT)
async def put_template(
    request: Request, response: Response, principal: Writer, name: NameInPath, body: TemplateBody
) -> TemplateShown:
    """Create a draft (201) or change it (200); a change needs If-Match. It does not affect what is sent."""
    wanted = Draft(name, Channel.parse(body.channel), body.description, body.locales)
    template, created = await handlers.put_template(
        deps_of(request), principal, wanted, lambda version: require_match(request, version)
    )
    response.status_code = 201 if created else 200
    response.headers["etag"] = etag(template.version)
    return shown(template)
