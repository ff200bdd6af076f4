"""Owns the outcome of calls to other systems: retried for days, given up, disabled; pure.

The times between attempts are those that Standard Webhooks recommends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.outcomes import Mode, Word

KINDS = (BounceClassified.TYPE, SuppressionChanged.TYPE)
TEST_KIND = "webhook.test"
AGAIN_AFTER = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
_LONGEST_PAUSE = timedelta(minutes=5)
_LONGEST_WISH = timedelta(hours=1)
_GONE = 410


class State(Word):
    """The state of an event for one webhook."""

    WAITING = 0
    DELIVERED = 1
    GIVEN_UP = 2


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret. `until`: the older one's end after a rotation; None: no end."""

    key: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Another system's webhook. `failing_since`: the first of the consecutive failed calls."""

    id: UUID
    tenant: int
    mode: Mode
    url: str
    kinds: tuple[str, ...]
    note: str
    secrets: tuple[Secret, ...]
    enabled: bool
    version: int
    created_at: datetime
    changed_at: datetime
    disabled_for: str | None = None
    failures: int = 0
    failing_since: datetime | None = None
    next_at: datetime | None = None

    def keys(self, now: datetime) -> list[str]:
        """Return the keys that currently sign, newest first."""
        return [secret.key for secret in self.secrets if secret.until is None or secret.until > now]


@dataclass(frozen=True, slots=True)
class Told:
    """An event for a webhook."""

    id: UUID
    kind: str
    body: bytes
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call. Without a status there was no reply, and `error` says why."""

    status: int | None
    error: str | None
    milliseconds: int
    retry_after: float | None = None  # seconds

    @property
    def is_ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made."""

    event: Told
    at: datetime
    answer: Answer


def after(call: Call, now: datetime) -> tuple[State, datetime]:
    """Return an event's state after a call, and when it is due again."""
    if call.answer.is_ok:
        return State.DELIVERED, now
    if call.event.attempts >= len(AGAIN_AFTER):
        return State.GIVEN_UP, now
    return State.WAITING, now + max(AGAIN_AFTER[call.event.attempts], _wish(call.answer))


def after_all(webhook: Webhook, calls: Sequence[Call], now: datetime, disable_after: timedelta) -> Webhook:
    """Return a webhook's state after calls to it. One that answers is healthy, even if it refuses single events."""
    failed = [call.answer for call in calls if not call.answer.is_ok]
    if any(answer.status == _GONE for answer in failed):
        return replace(webhook, enabled=False, disabled_for="gone", failures=0, failing_since=None, next_at=now)
    if not calls:
        return webhook
    if len(failed) < len(calls):
        wish = max(map(_wish, failed), default=timedelta())
        return replace(webhook, failures=0, failing_since=None, next_at=now + wish)
    since = webhook.failing_since or min(call.at for call in calls)
    if now - since >= disable_after:
        return replace(webhook, enabled=False, disabled_for="failing", failures=0, failing_since=None, next_at=now)
    failures = webhook.failures + 1
    pause = min(_LONGEST_PAUSE, timedelta(seconds=2.0 ** min(failures, 9)))
    return replace(webhook, failures=failures, failing_since=since, next_at=now + max(pause, *map(_wish, failed)))


def _wish(answer: Answer) -> timedelta:
    """Return how long the receiver asks us to wait, within reason."""
    return min(_LONGEST_WISH, timedelta(seconds=answer.retry_after or 0))
