"""Owns the verdict on a refusal: from reply code, enhanced code and text to one category.

The text is asked first, because codes are used loosely (5.7.1 and 550 stand for everything); but where an
enhanced code and a phrase agree, that settles it, whatever else the text mentions.
"""

import re

from services.bounce.domain.phrases import PHRASES

MAX_CHARS = 2_000

# RFC 3463 and IANA's registry of enhanced status codes: subject.detail → category
_BY_DETAIL: dict[str, str] = {
    "1.1": "unknown-user",
    "1.2": "bad-domain",
    "1.3": "unknown-user",
    "1.4": "unknown-user",
    "1.5": "delivered",
    "1.6": "moved",
    "1.7": "sender-rejected",
    "1.8": "sender-rejected",
    "1.10": "bad-domain",  # RFC 7505: null MX
    "2.1": "inactive",
    "2.2": "mailbox-full",
    "2.3": "too-large",
    "2.4": "system-error",
    "2.121": "throttled",  # Exchange Online: the recipient's hourly limit
    "2.122": "throttled",
    "3.0": "system-error",
    "3.1": "system-error",
    "3.2": "system-error",
    "3.3": "system-error",
    "3.4": "too-large",
    "3.5": "system-error",
    "4.0": "network",
    "4.1": "network",
    "4.2": "network",
    "4.3": "network",
    "4.4": "network",
    "4.5": "throttled",
    "4.6": "network",
    "4.7": "expired",
    "4.310": "bad-domain",  # Exchange Online: the domain does not exist
    "4.312": "network",
    "4.316": "expired",
    "5.3": "throttled",
    "7.2": "recipient-filter",
    "7.13": "inactive",  # RFC 5248
    "7.17": "unknown-user",  # RFC 7293: the mailbox has another owner now
    "7.18": "unknown-user",
    "7.27": "sender-rejected",
    "7.28": "throttled",
    "7.40": "auth-failure",
    "7.54": "relay-denied",
    "7.64": "relay-denied",
    "7.124": "recipient-filter",  # Exchange Online: not on the allowed senders' list
    "7.133": "recipient-filter",
    "7.134": "recipient-filter",
    "7.500": "throttled",
    "7.501": "spam-content",
    "7.502": "spam-content",
    "7.503": "spam-content",
    "7.509": "auth-failure",
    "7.511": "reputation-block",
    "7.515": "auth-failure",
    "7.705": "throttled",
    "7.708": "reputation-block",
    **{f"7.{detail}": "auth-failure" for detail in (20, 21, 22, 23, 24, 25, 26, 29)},  # RFC 7372, RFC 8617
    **{f"7.{detail}": "reputation-block" for detail in range(606, 651)},  # Exchange Online: banned IPs
}
_BY_SUBJECT: dict[str, str] = {
    "3": "system-error",
    "4": "network",
    "5": "protocol-error",
    "6": "content-rejected",
    "7": "policy",
}
# these codes are precise enough to be believed without a word of text
_TRUSTED = frozenset(
    {"1.6", "2.2", "3.4", "4.7", "4.310", "4.316", "7.13"}
    | {f"7.{detail}" for detail in (20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 40, 509, 511, 515)}
)
# RFC 5321, section 4.2.3; 521 and 556 from RFC 7504. 550 and 554 say too many things to mean one
_BY_REPLY: dict[int, str] = {
    421: "system-error",
    450: "system-error",
    451: "system-error",
    452: "system-error",
    500: "protocol-error",
    501: "protocol-error",
    502: "protocol-error",
    503: "protocol-error",
    504: "protocol-error",
    521: "bad-domain",
    530: "policy",
    535: "policy",
    551: "moved",
    552: "mailbox-full",
    553: "unknown-user",
    554: "policy",
    555: "protocol-error",
    556: "bad-domain",
}
# used for everything: they give way to the text, and to the reply code
_SAYING_NOTHING = frozenset({"5.4.1", "4.5.0", "5.5.0"})
_ENDS_A_MAILBOX = frozenset({"unknown-user", "inactive", "bad-domain", "moved"})
# not a transcript's ">>> DATA": sendmail has pipelined it, and prints what RCPT was answered below it
_AFTER_DATA = re.compile(r"in reply to (?:the )?(?:end of )?DATA|after end of data", re.IGNORECASE)
_COME_BACK = re.compile(r"(?:try|retry|come back)[^.\n]{0,20}(?:again|later|in \d)", re.IGNORECASE)
_ADDRESSES = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w.-]{1,255}")


def classify(text: str, *, reply_code: int | None = None, enhanced: str | None = None) -> str:
    """The category of one refusal; `undetermined` when nothing usable is said."""
    words = _ADDRESSES.sub("<address>", text[:MAX_CHARS])  # an address may contain any of the words
    detail = enhanced.partition(".")[2] if enhanced and enhanced not in _SAYING_NOTHING else ""
    by_code = _BY_DETAIL.get(detail)
    if by_code in _ENDS_A_MAILBOX and not is_permanent(reply_code, enhanced):
        by_code = None  # 4.2.1 and the like: no code that asks for patience says by itself that a mailbox is dead
    if by_code and detail in _TRUSTED:
        return by_code
    attested = [category for category, pattern in PHRASES if pattern.search(words)]
    if by_code in attested:
        return by_code
    strong = next((category for category in attested if category != "policy"), None)
    if strong == "unknown-user" and _AFTER_DATA.search(text[:MAX_CHARS]):
        # the server had taken the recipient, and refused when it saw the mail: that is the recipient's own filter
        return "recipient-filter"
    if strong:
        return _softened(strong, words, reply_code, enhanced)
    return by_code or _by_rest(attested, words, reply_code, detail)


def _softened(category: str, words: str, reply_code: int | None, enhanced: str | None) -> str:
    """A temporary refusal that only asks for patience is a grey list, not a broken machine."""
    if category == "system-error" and not is_permanent(reply_code, enhanced) and _COME_BACK.search(words):
        return "greylist" if (enhanced or "").endswith((".7.1", ".7.0")) else category
    return category


def _by_rest(attested: list[str], words: str, reply_code: int | None, detail: str) -> str:
    if reply_code in (450, 451) and _COME_BACK.search(words):
        return "greylist"
    by_subject = _BY_SUBJECT.get(detail.partition(".")[0]) if detail else None
    if by_subject:
        return by_subject
    if attested:
        return "policy"
    return _BY_REPLY.get(reply_code or 0, "undetermined")


def is_permanent(reply_code: int | None, enhanced: str | None) -> bool:
    """Whether the server said 5xx. Without any code a refusal that came back as a mail counts as permanent.

    Where both codes are there and disagree, the enhanced one decides: it is the server's, the reply often a relay's.
    """
    if enhanced:
        return enhanced.startswith("5")
    return reply_code is None or reply_code >= 500
