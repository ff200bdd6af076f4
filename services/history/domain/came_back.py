"""Owns the wording for a bounced message: what its category means, and what to do about it."""

from services.history.domain.case import Case
from services.history.domain.facts import Document

NOT_BACK = frozenset({"complaint", "unsubscribe"})  # the message arrived, and the customer responded

_ASK = "Ask the customer for an address that works"
_MAILBOX = f"{_ASK}."
_SENDER = "The address is fine: check the sender's domain, its SPF, DKIM and DMARC, and block lists."
_TEXT = "The address is fine: check the template's words, links and attachments, and the server's reply."
_AGAIN = "The address is fine; send the event again with a new id if it still matters."
_READ = "Read the server's reply."

MEANINGS: dict[str, tuple[str, str]] = {
    "unknown-user": ("there is no such mailbox", _MAILBOX),
    "inactive": ("the mailbox is disabled", _MAILBOX),
    "bad-domain": ("the address's domain accepts no mail", _MAILBOX),
    "moved": ("the customer has moved to another address", _MAILBOX),
    "mailbox-full": (
        "the mailbox is full",
        "Ask the customer to free space; an address that stays full for several days is suppressed.",
    ),
    "recipient-filter": ("the customer's own filter rejected it", "Ask the customer to allow the sender."),
    "spam-content": ("it was classified as spam", _TEXT),
    "content-rejected": ("its content was rejected", _TEXT),
    "virus": ("it was classified as a virus", _TEXT),
    "too-large": ("it was too large", "The address is fine: make the template smaller."),
    "reputation-block": ("the receiving server blocks the sender", _SENDER),
    "auth-failure": ("the sender could not be authenticated", _SENDER),
    "sender-rejected": ("the sender was rejected", _SENDER),
    "policy": ("the receiving server's policy rejected it", _SENDER),
    "relay-denied": ("the server does not accept mail for this address", _SENDER),
    "protocol-error": ("the two servers did not understand each other", _READ),
    "greylist": ("it was deferred for too long", _AGAIN),
    "throttled": ("too much was sent to the receiving server at once", _AGAIN),
    "network": ("the receiving server could not be reached", _AGAIN),
    "expired": ("it could not be delivered in time", _AGAIN),
    "system-error": ("the receiving server had an internal problem", _AGAIN),
    "undetermined": ("the server's reply could not be interpreted", f"{_READ} You can add a rule for replies like it."),
}


def told(case: Case, category: str) -> bool:
    """Whether bounce assigned this category to one of the case's messages."""
    return any(d.type == "bounce.classified" and d.body.get("category") == category for d in case.documents)


def meaning(case: Case, *, barred: bool) -> tuple[str, str]:
    """Return the continuation of a sentence that ends in "bounced", and the next step."""
    fact = _fact(case)
    category = str(fact.body.get("category")) if fact else ""
    means, step = MEANINGS.get(category, ("", _MAILBOX))
    if barred and step == _MAILBOX:
        step = f"{_ASK}; lift the suppression if this one works again."
    if not means:
        return f" ({category})" if category else "", step
    return f": {means} ({category})", step


def _fact(case: Case) -> Document | None:
    back = (d for d in case.documents if d.type == "bounce.classified" and d.body.get("category") not in NOT_BACK)
    return next(back, None)
