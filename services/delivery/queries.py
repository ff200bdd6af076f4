"""Reads for API and console: the standing of notifications, messages, rendering again, figures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.contracts.outcomes import Channel, Mode
from libs.errors import Invalid, NotFound, Transient
from libs.ids import message_id, parse_message_id
from libs.links import UnsubscribeLink, unsubscribe_url
from libs.rendering import RenderFailed
from libs.rendering.contents import parts_of
from services.delivery.domain.bodies import Body, Slot
from services.delivery.domain.planning import Recipient
from services.delivery.domain.releases import PlannedChannel, Release, Unusable
from services.delivery.domain.standing import Explained, MessageRow, Standing, explain
from services.delivery.domain.variables import variables_of
from services.delivery.domain.work import QUEUE_LANES, Request
from services.delivery.handlers.delivery import Delivery
from services.delivery.ports import Question, Realm


@dataclass(frozen=True, slots=True)
class RenderedAgain:
    """A message's text, rendered again. `digest`: equal, differs or not_reproducible; `why` if it is not equal."""

    digest: str
    why: str | None = None
    parts: dict[str, Any] | None = None


_MOST_HOLDS = 10_000
_DIFFERS = (
    "The recipient's name, attributes or zone has changed since, or a newer version of Depesche renders it differently."
)


async def explained(deps: Delivery, realm: Realm, ids: Sequence[UUID]) -> dict[UUID, tuple[Standing, Explained]]:
    """Return where notifications stand and what they wait for; unknown ids are absent."""
    now = deps.line.clock()
    standings = await deps.reads.standings(realm, ids)
    held = any(standing.next is not None and standing.next.held for standing in standings)
    holds = await deps.operations.holds(realm, ("", ""), _MOST_HOLDS) if held else []
    return {standing.notification_id: (standing, explain(standing, now, holds)) for standing in standings}


async def message(deps: Delivery, realm: Realm, id_: str) -> MessageRow:
    """Return one message with its attempts and receipts. Raises NotFound."""
    rows = await deps.reads.messages(realm, keys_of([id_]))
    if not rows:
        raise NotFound(f"There is no message {id_} in this tenant and mode.")
    return rows[0]


async def request(deps: Delivery, realm: Realm, id_: UUID) -> Mapping[str, Any]:
    """Return one request with its account. Raises NotFound."""
    found = await deps.reads.request(realm, id_)
    if found is None:
        raise NotFound(f"There is no request {id_} in this tenant and mode.")
    return found


async def figures(deps: Delivery, realm: Realm, hours: float) -> dict[str, Any]:
    """Return sums over the requests of the last hours, and the queue."""
    found = await deps.reads.figures(realm, deps.line.clock() - timedelta(hours=hours))
    backlog = {QUEUE_LANES[lane]: values for lane, values in found["backlog"].items()}
    return {
        "requests": found["requests"],
        "open_requests": found["open_requests"],
        "messages": found["messages"],
        "communications": found["communications"],
        "backlog": {word: backlog[word][1] if word in backlog else 0 for word in QUEUE_LANES.values()},
        "held_chunks": sum(values[2] for values in backlog.values()),
        "oldest_due_seconds": round(max([0.0, *(values[3] for values in backlog.values())]), 1),
        "outbox": found["outbox"][0],
        "outbox_lag_seconds": round(found["outbox"][1], 1),
    }


def keys_of(ids: Sequence[str]) -> list[tuple[UUID, int]]:
    """Parse message ids. Raises Invalid naming the first wrong one."""
    keys: list[tuple[UUID, int]] = []
    for place, id_ in enumerate(ids):
        try:
            notification, address = parse_message_id(id_)
        except ValueError as error:
            raise Invalid(f"{id_[:80]!r} is not a message id: {error}.", pointer=f"/ids/{place}") from error
        if address >= 1 << 63:
            raise Invalid(f"{id_[:80]!r} is not one of our message ids.", pointer=f"/ids/{place}")
        keys.append((notification, int(address)))
    return keys


