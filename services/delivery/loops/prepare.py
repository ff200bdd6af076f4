"""Prepare: leased rows become messages. Everything here is repeatable; nothing has been claimed yet.

release loaded → recipients resolved (one call per topic) → expiry, consent, quiet hours → step of the plan → render.
Recipients who must wait go back for later; refused ones get a row with the reason.
"""

import asyncio
from binascii import a2b_base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from libs.contracts.outcomes import Channel, Status
from libs.contracts.reasons import Reason
from libs.errors import Transient
from libs.ids import message_id
from libs.links import UnsubscribeLink, unsubscribe_url
from libs.rendering import RenderFailed
from libs.telemetry import get_logger
from services.delivery.domain.bodies import Body, Slot
from services.delivery.domain.planning import Recipient, Target, choose, consents, reached
from services.delivery.domain.quiet import in_tenants_zone, quiet_until
from services.delivery.domain.releases import Release, Unusable
from services.delivery.domain.variables import variables_of
from services.delivery.domain.work import GiveBack, Group, Later, Message, Prepared, Rest, WorkRow
from services.delivery.handlers.delivery import Line
from services.delivery.ports import Question

log = get_logger(__name__)

_RENDERS_AT_A_STRETCH = 40  # then the loop yields, so that a one-time code does not wait for a campaign
_MOST_KEYS = 1_000
_NO_LINKS: Final[dict[str, str]] = {}


async def prepare(line: Line, group: Group) -> Prepared:
    """Return a group with every recipient accounted for: to be called, refused, later, or the whole row given back."""
    return await _Preparing(line, group).run()


