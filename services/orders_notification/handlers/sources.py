"""A shop's webhook in five moves: verify (or answer the handshake), map, deduplicate, apply, answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prometheus_client import Counter

from libs.contracts.reasons import Reason
from libs.errors import NotFound, Unauthorized
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.event_types import without
from services.orders_notification.domain.intake import Kept, Origin, Raw, Submission, Verdict, new_cause
from services.orders_notification.domain.mapping import Answer, Mapped, answer_of, handshake, map_delivery
from services.orders_notification.domain.reading import Unmappable
from services.orders_notification.domain.signatures import Scheme, carries_signature, verify
from services.orders_notification.domain.sources import Source
from services.orders_notification.handlers.intake import accept, keep, prepare
from services.orders_notification.ports.deps import OrdersNotification
from services.orders_notification.ports.sources import StoredSource

_deliveries = Counter(
    "depesche_source_deliveries", "Webhooks and messages of topics by source and outcome", ["source", "outcome"]
)

# Never stored: whoever has these can impersonate somebody.
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_TRANSPORT = frozenset({"host", "connection", "accept", "accept-encoding", "content-length", "transfer-encoding"})


_HANDSHAKE_BYTES = 4_096


class Received:
    """The result of a delivery. `answer`: what its sender must read, to a first call or to every delivery."""

    def __init__(self, verdicts: list[Verdict], *, filtered: int = 0, answer: Answer | None = None) -> None:
        self.verdicts = verdicts
        self.filtered = filtered
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Read:
    """A genuine delivery: whose it is, what is stored of it, and its events or why there are none."""

    owner: StoredSource
    raw: Raw
    result: Mapped | Unmappable


async def receive(deps: OrdersNotification, name: str, delivery: Delivery, traceparent: str | None) -> Received:
    """Accept a delivery. Raises NotFound, Unauthorized; a delivery that cannot be mapped is stored, not refused."""
    candidates = await _candidates(deps, name)
    try:
        # in a thread: megabytes, also of strangers, and a thousand events in one body would stop everything else
        read = await asyncio.to_thread(_read, candidates, delivery, deps.clock())
    except Unauthorized:
        observe(name, "refused")
        raise
    if isinstance(read, Answer):
        observe(name, "handshake")
        return Received([], answer=read)
    received = await _taken_in(deps, read, traceparent)
    received.answer = answer_of(read.owner.source)
    observe(name, outcome(read.result))
    return received


def _read(candidates: list[StoredSource], delivery: Delivery, now: datetime) -> _Read | Answer:
    try:
        owner = verified(candidates, delivery, now)
    except Unauthorized:
        if _is_signed(candidates, delivery) or (answer := _shaken(candidates, delivery)) is None:
            raise
        return answer
    if answer := _shaken([owner], delivery):  # with a token in its URL, a first call is verified like any other
        return answer
    seen = without_credentials(owner.source, delivery)
    return _Read(owner, Raw(seen.body, dict(seen.headers), dict(seen.query)), try_mapping(owner.source, seen, now))


def try_mapping(source: Source, delivery: Delivery, now: datetime) -> Mapped | Unmappable:
    """Return a delivery's events, or why there are none."""
    try:
        return map_delivery(source, delivery, now)
    except Unmappable as error:
        return error


async def first_call(deps: OrdersNotification, name: str, delivery: Delivery) -> Answer:
    """Return the answer to a GET by which a sender tries an address. Raises NotFound, Unauthorized."""
    candidates = await _candidates(deps, name)
    answer = _shaken(candidates, delivery)
    if answer is None:  # Mailchimp wants no more than a 200
        verified([one for one in candidates if _has_token(one.source)], delivery, deps.clock())
    observe(name, "handshake")
    return answer or Answer()


def _has_token(source: Source) -> bool:
    return source.verification is not None and source.verification.scheme is Scheme.TOKEN


async def _candidates(deps: OrdersNotification, name: str) -> list[StoredSource]:
    found = [one for one in await deps.sources.named(name) if one.source.verification is not None]
    if not found:
        raise NotFound(f"There is no source {name!r} that accepts webhooks; `depesche sources list` shows the sources.")
    return found


def _is_signed(candidates: list[StoredSource], delivery: Delivery) -> bool:
    """A delivery with a wrong signature is no first call, though another tenant's handshake might answer it: its sender
    would take it for received."""
    ways = (candidate.source.verification for candidate in candidates)
    return any(way is not None and carries_signature(way, delivery) for way in ways)


def _shaken(candidates: list[StoredSource], delivery: Delivery) -> Answer | None:
    if len(delivery.body) > _HANDSHAKE_BYTES:  # an unsigned sender must not make us parse large bodies
        return None
    answers = (handshake(candidate.source, delivery) for candidate in candidates)
    return next((answer for answer in answers if answer is not None), None)


