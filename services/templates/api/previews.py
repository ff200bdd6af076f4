"""Preview over HTTP: what a recipient would get."""

from typing import Annotated

from fastapi import Request

from libs.auth import Principal, scope
from libs.web import Router
from services.templates import queries
from services.templates.api.deps import deps_of
from services.templates.api.shapes import NameInPath, PreviewBody, PreviewShown
from services.templates.queries import PreviewWanted

router = Router(prefix="/v1/templates")

Reader = Annotated[Principal, scope("templates:read")]


@router.post("/{name}:preview")
async def preview_template(request: Request, principal: Reader, name: NameInPath, body: PreviewBody) -> PreviewShown:
    """Render the draft, or a published version, for a sample: parts with sizes, segments and warnings.

    Missing values are made up: an event without data, or as its type's schema describes it, and a recipient called
    Anna. 422 names everything that is missing.
    """
    wanted = PreviewWanted(
        name=name,
        version=body.version,
        locale=body.locale,
        event=body.event,
        recipient=body.recipient,
        links=body.links,
        schema=body.event_schema,
    )
    made = await queries.preview(deps_of(request).store, principal, wanted)
    return PreviewShown(
        locale=made.locale,
        parts=dict(made.parts),
        sizes=dict(made.sizes),
        warnings=list(made.warnings),
        digest=made.digest,
    )
