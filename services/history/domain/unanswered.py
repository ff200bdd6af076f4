"""Owns the interpretation of attempts without an answer: whether the provider accepted them, and what followed."""

from collections.abc import Sequence

from libs.contracts.outcomes import ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.chain import sentence_of
from services.history.domain.facts import Message

_PROOF = frozenset(
    {
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.CLICKED,
        ReceiptKind.CONVERTED,
        ReceiptKind.ACCEPTED,
        ReceiptKind.UNSUBSCRIBED,
        ReceiptKind.DEFERRED,
    }
)
AND_THEN = {Reason.VERIFIED_NOT_SENT: " So it was sent again, once."}


def asked_about(sent: Sequence[Message]) -> Reason:
    """Return what asking the provider resulted in; NONE if it was not asked; the last result if there are several."""
    asked = [t for m in sent for t in m.transitions if t.reason in (Reason.VERIFIED_SENT, Reason.VERIFIED_NOT_SENT)]
    return max(asked, key=lambda t: t.attempt).reason if asked else Reason.NONE


def accepted_attempts(message: Message) -> set[int]:
    """Return the attempts that the provider is known to have accepted."""
    accepted = {t.attempt for t in message.transitions if t.status is Status.SENT}
    return accepted | {r.attempt for r in message.receipts if r.kind in _PROOF}


def unanswered(message: Message) -> list[int]:
    """Return the attempts that got no answer, were never settled, and were followed by another one."""
    last = message.latest.attempt
    certain = (Status.FAILED, Status.PENDING)  # pending: the provider was asked and did not have it
    settled = {t.attempt for t in message.transitions if t.was is Status.UNKNOWN and t.status in certain}
    open_ = {t.attempt for t in message.transitions if t.status is Status.UNKNOWN} - settled
    return sorted(attempt for attempt in open_ if attempt < last)


def reason_of(message: Message) -> Reason:
    """Return why the first of them got no answer."""
    reasons = [t.reason for t in message.transitions if t.status is Status.UNKNOWN]
    return reasons[0] if reasons else Reason.NONE


def why_again(message: Message) -> str:
    """Explain why there was another attempt."""
    first = next((t for t in message.transitions if t.status is Status.UNKNOWN), None)
    if first is None:
        return "The first attempt was answered only after the next one had begun."
    asked = any(t.reason is Reason.VERIFIED_NOT_SENT for t in message.transitions)
    because = "the provider, when asked, did not have it" if asked else "the communication asks for a resend then"
    return (
        f"Attempt {first.attempt} got no answer ({sentence_of(first.reason, first.detail).rstrip('.')}), and "
        f"{because}, so attempt {message.latest.attempt} was made."
    )
