"""Reads of templates: lists, single ones, versions, and the batch that publishing a communication requests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libs.auth import Principal
from libs.errors import Invalid, NotFound
from libs.rendering import Preview, RenderFailed, compile_template, missing, optional_variables
from libs.rendering import preview as rendered
from libs.rendering.locales import chain
from libs.rendering.sample import sample_event, sample_recipient
from services.templates.domain import Template, Version
from services.templates.handlers import unknown
from services.templates.ports import After, Store

_FALLBACK = "en"


@dataclass(frozen=True, slots=True)
class PreviewWanted:
    """What to render, and with which values; None: the draft, a likely locale, made-up values. By the event type's
    schema values are made up, and may be missing."""

    name: str
    version: int | None
    locale: str | None
    event: Mapping[str, Any] | None
    recipient: Mapping[str, Any] | None
    links: Mapping[str, str] | None
    schema: Mapping[str, Any] | None = None


async def templates(store: Store, principal: Principal, after: After) -> Sequence[Template]:
    """Return a page of drafts by name."""
    async with store.begin(principal) as unit:
        return await unit.page(after)


async def template(store: Store, principal: Principal, name: str) -> Template:
    """Return one draft. Raises NotFound."""
    async with store.begin(principal) as unit:
        found = await unit.get(name)
    if found is None:
        raise unknown(name)
    return found


async def version(store: Store, principal: Principal, name: str, number: int) -> Version:
    """Return one published version. Raises NotFound."""
    async with store.begin(principal) as unit:
        found = await unit.version(name, number)
    if found is None:
        raise NotFound(f"The template {name!r} has no published version {number}.")
    return found


async def versions(store: Store, principal: Principal, name: str, page: tuple[int, int]) -> Sequence[Version]:
    """Return published versions below a number, newest first; `page` is (below, limit)."""
    async with store.begin(principal) as unit:
        return await unit.versions(name, *page)


async def published(store: Store, principal: Principal, names: Sequence[str]) -> Mapping[str, Version]:
    """Return the latest version of each; unknown and unpublished ones are absent."""
    async with store.begin(principal) as unit:
        return await unit.published(names)


async def preview(store: Store, principal: Principal, wanted: PreviewWanted) -> Preview:
    """Render as delivery would. Raises Invalid for a wrong template, RenderFailed for wrong values."""
    made: Template | Version
    if wanted.version is None:
        made = await template(store, principal, wanted.name)
    else:
        made = await version(store, principal, wanted.name, wanted.version)
    locale = _locale(made, wanted.locale)
    return await asyncio.to_thread(_rendered, made, locale, wanted)


def _rendered(made: Template | Version, locale: str, wanted: PreviewWanted) -> Preview:
    parts, channel = made.locales[locale], made.channel.word
    try:
        variables = _variables(wanted, locale)
        optional = frozenset(optional_variables(channel, {locale: parts}, wanted.schema))
    except (AttributeError, LookupError, TypeError) as error:
        raise Invalid("This is not a JSON Schema.", pointer="/event_schema") from error
    compiled = compile_template(channel, locale, parts, optional=optional, pointer=f"/locales/{locale}")
    try:
        return rendered(compiled, variables)
    except RenderFailed as error:
        if lacking := missing(channel, locale, parts, variables, optional=optional):
            raise RenderFailed.many(lacking) from error
        raise


def _locale(made: Template | Version, asked: str | None) -> str:
    """Choose the requested one, its language, English, or the first: only a release knows the tenant's default."""
    if not made.locales:
        raise Invalid("The template has no locale yet; add one.", pointer="/locales")
    wanted = chain(asked, _FALLBACK)
    return next((each for each in wanted if each in made.locales), sorted(made.locales)[0])


def _variables(wanted: PreviewWanted, locale: str) -> dict[str, Any]:
    event = sample_event("preview", wanted.schema) | dict(wanted.event or {})
    return {
        "event": event,
        "recipient": sample_recipient(locale) | dict(wanted.recipient or {}),
        "links": {"unsubscribe": "https://shop.example/unsubscribe"} | dict(wanted.links or {}),
    }
