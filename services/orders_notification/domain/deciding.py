"""Decides which communications an event requests, and for whom: pure, in memory, without lookups.

Every "no" becomes a decision with its reason; none is silent.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from libs.contracts.delivery import NotificationRequested, RequestedRecipient
from libs.contracts.orders_notification import Decision
from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.expressions import Context
from libs.ids import CauseId, RecipientKey, notification_id, request_id
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.recipients import BadRecipient, recipient_keys
from services.orders_notification.domain.releases import CompiledRelease, Listeners

REQUESTED = "requested"
RECIPIENTS_PER_REQUEST = 1_000


class Decided(msgspec.Struct, frozen=True):
    """All that was decided about one event: the decisions, and the requests to `delivery`. `untold`: whom a refusing
    communication would have written to."""

    decisions: tuple[Decision, ...]
    requests: tuple[NotificationRequested, ...] = ()
    untold: tuple[RecipientKey, ...] = ()

    @property
    def recipients(self) -> list[str]:
        """All recipients of the decisions, without repeats, in order."""
        return list(dict.fromkeys(d.recipient for d in self.decisions if d.recipient is not None))


_NOBODY_LISTENS = Decided((Decision(communication=None, outcome=Reason.NO_COMMUNICATION.word),))


def decide(event: BusinessEvent, cause: CauseId, listeners: Listeners, at: datetime) -> Decided:
    """Evaluate every listening release. `at` is now: an event past a communication's expiry requests nothing."""
    if not listeners.releases:
        return _NOBODY_LISTENS
    variables = _variables(event)
    context = Context({"event": variables}, listeners.needs)
    # the data as received bytes: encoded once, exact to the last digit
    carried = variables | {"time": event.time, "data": msgspec.Raw(event.body)}
    decisions: list[Decision] = []
    requests: list[NotificationRequested] = []
    untold: list[RecipientKey] = []
    for release in listeners.releases:
        refusal, keys = _recipients(release, event, context, at)
        if refusal is not None:
            decisions.append(refusal)
            untold.extend(_whom(release, event, context))
            continue
        requested = [
            RequestedRecipient(key=key, notification_id=notification_id(cause, release.communication, key))
            for key in keys
        ]
        decisions.extend(_requested(release, requested))
        requests.extend(_requests(release, cause, _Cargo(carried, _expiry(event, release, at), requested)))
    return Decided(tuple(decisions), tuple(requests), tuple(untold))


def about(event: BusinessEvent, listeners: Listeners) -> list[RecipientKey]:
    """Return whom the listening communications would write to, for an event that nothing is decided about."""
    if not listeners.releases:
        return []
    context = Context({"event": _variables(event)}, listeners.needs)
    return [key for release in listeners.releases for key in _whom(release, event, context)]


def wiped_when_final(decided: Decided) -> Decided:
    """Mark the requests of an event with secrets: delivery wipes their variables once everything is final."""
    requests = tuple(msgspec.structs.replace(request, secret=True) for request in decided.requests)
    return msgspec.structs.replace(decided, requests=requests)


def _recipients(
    release: CompiledRelease, event: BusinessEvent, context: Context, at: datetime
) -> tuple[Decision | None, Sequence[RecipientKey]]:
    if _expiry(event, release, at) <= at:
        return _refusal(release, Reason.EXPIRED, f"the event's time is {event.time}"), ()
    try:
        if release.condition is not None:
            held = release.condition.evaluate(context)
            if held is not True:
                detail = None if held is False else "the condition's result is not a boolean"
                reason = Reason.CONDITION_FALSE if held is False else Reason.CONDITION_ERROR
                return _refusal(release, reason, detail), ()
        keys = _keys(release, event, context)
    except (Invalid, BadRecipient) as error:
        return _refusal(release, Reason.CONDITION_ERROR, str(error)), ()
    return (None, keys) if keys else (_refusal(release, Reason.RECIPIENT_MISSING, None), ())


def _keys(release: CompiledRelease, event: BusinessEvent, context: Context) -> list[RecipientKey]:
    return recipient_keys(event.recipient if release.recipient is None else release.recipient.evaluate(context))


def _whom(release: CompiledRelease, event: BusinessEvent, context: Context) -> list[RecipientKey]:
    """Erasure finds events by the people in them, also where nobody was written to."""
    try:
        return _keys(release, event, context)
    except (Invalid, BadRecipient):
        return []


def _expiry(event: BusinessEvent, release: CompiledRelease, at: datetime) -> datetime:
    """Return when it expires, counted from the event's time, or from now if that is in the future: a message whose
    provider is away would be retried for years."""
    return min(event.occurred_at, at) + timedelta(seconds=release.expiry_seconds)


def _refusal(release: CompiledRelease, reason: Reason, detail: str | None) -> Decision:
    return Decision(communication=release.communication, outcome=reason.word, release_id=release.id, detail=detail)


def _requested(release: CompiledRelease, recipients: Sequence[RequestedRecipient]) -> Iterator[Decision]:
    for recipient in recipients:
        yield Decision(
            communication=release.communication,
            outcome=REQUESTED,
            recipient=recipient.key,
            release_id=release.id,
            notification_id=recipient.notification_id,
        )


class _Cargo(msgspec.Struct, frozen=True):
    """The variables that the requests of one release carry."""

    event: dict[str, Any]
    expires_at: datetime
    recipients: list[RequestedRecipient]


def _requests(release: CompiledRelease, cause: CauseId, cargo: _Cargo) -> Iterator[NotificationRequested]:
    for part, start in enumerate(range(0, len(cargo.recipients), RECIPIENTS_PER_REQUEST)):
        yield NotificationRequested(
            request_id=request_id(cause, release.id, part),
            cause_id=cause,
            cause_kind="event",
            release_id=release.id,
            communication=release.communication,
            lane=release.lane.word,
            on_unknown=release.on_unknown.word,
            expires_at=cargo.expires_at,
            event=cargo.event,
            recipients=tuple(cargo.recipients[start : start + RECIPIENTS_PER_REQUEST]),
        )


def _variables(event: BusinessEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.occurred_at,
        "data": event.data,
    }
