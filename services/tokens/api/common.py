"""Shared by all routes of tokens: the acting caller, the dependencies, and how a recipient is shown."""

from typing import Annotated, Any

from fastapi import Path, Request, Response

from libs.auth import Principal, scope
from libs.paging import next_cursor
from libs.web import ExactResponse, etag
from services.tokens import queries
from services.tokens.api.shapes import Installation, Key
from services.tokens.api.translate import Translator
from services.tokens.domain.recipients import Realm
from services.tokens.handlers.acts import Act
from services.tokens.ports import Tokens

CanRead = Annotated[Principal, scope("recipients:read", internal=True)]
CanWrite = Annotated[Principal, scope("recipients:write")]
KeyInPath = Annotated[Key, Path(description="customer:<the shop's id> or installation:<id>.")]
InstallationInPath = Annotated[Installation, Path(description="The id that the app chose for its installation.")]


def deps_of(request: Request) -> Tokens:
    """Return the service's dependencies."""
    deps: Tokens = request.app.state.deps
    return deps


def realm_of(principal: Principal) -> Realm:
    """Return the caller's tenant and mode, the only ones it can read or write."""
    return Realm(principal.tenant, principal.mode)


def act_of(request: Request, principal: Principal) -> Act:
    """Return who acts, where and when."""
    return Act(realm_of(principal), principal.actor, deps_of(request).clock())


def translator_of(request: Request) -> Translator:
    """Return a parser of bodies, with this service's settings, for the current time."""
    deps = deps_of(request)
    return Translator(deps.settings, deps.clock())


async def shown(request: Request, principal: Principal, key: str, status: int = 200) -> Response:
    """Return a recipient as the caller may see it, with its ETag."""
    view = await queries.recipient(deps_of(request), realm_of(principal), key, unmasked=principal.may("pii:read"))
    return ExactResponse(view, status, headers={"etag": etag(view["version"])})


def exact_page_of(items: list[dict[str, Any]], limit: int, *key: str) -> Response:
    """Return a page of a list queried for one item too many; `key` names the fields that it is sorted by."""
    following = next_cursor(items, limit, lambda item: tuple(item[name] for name in key))
    return ExactResponse({"items": items[:limit], "next_cursor": following})
