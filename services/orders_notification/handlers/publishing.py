"""Communications: drafts are edited, published as immutable releases, retired, published again.

Publishing refuses all that could fail when sending, and reports every problem at once.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.envelope import Event
from libs.contracts.orders_notification import ReleasePublished
from libs.errors import Conflict, FieldError, Invalid, NotFound, Permanent
from libs.ids import uuid7
from libs.rendering.checks import unknown_variables
from services.orders_notification.domain import communications as domain
from services.orders_notification.domain.communications import (
    Communication,
    Definition,
    Release,
    ReleaseHead,
    Surroundings,
)
from services.orders_notification.ports.communications import Communications
from services.orders_notification.ports.deps import OrdersNotification

MatchVersion = Callable[[int | None], None]  # raises if If-Match does not match the current version


async def put_communication(
    deps: OrdersNotification, principal: Principal, wanted: tuple[str, Definition], match: MatchVersion
) -> tuple[Communication, bool]:
    """Create or change a draft; return whether it is new. The published release stays as it is."""
    name, definition = wanted
    async with deps.communications.begin(principal) as unit:
        before = await unit.get(name, lock=True)
        match(before.version if before else None)
        if before is not None and before.definition == definition:
            return before, False
        made = Communication(name, definition, 1, None, None, None, None, deps.clock())
        if before is not None:
            made = replace(before, definition=definition, version=before.version + 1, changed_at=deps.clock())
        if not await unit.put(made):
            raise Conflict("Somebody else created this communication at the same time; read it and apply your edit.")
        change = (domain.plain(before.definition) if before else None, domain.plain(definition))
        await unit.emit(name, [_action(deps, principal, "communication.put", name, change)])
    return made, before is None


async def publish_communication(
    deps: OrdersNotification, principal: Principal, name: str
) -> tuple[Communication, Release]:
    """Freeze the draft with its templates' published versions. Raises Invalid with every problem at once.

    Publishing an unchanged draft with the same templates returns the active release.
    """
    async with deps.communications.begin(principal) as unit:
        draft = await unit.get(name)
        if draft is None:
            raise unknown(name)
        schema = await unit.schema(draft.definition.trigger)
    # the other services are called outside the transaction: no connection waits for them
    around = await _surroundings(deps, principal, draft.definition, schema)
    # large templates take a while to check; a thread keeps the event loop free
    if problems := await asyncio.to_thread(problems_of, draft.definition, around):
        raise Invalid.many(problems)
    owner = (principal.tenant, principal.mode.word)
    bundle = await asyncio.to_thread(domain.bundle_of, draft, around, owner)
    async with deps.communications.begin(principal) as unit:
        current = await unit.get(name, lock=True)
        if current is None or current.version != draft.version:
            raise Conflict("It was edited while it was being published; review it and publish it again.")
        return await _freeze(deps, principal, unit, _Making(current, bundle, draft.release_id))


async def republish(deps: OrdersNotification, principal: Principal, template: str) -> list[tuple[str, Release]]:
    """Publish every communication again whose active release uses an older version of the template.

    One that is refused does not stop the others: Invalid then names all problems of all, and repeating the call
    publishes only what is left."""
    made: list[tuple[str, Release]] = []
    problems: list[FieldError] = []
    for name in await using(deps, principal, template):
        try:
            made.append((name, (await publish_communication(deps, principal, name))[1]))
        except Permanent as error:
            found = error.errors or (FieldError("", error.detail),)
            problems += [FieldError(f"/{name}{field.pointer}", field.detail) for field in found]
    if problems:
        raise Invalid.many(problems)
    return made


async def using(deps: OrdersNotification, principal: Principal, template: str) -> list[str]:
    """Return communications whose active release uses an older version of the template than the published one."""
    latest = await deps.neighbours.templates(principal, [template])
    return [name for name, old in (await outdated(deps, principal, latest)).items() if template in old]


async def outdated(
    deps: OrdersNotification, principal: Principal, latest: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Sequence[str]]:
    """Return communications whose active release uses templates with newer versions, with those templates."""
    async with deps.communications.begin(principal) as unit:
        found = await unit.page("", 10_000)
        releases = await unit.active([c.name for c in found if c.release_id is not None])
    names = sorted({name for release in releases.values() for name in release.bundle["templates"]})
    known = latest if latest is not None else await deps.neighbours.templates(principal, names)
    old = {name: domain.outdated(release.bundle, known) for name, release in sorted(releases.items())}
    return {name: templates for name, templates in old.items() if templates}


async def retire_communication(deps: OrdersNotification, principal: Principal, name: str) -> Communication:
    """Stop sending it from the next event and the next claim on. Retiring it again changes nothing."""
    async with deps.communications.begin(principal) as unit:
        current = await unit.get(name, lock=True)
        if current is None:
            raise unknown(name)
        if current.release_id is None:
            return current
        retired = replace(current, release_id=None, retired_at=deps.clock(), changed_at=deps.clock())
        await unit.put(retired)
        await unit.changed()
        # older ones too: messages that they decided may still be waiting
        ended: list[Event] = [_published(name, head, active=False) for head in await unit.heads(name)]
        await unit.emit(name, [_action(deps, principal, "communication.retire", name, (None, None)), *ended])
    return retired


def problems_of(definition: Definition, around: Surroundings) -> list[FieldError]:
    """Return all that could fail when sending."""
    problems = [
        *domain.problems_of_expressions(definition, around.schema),
        *domain.problems_of_topic(definition, around),
        *domain.problems_of_plan(definition, around),
    ]
    for name in definition.templates():
        if (template := around.templates.get(name)) is not None:
            problems += _variables(name, template, around.schema)
    return problems


def unknown(name: str) -> NotFound:
    """Return the error for a communication that does not exist."""
    return NotFound(f"There is no communication {name!r}; `depesche communications list` shows the names.")


def _variables(name: str, template: Mapping[str, Any], schema: Mapping[str, Any] | None) -> list[FieldError]:
    found = unknown_variables(template["channel"], template["locales"], schema)
    return [FieldError(f"/templates/{name}{error.pointer}", error.detail) for error in found]


async def _surroundings(
    deps: OrdersNotification, principal: Principal, definition: Definition, schema: Mapping[str, Any] | None
) -> Surroundings:
    templates = await deps.neighbours.templates(principal, definition.templates())
    wanted = [definition.topic] if definition.topic else []
    tenant, topics, near = await deps.neighbours.tenant_and_topics(principal, wanted)
    named = definition.senders()
    senders = await deps.neighbours.senders(principal, named) if named else {}
    return Surroundings(templates, topics, tenant["default_locale"], tenant["zone"], schema, senders, near)


@dataclass(frozen=True, slots=True)
class _Making:
    """A release being made. `since`: the release that was active when its templates were queried."""

    current: Communication
    bundle: Mapping[str, Any]
    since: UUID | None


async def _freeze(
    deps: OrdersNotification, principal: Principal, unit: Communications, making: _Making
) -> tuple[Communication, Release]:
    current, bundle = making.current, making.bundle
    digest = domain.digest_of(current.definition, bundle)
    active = await unit.release(current.release_id) if current.release_id else None
    if active is not None and active.digest == digest:
        same = replace(current, released_draft=current.version)
        await unit.put(same)
        return same, active
    if current.release_id != making.since:  # ours may have older texts, or revive what was just retired
        raise Conflict("It was published or retired in the meantime; review it and publish it again.")
    number = (current.released or 0) + 1
    release = Release(uuid7(), current.name, number, digest, bundle, deps.clock(), principal.actor)
    published = replace(
        current, release_id=release.id, released=number, released_draft=current.version, retired_at=None
    )
    await unit.add_release(release, current.definition)
    await unit.put(published)
    await unit.changed()
    after = {"release_id": str(release.id), "version": number, "digest": digest.hex()}
    action = _action(deps, principal, "communication.publish", current.name, (None, after))
    head = ReleaseHead(release.id, number, digest)
    await unit.emit(current.name, [_published(current.name, head, active=True), action])
    return published, release


def _published(name: str, head: ReleaseHead, *, active: bool) -> ReleasePublished:
    return ReleasePublished(
        release_id=head.id, communication=name, version=head.version, digest=head.digest.hex(), active=active
    )


def _action(
    deps: OrdersNotification, principal: Principal, verb: str, of: str, change: tuple[Any, Any]
) -> ActionRecorded:
    before, after = change
    return ActionRecorded(actor=principal.actor, action=verb, object=of, at=deps.clock(), before=before, after=after)