class _Preparing:
    def __init__(self, line: Line, group: Group) -> None:
        self.line = line
        self.now = line.clock()
        self.prepared = Prepared(group)
        self.bodies: dict[UUID, Body] = {}
        self.later: dict[tuple[int, datetime, Reason], list[int]] = defaultdict(list)
        self.rows: dict[int, WorkRow] = {row.id: row for row in group.rows}
        self.rendered = 0
        self.given: set[int] = set()  # rows whose release or recipients are unavailable now

    async def run(self) -> Prepared:
        releases = await self._releases()
        asked = await self._resolve(releases)
        for row in self.prepared.group.rows:
            if row.id not in self.given:
                await self._row(row, releases.get(row.request.release_id), asked.get(row.id))
        for (id_, due_at, reason), ordinals in self.later.items():
            self.prepared.later.append(Later(self.rows[id_], ordinals, due_at, reason))
        self.prepared.check_complete()
        return self.prepared

    # ---- the release

    async def _releases(self) -> dict[UUID, Release]:
        """Return the releases of the rows still wanted; rows whose release is unavailable go back."""
        rows = [row for row in self.prepared.group.rows if self._ended(row) is None]
        wanted = {(row.request.release_id, row.request.tenant, row.request.mode) for row in rows}
        found = await self.line.releases.get(wanted) if wanted else {}
        usable: dict[UUID, Release] = {}
        for row in rows:
            release = found.get(row.request.release_id, Unusable("not available yet"))
            if isinstance(release, Unusable):
                self._release_missing(row, release)
            else:
                usable[release.id] = release
        return usable

    def _release_missing(self, row: WorkRow, missing: Unusable) -> None:
        waited = (self.now - row.request.received_at).total_seconds()
        alarm = log.error if waited > self.line.pace.release_alarm else log.warning
        alarm(
            "release_missing",
            release_id=str(row.request.release_id),
            request_id=str(row.request.id),
            detail=missing.detail,
            waited_seconds=waited,
        )
        self._give_back(row, Reason.RELEASE_UNAVAILABLE)

    def _give_back(self, row: WorkRow, reason: Reason) -> None:
        seconds = self.line.pace.patience.delay(row.returns + 1, 0.5 + self.line.draw() / 2)
        due_at = min(self.now + timedelta(seconds=seconds), max(row.request.expires_at, self.now))
        self.given.add(row.id)
        self.prepared.away += 1
        if row.queued.shared:  # the rest of its row continues without it
            self.prepared.later.append(Later(row, row.ordinals, due_at, reason))
        else:
            self.prepared.back.append(GiveBack(row, due_at, reason))

    def _ended(self, row: WorkRow) -> Reason | None:
        """Return why nothing of the row is sent any more."""
        request = row.request
        if request.cancelled:
            return Reason.CANCELLED
        if not request.release_active:
            return Reason.RELEASE_INACTIVE
        return Reason.EXPIRED if request.expires_at <= self.now else None

    # ---- the recipients

    async def _resolve(self, releases: Mapping[UUID, Release]) -> dict[int, Mapping[str, Recipient]]:
        """Return the answers by row; rows whose query failed are given back."""
        by_question: dict[tuple[Any, ...], list[WorkRow]] = defaultdict(list)
        for row in self.prepared.group.rows:
            release = releases.get(row.request.release_id)
            if row.id not in self.given and release is not None and self._ended(row) is None:
                request = row.request
                by_question[request.tenant, request.mode, release.topic, release.channels].append(row)
        batches = [(key, batch) for key, rows in by_question.items() for batch in _batches(rows)]
        answers = await asyncio.gather(*(self._ask(key, batch) for key, batch in batches))
        asked: dict[int, Mapping[str, Recipient]] = {}
        for (_, batch), answer in zip(batches, answers, strict=True):
            for row in batch:
                if answer is None:
                    self._give_back(row, Reason.RECIPIENTS_UNAVAILABLE)
                else:
                    asked[row.id] = answer
        return asked

    async def _ask(self, key: tuple[Any, ...], rows: Sequence[WorkRow]) -> Mapping[str, Recipient] | None:
        slots = (self._body(row).slot(ordinal) for row in rows for ordinal in row.ordinals)
        keys = sorted({slot.recipient for slot in slots if slot is not None})
        try:
            tenant, mode, topic, channels = key
            question = Question(tenant, mode, topic, channels, keys)
            return await self.line.tokens.resolve(question) if keys else {}
        except Transient as error:
            log.warning("recipients_unavailable", detail=error.detail, recipients=len(keys))
            return None

    def _body(self, row: WorkRow) -> Body:
        request = row.request
        if request.id not in self.bodies:
            assert request.body is not None, f"request {request.id} has work and no body"
            self.bodies[request.id] = Body(self.line.keyring, request.id, request.body)
        return self.bodies[request.id]

    # ---- one row, one recipient

    async def _row(self, row: WorkRow, release: Release | None, found: Mapping[str, Recipient] | None) -> None:
        body = self._body(row)
        ended = self._ended(row)
        for ordinal in row.ordinals:
            slot = body.slot(ordinal)
            if slot is None:
                self._refuse(row, ordinal, Slot(body.notification_id(ordinal), "", None), Reason.RECIPIENT_ERASED)
            elif ended is not None or release is None or found is None:
                self._refuse(row, ordinal, slot, ended or Reason.EXPIRED)
            elif (recipient := found.get(slot.recipient)) is None:
                self._refuse(row, ordinal, slot, Reason.NO_RECIPIENT)
            else:
                self._recipient(_Who(row, body, ordinal, slot), release, recipient)
                if self.rendered >= _RENDERS_AT_A_STRETCH:
                    self.rendered = 0
                    await asyncio.sleep(0)

    def _refuse(self, row: WorkRow, ordinal: int, slot: Slot, reason: Reason) -> None:
        if row.attempt > 1:
            self.prepared.rest.append(Rest(row, ordinal, slot.notification_id, slot.recipient, reason))
            return
        message = Message(row, ordinal, slot.notification_id, slot.recipient, 0, Status.SKIPPED, reason)
        message.step = row.plan_step
        self.prepared.messages.append(message)

    def _recipient(self, who: "_Who", release: Release, recipient: Recipient) -> None:
        row, ordinal, slot = who.row, who.ordinal, who.slot
        hours = in_tenants_zone(recipient["quiet_hours"], release.default_zone) if release.obeys_quiet_hours else None
        if (until := quiet_until(hours, self.now)) is not None:
            self.later[row.id, min(until, row.request.expires_at), Reason.QUIET_HOURS].append(ordinal)
            return
        if row.attempt > 1:
            self.prepared.rest.append(Rest(row, ordinal, slot.notification_id, slot.recipient, Reason.NO_ADDRESS))
            self._woken(who, release, recipient)
            return
        choice = choose(release, recipient, row.plan_step)
        if not choice.targets:
            self._refuse(row, ordinal, slot, choice.reason)
        for target in choice.targets:
            about = release, target, recipient
            self._render(who, about, _message(who, about, choice.step))

    def _woken(self, who: "_Who", release: Release, recipient: Recipient) -> None:
        """A later attempt: to the addresses that the step reaches now, if they may still be written to."""
        step = who.row.plan_step
        for planned in release.plan[step].channels:
            may = consents(release, planned, recipient)
            for target in reached(planned, recipient):
                message = _message(who, (release, target, recipient), step)
                if may:
                    self._render(who, (release, target, recipient), message)
                else:
                    message.status, message.reason = Status.SKIPPED, Reason.NO_CONSENT
                    self.prepared.messages.append(message)

    def _render(self, who: "_Who", about: "_About", message: Message) -> None:
        self.prepared.messages.append(message)
        self.rendered += 1
        release, target, recipient = about
        texts = target.planned.texts
        links = _NO_LINKS
        if release.marketing and release.topic and (texts.needs_links or message.channel is Channel.EMAIL):
            message.unsubscribe_url = self._unsubscribe(message, release.topic, target)
            links = {"unsubscribe": message.unsubscribe_url}
        try:
            variables = variables_of(who.body, who.slot, recipient, links, release.default_zone)
            text = texts.render(message.locale, variables)
        except RenderFailed as error:
            message.status, message.reason, message.detail = Status.SKIPPED, error.reason, error.detail
            return
        message.content, message.locale, message.digest = text.content, text.locale, text.digest

    def _unsubscribe(self, message: Message, topic: str, target: Target) -> str:
        request = message.row.request
        link = UnsubscribeLink(
            request.tenant,
            request.mode,
            message.recipient,
            topic,
            target.planned.channel,
            message_id(message.notification_id, message.address_id),
        )
        return unsubscribe_url(self.line.keyring.key("links"), self.line.public_url, link)


