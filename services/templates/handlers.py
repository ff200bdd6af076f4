"""The story of templates: drafts are edited, published as immutable versions, and previewed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from libs.auth import Principal
from libs.clock import Clock
from libs.contracts.audit import ActionRecorded
from libs.contracts.envelope import Event
from libs.contracts.outcomes import Channel
from libs.contracts.templates import TemplatePublished
from libs.errors import Conflict, FieldError, Invalid, NotFound
from libs.rendering.checks import check_template
from services.templates import domain
from services.templates.domain import Template, Version
from services.templates.ports import Store

MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


@dataclass(frozen=True, slots=True)
class Templates:
    """The handlers' dependencies."""

    store: Store
    clock: Clock


@dataclass(frozen=True, slots=True)
class Draft:
    """A template as its author wants it."""

    name: str
    channel: Channel
    description: str
    locales: domain.Locales


async def put_template(
    deps: Templates, principal: Principal, wanted: Draft, match: MatchVersion
) -> tuple[Template, bool]:
    """Create or change a draft; return whether it is new. Its shape is checked now, its Liquid at publish and preview.

    A draft that does not render may be saved: people stop in the middle of a sentence.
    """
    if problems := list(domain.problems_of_shape(wanted.channel, wanted.locales)):
        raise Invalid.many(problems)
    async with deps.store.begin(principal) as unit:
        before = await unit.get(wanted.name, lock=True)
        match(before.version if before else None)
        if before is not None and before.published is not None and before.channel is not wanted.channel:
            raise Conflict(
                f"It is published for {before.channel.word}, and releases rely on that; use another name.",
                pointer="/channel",
            )
        template = _edited(before, wanted, deps)
        if before is not None and (before.locales, before.description) == (wanted.locales, wanted.description):
            return before, False
        if not await unit.put(template):
            raise Conflict("Somebody else created this template at the same time; read it and apply your edit to it.")
        action = _action(deps, principal, "template.put", wanted.name, (_plain(before), _plain(template)))
        await unit.emit(wanted.name, [action])
    return template, before is None


async def publish_template(deps: Templates, principal: Principal, name: str) -> tuple[Template, Version]:
    """Freeze the draft as a version. Raises Invalid with every problem of every locale at once.

    Publishing an unchanged draft returns the same version.
    """
    async with deps.store.begin(principal) as unit:
        template = await unit.get(name, lock=True)
        if template is None:
            raise unknown(name)
        # a large template takes a while to check; a thread keeps the event loop free
        if problems := await asyncio.to_thread(problems_of, template.channel, template.locales):
            raise Invalid.many(problems)
        digest = domain.digest(template.channel, template.locales)
        latest = await unit.version(name, template.published) if template.published else None
        if latest is not None and latest.digest == digest:
            same = replace(template, published_draft=template.version)  # edited, and back again or only its description
            if same != template:
                await unit.put(same)
            return same, latest
        version = Version(
            name=name,
            version=(template.published or 0) + 1,
            channel=template.channel,
            locales=template.locales,
            digest=digest,
            published_at=deps.clock(),
            published_by=principal.actor,
        )
        published = replace(template, published=version.version, published_draft=template.version)
        await unit.add_version(version)
        await unit.put(published)
        await unit.emit(name, _published(deps, principal, version))
    return published, version


def problems_of(channel: Channel, locales: domain.Locales) -> list[FieldError]:
    """Return all that is wrong with a template, shape first: its Liquid is only checked if the shape is right."""
    shape = list(domain.problems_of_shape(channel, locales))
    return shape or check_template(channel, locales)


def unknown(name: str) -> NotFound:
    """Return the error for a template that does not exist."""
    return NotFound(f"There is no template {name!r}; `depesche templates list` shows the names.")


def _edited(before: Template | None, wanted: Draft, deps: Templates) -> Template:
    return Template(
        name=wanted.name,
        channel=wanted.channel,
        description=wanted.description,
        locales=wanted.locales,
        version=before.version + 1 if before else 1,
        published=before.published if before else None,
        published_draft=before.published_draft if before else None,
        changed_at=deps.clock(),
    )


def _published(deps: Templates, principal: Principal, version: Version) -> list[Event]:
    event = TemplatePublished(
        name=version.name,
        version=version.version,
        channel=version.channel.word,
        locales=tuple(sorted(version.locales)),
    )
    after = {"version": version.version, "digest": version.digest.hex()}
    return [event, _action(deps, principal, "template.publish", version.name, (None, after))]


def _action(deps: Templates, principal: Principal, verb: str, of: str, change: tuple[Any, Any]) -> ActionRecorded:
    before, after = change
    return ActionRecorded(actor=principal.actor, action=verb, object=of, at=deps.clock(), before=before, after=after)


def _plain(template: Template | None) -> dict[str, Any] | None:
    if template is None:
        return None
    return {"channel": template.channel.word, "description": template.description, "locales": template.locales}


# templates consumes no events: other services query it
SUBSCRIPTIONS: dict[type, Any] = {}