async def rendered(deps: Delivery, realm: Realm, ids: Sequence[str]) -> dict[str, RenderedAgain]:
    """Render messages again, from release and variables; unknown ones are absent."""
    rows = await deps.reads.messages(realm, keys_of(ids))
    requests = await deps.reads.requests({row.request_id for row in rows})
    wanted = {(r.release_id, r.tenant, r.mode) for r in requests.values()}
    releases = await deps.line.releases.get(wanted) if wanted else {}
    known = [_Known(row, about := requests[row.request_id], releases[about.release_id]) for row in rows]
    recipients = await _recipients(deps, [one for one in known if _slot(deps, one) is not None])
    return {
        message_id(one.row.notification_id, one.row.address_id): _again(deps, one, recipients.get(one.row.ordinal_key))
        for one in known
    }


class _Known(NamedTuple):
    """A message with everything that its text is made from."""

    row: MessageRow
    about: Request
    release: Release | Unusable


def _again(deps: Delivery, known: _Known, recipient: Recipient | None) -> RenderedAgain:
    row, about, release = known
    if row.digest is None:
        return RenderedAgain("not_reproducible", "No text was rendered for it.")
    if isinstance(release, Unusable):
        return RenderedAgain("not_reproducible", f"The release is not available: {release.detail}")
    if about.secret:  # also while they are still needed
        return RenderedAgain(
            "not_reproducible", "Its variables are secret, such as a one-time code; nobody is shown it."
        )
    opened = _slot(deps, known)
    if opened is None or opened[0].event is None:
        return RenderedAgain("not_reproducible", "Its variables were sealed and have been wiped.")
    body, slot = opened
    planned = _planned(release, row)
    if recipient is None or planned is None:
        return RenderedAgain("not_reproducible", "The recipient is no longer known.")
    links: dict[str, str] = {}
    if release.marketing and release.topic:
        links["unsubscribe"] = _unsubscribe(deps, row, about, (release.topic, slot))
    try:
        variables = variables_of(body, slot, recipient, links, release.default_zone)
        text = planned.texts.render(row.locale, variables)
    except RenderFailed as error:
        return RenderedAgain("differs", f"It no longer renders: {error.detail}")
    parts = {name: value for name, value in parts_of(text.content).items() if value}
    if text.digest == row.digest:
        return RenderedAgain("equal", None, parts)
    return RenderedAgain("differs", _DIFFERS, parts)


def _slot(deps: Delivery, known: _Known) -> tuple[Body, Slot] | None:
    if known.about.body is None:
        return None
    body = Body(deps.line.keyring, known.about.id, known.about.body)
    slot = body.slot(known.row.ordinal)
    return None if slot is None else (body, slot)


async def _recipients(deps: Delivery, known: Sequence[_Known]) -> dict[tuple[UUID, int], Recipient]:
    """Return recipients as they are now, by request and ordinal, with one query per topic."""
    asked: dict[tuple[int, Mode, str | None, tuple[str, ...]], dict[tuple[UUID, int], str]] = defaultdict(dict)
    for one in known:
        opened = _slot(deps, one)
        if opened is not None and isinstance(one.release, Release):
            key = (one.about.tenant, one.about.mode, one.release.topic, one.release.channels)
            asked[key][one.row.ordinal_key] = opened[1].recipient
    found: dict[tuple[UUID, int], Recipient] = {}
    for (tenant, mode, topic, channels), keys in asked.items():
        question = Question(tenant, mode, topic, channels, sorted(set(keys.values())))
        try:
            answer = await deps.line.tokens.resolve(question)
        except Transient:
            continue
        found |= {place: answer[key] for place, key in keys.items() if key in answer}
    return found


def _planned(release: Release, row: MessageRow) -> PlannedChannel | None:
    channels = release.plan[row.plan_step].channels if row.plan_step < len(release.plan) else ()
    return next((planned for planned in channels if planned.channel == row.channel), None)


def _unsubscribe(deps: Delivery, row: MessageRow, about: Request, whom: tuple[str, Slot]) -> str:
    topic, slot = whom
    id_ = message_id(row.notification_id, row.address_id)
    link = UnsubscribeLink(about.tenant, about.mode, slot.recipient, topic, Channel(row.channel), id_)
    return unsubscribe_url(deps.line.keyring.key("links"), deps.line.public_url, link)
