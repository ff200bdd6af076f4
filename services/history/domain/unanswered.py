"""Owns the interpretation of attempts without an answer: whether the provider accepted them, and what followed."""

from collections.abc import Sequence

from libs.contracts.outcomes import REACHED, ReceiptKind, Status
from libs.contracts.reasons import Reason
from services.history.domain.chain import sentence_of
from services.history.domain.facts import Message, Transition

# The provider had it; a refusal outweighs this.
_TAKEN = frozenset({ReceiptKind.ACCEPTED, ReceiptKind.DEFERRED, ReceiptKind.BOUNCED})
AND_THEN = {Reason.VERIFIED_NOT_SENT: " So it was sent again, once."}


def asked_about(sent: Sequence[Message]) -> Reason:
    """Return what asking the provider resulted in; NONE if it was not asked; the last result if there are several."""
    asked = [t for m in sent for t in m.transitions if t.reason in (Reason.VERIFIED_SENT, Reason.VERIFIED_NOT_SENT)]
    return max(asked, key=lambda t: t.attempt).reason if asked else Reason.NONE


def accepted_attempts(message: Message) -> set[int]:
    """Return the attempts that the provider is known to have accepted and did not reject afterwards."""
    ends = message.ends
    found = {attempt for attempt, end in ends.items() if end.status is Status.SENT}
    for receipt in message.receipts:
        end = ends.get(receipt.attempt)
        refused = end is not None and end.status is Status.FAILED and end.reason is not Reason.UNKNOWN_FINAL
        taken_back = refused and end is not None and end.was is Status.SENT
        # what reached the customer outweighs what was recorded before, unless the provider gave up on it later
        if (receipt.kind in REACHED and not taken_back) or (receipt.kind in _TAKEN and not refused):
            found.add(receipt.attempt)
    return found


def was_accepted(message: Message) -> bool:
    """Return whether the provider is known to have accepted it, at any attempt."""
    return bool(accepted_attempts(message))


def unanswered(message: Message) -> list[int]:
    """Return the attempts that ended without an answer and were never settled."""
    known = accepted_attempts(message)
    return sorted(attempt for attempt, end in message.ends.items() if _is_open(end) and attempt not in known)


def _is_open(end: Transition) -> bool:
    return end.status is Status.UNKNOWN or end.reason is Reason.UNKNOWN_FINAL


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
