"""Owns what is said of a message that came back: what its category means for people, and what to do about it."""

from services.history.domain.case import Case
from services.history.domain.facts import Document

NOT_BACK = frozenset({"complaint", "unsubscribe"})  # it arrived, and the customer said so

_ASK = "Ask the customer for an address that works"
_MAILBOX = f"{_ASK}."
_SENDER = "The address is fine: look at the sender's domain, its SPF, DKIM and DMARC, and at block lists."
_TEXT = "The address is fine: look at the template's words, links and attachments, and at what the server said."
_AGAIN = "The address is fine; send the event again with a new id if it still matters."
_READ = "Read what the server said."

MEANINGS: dict[str, tuple[str, str]] = {
    "unknown-user": ("there is no such mailbox", _MAILBOX),
    "inactive": ("the mailbox is shut down", _MAILBOX),
    "bad-domain": ("the address's domain takes no mail", _MAILBOX),
    "moved": ("the customer has moved to another address", _MAILBOX),
    "mailbox-full": (
        "the mailbox is full",
        "Ask the customer to make room; full on several days, the address is barred.",
    ),
    "recipient-filter": ("the customer's own filter refused it", "Ask the customer to let the sender through."),
    "spam-content": ("it was taken for spam", _TEXT),
    "content-rejected": ("its content was refused", _TEXT),
    "virus": ("it was taken for a virus", _TEXT),
    "too-large": ("it was too large", "The address is fine: make the template smaller."),
    "reputation-block": ("the receiving server blocks the sender", _SENDER),
    "auth-failure": ("the sender could not prove that it is ours", _SENDER),
    "sender-rejected": ("the sender was refused", _SENDER),
    "policy": ("the receiving server's rules refused it", _SENDER),
    "relay-denied": ("the server is not the one for this address", _SENDER),
    "protocol-error": ("the two servers did not understand each other", _READ),
    "greylist": ("it was put off for too long", _AGAIN),
    "throttled": ("the receiving server was sent too much at once", _AGAIN),
    "network": ("the receiving server could not be reached", _AGAIN),
    "expired": ("it could not be delivered in time", _AGAIN),
    "system-error": ("the receiving server was in trouble", _AGAIN),
    "undetermined": ("nobody knows what the server meant", f"{_READ} A rule of yours can read it from then on."),
}


def told(case: Case, category: str) -> bool:
    """Whether bounce heard this of one of its messages."""
    return any(d.type == "bounce.classified" and d.body.get("category") == category for d in case.documents)


def meaning(case: Case, *, barred: bool) -> tuple[str, str]:
    """How a sentence goes on behind "came back afterwards", and the next step."""
    fact = _fact(case)
    category = str(fact.body.get("category")) if fact else ""
    means, step = MEANINGS.get(category, ("", _MAILBOX))
    if barred and step == _MAILBOX:
        step = f"{_ASK}; lift the suppression if this one does again."
    if not means:
        return f" ({category})" if category else "", step
    return f": {means} ({category})", step


def _fact(case: Case) -> Document | None:
    back = (d for d in case.documents if d.type == "bounce.classified" and d.body.get("category") not in NOT_BACK)
    return next(back, None)