def outcome(result: Mapped | Unmappable) -> str:
    """Return what a delivery counts as."""
    if isinstance(result, Unmappable):
        return "kept"
    return "mapped" if result.events or result.filtered else "empty"


def observe(source: str, outcome: str) -> None:
    """Count a delivery."""
    _deliveries.labels(source, outcome).inc()


def verified(candidates: list[StoredSource], delivery: Delivery, now: datetime) -> StoredSource:
    """Return the source whose secret verifies: it names tenant and mode. Raises the last candidate's Unauthorized."""
    owner: StoredSource | None = None
    refused = Unauthorized("The signature could not be verified.")
    for candidate in candidates:
        try:
            _verify(candidate, delivery, now)
        except Unauthorized as error:
            refused = error
        else:
            owner = owner or candidate
    if owner is None:
        raise refused
    return owner


def _verify(candidate: StoredSource, delivery: Delivery, now: datetime) -> None:
    if candidate.source.verification is None:
        raise Unauthorized("This source reads a topic and accepts no webhooks.")
    verify(candidate.source.verification, candidate.secrets, delivery, now)


async def _taken_in(deps: OrdersNotification, read: _Read, traceparent: str | None) -> Received:
    owner, name = read.owner, read.owner.source.name
    origin = Origin(owner.tenant, owner.mode, f"source:{name}", traceparent, source=name)
    if isinstance(read.result, Unmappable):
        kept = Kept(new_cause(), origin, Reason.MAPPING_FAILED, read.result.errors, read.raw)
        return Received(await keep(deps, [kept]))
    submissions = [Submission(origin, event, read.raw) for event in read.result.events]
    if len(submissions) == 1:
        verdicts = [await deps.committer.submit(submissions[0])]
    else:
        verdicts = await accept(deps, submissions) if submissions else []
    return Received(verdicts, filtered=read.result.filtered)


def without_credentials(source: Source, delivery: Delivery) -> Delivery:
    """Return the delivery as expressions see it and as it is stored: without credentials and transport headers.

    So no mapping can write a token into an event, and a replay sees what the first attempt saw.
    """
    verification = source.verification
    hidden = CREDENTIALS | _TRANSPORT
    query = dict(delivery.query)
    if verification is not None and verification.scheme is Scheme.TOKEN:
        hidden |= {verification.header}
        query.pop(verification.query or "", None)
    headers = {name: value for name, value in delivery.headers.items() if name not in hidden}
    return replace(delivery, headers=headers, query=query)


async def rehearse(
    deps: OrdersNotification, stored: StoredSource, delivery: Delivery, *, unmasked: bool
) -> dict[str, Any]:
    """Return what a pasted delivery would become, step by step, without writing anything."""
    source = stored.source
    report: dict[str, Any] = {"handshake": False, "events": [], "filtered": 0, "errors": []}
    if source.topic is not None:
        report |= {"verified": True, "verification": "A topic's messages are not signed; the broker controls access."}
    else:
        try:
            _verify(stored, delivery, deps.clock())
            report |= {"verified": True, "verification": "The signature matches an active secret."}
        except Unauthorized as error:
            report |= {"verified": False, "verification": error.detail}
        if report["verified"] or not _is_signed([stored], delivery):
            report["handshake"] = handshake(source, delivery) is not None
    try:
        seen = without_credentials(source, delivery)
        mapped = await asyncio.to_thread(map_delivery, source, seen, deps.clock())
    except Unmappable as error:
        report["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in error.errors]
        return report
    report["filtered"] = mapped.filtered
    report["events"] = await _rehearsed(deps, stored, mapped, unmasked=unmasked)
    return report


async def _rehearsed(
    deps: OrdersNotification, stored: StoredSource, mapped: Mapped, *, unmasked: bool
) -> list[Mapping[str, Any]]:
    owner = (stored.tenant, stored.mode)
    catalogue = (await deps.catalogues.current([owner]))[owner]
    origin = Origin(*owner, f"source:{stored.source.name}", source=stored.source.name)
    shown: list[Mapping[str, Any]] = []
    for event in mapped.events:
        made = prepare(Submission(origin, event), catalogue, deps.clock())
        declared = catalogue.event_types.get(event.type)
        hidden = () if declared is None or unmasked else (*declared.pii, *declared.secret)
        shown.append(
            {
                "id": event.id,
                "type": event.type,
                "source": event.source,
                "subject": event.subject,
                "time": event.time,
                "recipient": event.recipient,
                "data": without(event.data, hidden),
                "errors": [{"pointer": e.pointer, "detail": e.detail} for e in made.errors]
                if isinstance(made, Kept)
                else [],
                "decisions": [] if isinstance(made, Kept) else list(made.decided.decisions),
            }
        )
    return shown
