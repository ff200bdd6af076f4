"""Owns what is made of tries that ended without an answer: whether they were accepted, and what followed."""

from collections.abc import Sequence

from libs.contracts.outcomes import ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.chain import sentence_of
from services.history.domain.facts import Message, Transition

# Nobody opens or complains about what was never handed over: this counts whatever we had heard, unless the provider
# gave the message up after it had accepted it.
_REACHED = frozenset(
    {
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.CLICKED,
        ReceiptKind.CONVERTED,
        ReceiptKind.COMPLAINED,
        ReceiptKind.UNSUBSCRIBED,
    }
)
# The provider had it, which a refusal outweighs.
_TAKEN = frozenset({ReceiptKind.ACCEPTED, ReceiptKind.DEFERRED, ReceiptKind.BOUNCED})
AND_THEN = {Reason.VERIFIED_NOT_SENT: " So it was sent again, once."}


def asked_about(sent: Sequence[Message]) -> Reason:
    """What asking the provider came to, where it was asked; at the last try, where it was asked about several."""
    asked = [t for m in sent for t in m.transitions if t.reason in (Reason.VERIFIED_SENT, Reason.VERIFIED_NOT_SENT)]
    return max(asked, key=lambda t: t.attempt).reason if asked else Reason.NONE


def accepted_attempts(message: Message) -> set[int]:
    """Tries that the provider is known to have accepted, and did not give up afterwards."""
    ends = message.ends
    found = {attempt for attempt, end in ends.items() if end.status is Status.SENT}
    for receipt in message.receipts:
        end = ends.get(receipt.attempt)
        refused = end is not None and end.status is Status.FAILED and end.reason is not Reason.UNKNOWN_FINAL
        taken_back = refused and end is not None and end.was is Status.SENT
        if (receipt.kind in _REACHED and not taken_back) or (receipt.kind in _TAKEN and not refused):
            found.add(receipt.attempt)
    return found


def was_accepted(message: Message) -> bool:
    """Whether the provider is known to have taken it, at whichever try."""
    return bool(accepted_attempts(message))


def unanswered(message: Message) -> list[int]:
    """Tries that ended without an answer, and of which nothing was learned afterwards."""
    known = accepted_attempts(message)
    return sorted(attempt for attempt, end in message.ends.items() if _is_open(end) and attempt not in known)


def _is_open(end: Transition) -> bool:
    return end.status is Status.UNKNOWN or end.reason is Reason.UNKNOWN_FINAL


def reason_of(message: Message) -> Reason:
    """Why the first of them ended so."""
    reasons = [t.reason for t in message.transitions if t.status is Status.UNKNOWN]
    return reasons[0] if reasons else Reason.NONE


def why_again(message: Message) -> str:
    """Why there was another try."""
    first = next((t for t in message.transitions if t.status is Status.UNKNOWN), None)
    if first is None:
        return "The first try was answered only after the next one had begun."
    asked = any(t.reason is Reason.VERIFIED_NOT_SENT for t in message.transitions)
    because = "the provider, asked about it, did not have it" if asked else "the communication asks for a repeat then"
    return (
        f"Try {first.attempt} ended without an answer ({sentence_of(first.reason, first.detail).rstrip('.')}), and "
        f"{because}, so try {message.latest.attempt} was made."
    )