class _Who(msgspec.Struct, frozen=True, gc=False):
    """One recipient of a row, opened."""

    row: WorkRow
    body: Body
    ordinal: int
    slot: Slot


_About = tuple[Release, Target, Recipient]


def _message(who: _Who, about: _About, step: int) -> Message:
    release, target, recipient = about
    address, channel = target.address, target.planned.channel
    return Message(
        who.row,
        who.ordinal,
        who.slot.notification_id,
        who.slot.recipient,
        address["id"],
        Status.SENDING,
        recipient_id=recipient["id"],
        channel=channel,
        sender=target.planned.sender,
        step=step,
        marketing=release.marketing,
        locale=address["locale"] or recipient["locale"],
        hash=a2b_base64(address["hash"]),
        kind=address["kind"],
        address=address["value"],
        name=_name(recipient) if channel is Channel.EMAIL else None,
    )


def _name(recipient: Recipient) -> str | None:
    """Return the name for the To header."""
    first, last = recipient["first_name"], recipient["last_name"]
    return f"{first} {last}" if first and last else first or last or None


def _batches(rows: Sequence[WorkRow]) -> list[list[WorkRow]]:
    """Group rows in order, so that a query stays within its limit; a row is never split."""
    batches: list[list[WorkRow]] = [[]]
    size = 0
    for row in rows:
        if batches[-1] and size + len(row.ordinals) > _MOST_KEYS:
            batches.append([])
            size = 0
        batches[-1].append(row)
        size += len(row.ordinals)
    return batches
