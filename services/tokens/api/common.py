"""What every route of tokens does: who acts, which dependencies, how a recipient is answered."""

from typing import Annotated, Any

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.errors import Invalid
from libs.web import Cursor, ExactResponse, etag
from services.tokens import queries
from services.tokens.api.shapes import Installation, Key
from services.tokens.api.translate import Translator
from services.tokens.domain.recipients import Realm
from services.tokens.handlers.acts import Act
from services.tokens.ports import Tokens

CanRead = Annotated[Principal, scope("recipients:read", internal=True)]
CanWrite = Annotated[Principal, scope("recipients:write")]
KeyInPath = Annotated[Key, Path(description="customer:<the shop's id> or installation:<id>.")]
InstallationInPath = Annotated[Installation, Path(description="The id that the app gave its installation.")]


def deps_of(request: Request) -> Tokens:
    """The service's dependencies."""
    deps: Tokens = request.app.state.deps
    return deps


def realm_of(principal: Principal) -> Realm:
    """The caller's tenant and mode: the only ones that it reads or writes."""
    return Realm(principal.tenant, principal.mode)


def act_of(request: Request, principal: Principal) -> Act:
    """Who acts, where and when."""
    return Act(realm_of(principal), principal.actor, deps_of(request).clock())


def translator_of(request: Request) -> Translator:
    """Reads bodies with this service's settings, at this moment."""
    deps = deps_of(request)
    return Translator(deps.settings, deps.clock())


async def shown(request: Request, principal: Principal, key: str, status: int = 200) -> Response:
    """A recipient as the caller may see it, with its ETag."""
    view = await queries.recipient(deps_of(request), realm_of(principal), key, unmasked=principal.may("pii:read"))
    return ExactResponse(view, status, headers={"etag": etag(view["version"])})


def page_of(items: list[dict[str, Any]], limit: int, *key: str) -> Response:
    """A page of a list that was asked for one item too many; `key` names the fields that it is sorted by."""
    more = len(items) > limit
    cursor = Cursor.make(*(items[limit - 1][name] for name in key)) if more else None
    return ExactResponse({"items": items[:limit], "next_cursor": cursor})


def read_cursor(cursor: str | None, *types: type) -> list[Any] | None:
    """The key of a cursor whose parts have these types. Raises Invalid."""
    key = Cursor.read(cursor, len(types))
    if key is not None and not all(type(part) is wanted for part, wanted in zip(key, types, strict=True)):
        raise Invalid("The cursor belongs to another list; leave it out to start over.", pointer="cursor")
    if key is not None and any(isinstance(part, int) and not 0 <= part < 1 << 62 for part in key):
        raise Invalid("The cursor belongs to another list; leave it out to start over.", pointer="cursor")
    return key
