"""Reads of templates: lists, single ones, versions, and the batch that publishing a communication asks for."""

from collections.abc import Mapping, Sequence

from libs.auth import Principal
from libs.errors import NotFound
from services.templates.domain import Template, Version
from services.templates.handlers import unknown
from services.templates.ports import After, Store


async def templates(store: Store, principal: Principal, after: After) -> Sequence[Template]:
    """A page of drafts by name."""
    async with store.begin(principal) as unit:
        return await unit.page(after)


async def template(store: Store, principal: Principal, name: str) -> Template:
    """One draft. Raises NotFound."""
    async with store.begin(principal) as unit:
        found = await unit.get(name)
    if found is None:
        raise unknown(name)
    return found


async def version(store: Store, principal: Principal, name: str, number: int) -> Version:
    """One published version. Raises NotFound."""
    async with store.begin(principal) as unit:
        found = await unit.version(name, number)
    if found is None:
        raise NotFound(f"The template {name!r} has no published version {number}.")
    return found


async def versions(store: Store, principal: Principal, name: str, page: tuple[int, int]) -> Sequence[Version]:
    """Published versions below a number, the newest first; `page` is (below, limit)."""
    async with store.begin(principal) as unit:
        return await unit.versions(name, *page)


async def published(store: Store, principal: Principal, names: Sequence[str]) -> Mapping[str, Version]:
    """The latest version of each; what is unknown or unpublished is absent."""
    async with store.begin(principal) as unit:
        return await unit.published(names)
