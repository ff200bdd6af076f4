"""A request as it is accepted, and how it is split into chunks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from libs.contracts.delivery import NotificationRequested
from libs.contracts.envelope import Envelope
from libs.contracts.erasing import Owner, nameless
from libs.contracts.outcomes import Lane, OnUnknown
from libs.errors import FieldError, Invalid
from libs.keyring import Keyring
from services.delivery.domain import bodies

CHUNK = {Lane.TRANSACTIONAL: 20, Lane.BULK: 500}
MOST_RECIPIENTS = 1_000
_LANES = {lane.word: lane for lane in Lane}
_ON_UNKNOWN = {policy.word: policy for policy in OnUnknown}


class NewRequest(msgspec.Struct, frozen=True):
    """An envelope, checked and sealed."""

    id: UUID
    tenant: int
    mode: int
    command: NotificationRequested
    lane: Lane
    on_unknown: OnUnknown
    subject: str | None
    traceparent: str | None
    marks: bytes
    body: bytes


class NewWork(NamedTuple):
    """Some recipients of a request, by their index in it; or requests of one recipient each that share a row."""

    request_id: UUID | None
    lane: Lane
    ordinals: range
    together: Sequence[UUID] = ()


def new_request(envelope: Envelope, keyring: Keyring) -> NewRequest:
    """Check and seal a command. Raises Invalid naming everything that is wrong with it."""
    command: NotificationRequested = envelope.data
    if problems := list(_problems(command)):
        raise Invalid.many(problems)
    return NewRequest(
        id=command.request_id,
        tenant=envelope.tenant,
        mode=int(envelope.mode),
        command=command,
        lane=_LANES[command.lane],
        on_unknown=_ON_UNKNOWN[command.on_unknown],
        subject=envelope.subject,
        traceparent=envelope.traceparent,
        marks=bodies.marks(keyring, envelope.tenant, int(envelope.mode), command.recipients),
        body=bodies.pack(keyring, command.request_id, command.event, command.recipients),
    )


def owners_of(request: NewRequest) -> Iterator[Owner]:
    """Yield whom a request is for, as erasures name them."""
    return ((request.tenant, request.mode, one.key) for one in request.command.recipients if one.key)


def without_erased(request: NewRequest, erased: Mapping[Owner, datetime], keyring: Keyring) -> NewRequest:
    """Return the request with the slots of recipients who were erased after its cause wiped."""
    gone = {owner[2]: erased[owner] for owner in owners_of(request) if owner in erased}
    command = nameless(request.command, gone) if gone else request.command
    if command == request.command:
        return request
    return msgspec.structs.replace(
        request,
        command=command,
        marks=bodies.marks(keyring, request.tenant, request.mode, command.recipients),
        body=bodies.pack(keyring, request.id, command.event, command.recipients),
    )


def chunks(request: NewRequest) -> Iterator[NewWork]:
    """Yield the request's work rows: small ones in the transactional lane, so that recipients do not wait for one
    another."""
    size, count = CHUNK[request.lane], len(request.command.recipients)
    for first in range(0, count, size):
        yield NewWork(request.id, request.lane, range(first, min(first + size, count)))


def shared(requests: Sequence[NewRequest]) -> Iterator[NewWork]:
    """Yield shared work rows for requests of one recipient each: as many per row as a chunk has recipients."""
    lanes: dict[Lane, list[UUID]] = defaultdict(list)
    for request in requests:
        lanes[request.lane].append(request.id)
    for lane, ids in lanes.items():
        for first in range(0, len(ids), CHUNK[lane]):
            yield NewWork(None, lane, range(1), ids[first : first + CHUNK[lane]])


def _problems(command: NotificationRequested) -> Iterator[FieldError]:
    count = len(command.recipients)
    if not 1 <= count <= MOST_RECIPIENTS:
        yield FieldError("/recipients", f"There are {count} recipients; send 1 to {MOST_RECIPIENTS:,} per request.")
    named = [recipient.key for recipient in command.recipients if recipient.key]  # without those who were erased
    if count > 1 and len(set(named)) != len(named):
        yield FieldError("/recipients", "A recipient is named twice; name each once per cause and release.")
    ids = [recipient.notification_id.int for recipient in command.recipients]
    if count > 1 and len(set(ids)) != count:
        yield FieldError("/recipients", "Two recipients have the same notification id; derive it from the key.")
    time_bits = command.cause_id.int >> 80
    if ids and not min(ids) >> 80 == max(ids) >> 80 == time_bits:
        yield FieldError(
            "/recipients", "A notification id does not carry the time of its cause; derive it from the cause."
        )
    if command.request_id.int >> 80 != time_bits:
        yield FieldError(
            "/request_id", "The request id does not carry the time of its cause; derive it from the cause."
        )
    if command.expires_at.tzinfo is None:
        yield FieldError("/expires_at", "The time has no zone; send it in UTC.")
    for name, words in (("lane", _LANES), ("on_unknown", _ON_UNKNOWN)):
        if (word := getattr(command, name)) not in words:
            yield FieldError(f"/{name}", f"{word!r} is not one of {', '.join(words)}")
