"""What follows from a provider's reply: the message's status, and whether and when there is another attempt."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from libs.contracts.outcomes import ASKABLE, OnUnknown, Status
from libs.contracts.reasons import Reason
from libs.privacy import redacted
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.verifying import VerifyPolicy
from services.delivery.domain.work import Message, Result


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart. A resend follows an unknown, a retry something that was certainly not sent.
    `verify`: when to query the provider whether it was."""

    backoff: Backoff = field(default_factory=Backoff)
    max_attempts: int = 30
    max_resends: int = 5
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)


def decide(message: Message, outcome: Outcome, policy: RetryPolicy, now: datetime, draw: float) -> Result:
    """Return the result of one call; `draw` in [0, 1) is the jitter."""
    attempt = message.row.attempt
    match outcome:
        case Sent(provider_ref=ref):
            return Result(message, Status.SENT, Reason.NONE, provider_ref=ref)
        case Rejected():
            text = redacted(outcome.text)
            return Result(message, Status.FAILED, outcome.reason, detail=text, refusal=outcome)
        case Deferred():
            return _deferred(message, outcome, policy, now + _seconds(policy, attempt, draw, outcome.retry_after))
        case Ambiguous():
            again, ask = _after_unknown(message, policy, now, draw)
            text = redacted(outcome.text)
            return Result(message, Status.UNKNOWN, outcome.reason, detail=text, again_at=again, ask_at=ask)
        case _:
            assert_never(outcome)


def _after_unknown(
    message: Message, policy: RetryPolicy, now: datetime, draw: float
) -> tuple[datetime | None, datetime | None]:
    """Return when to send it again, and when to query its provider: the communication chooses one of
    them, or neither."""
    match message.row.request.on_unknown:
        case OnUnknown.RESEND if message.row.attempt <= policy.max_resends:
            return now + _seconds(policy, message.row.attempt, draw, None), None
        case OnUnknown.VERIFY if message.channel in ASKABLE:
            return None, policy.verify.ask_at(now, 0, draw)
    return None, None


def _deferred(message: Message, outcome: Deferred, policy: RetryPolicy, again: datetime) -> Result:
    refusal = outcome if outcome.called else None
    text = redacted(outcome.text)
    if message.row.attempt >= policy.max_attempts:
        return Result(message, Status.FAILED, Reason.RETRIES_EXHAUSTED, detail=text, refusal=refusal)
    # at expiry it ends as skipped(expired); waiting longer would only delay that
    again = min(again, message.row.request.expires_at)
    return Result(message, Status.PENDING, outcome.reason, detail=text, again_at=again, refusal=refusal)


def _seconds(policy: RetryPolicy, attempt: int, draw: float, retry_after: float | None) -> timedelta:
    return timedelta(seconds=policy.backoff.delay(attempt, draw, retry_after))
