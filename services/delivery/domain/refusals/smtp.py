"""Classifies mail servers' replies: 4xx is retried, 5xx is stored with its text (RFC 5321 §4.2.1, RFC 3463).

`bounce` judges what a refusal means for the address; this module only decides: is it final, and whose fault.
"""

import re

import msgspec

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import Deferred, Outcome, Rejected

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
_TEXT_LIMIT = 500
# replies about us, whatever the command: RFC 4954 (AUTH), RFC 3207 (STARTTLS). 454 is not one of them: it is temporary,
# and Amazon SES and Gmail send it for too many mails or logins
_OUR_CREDENTIALS = frozenset({530, 534, 535, 538})
_OUT_OF_ORDER = 503  # "authenticate first", or the dialogue is out of step: not the fault of the mail
_NO_MAILBOX = frozenset({"5.1.1", "5.1.6", "5.1.10", "5.2.1"})
_BAD_ADDRESS = frozenset({"5.1.2", "5.1.3"})
_FOR_TODAY = "5.4.5"  # Gmail's "daily sending limit exceeded": final by its code, and over tomorrow
_TOO_BIG = frozenset({"5.2.3", "5.3.4"})
# must not (or no longer) send as this address; Microsoft sends it after the text
_OUR_ADDRESS = frozenset({"5.1.7", "5.1.8", "5.2.252", "5.7.60", "5.7.708"})


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A server's reply: its code, and its lines without codes, joined by line feeds."""

    code: int
    text: str

    @property
    def enhanced(self) -> str | None:
        """The RFC 3463 code at the beginning of the text, if there is one of the reply's class."""
        found = _ENHANCED.match(self.text)
        return found[1] if found and found[1][0] == str(self.code)[0] else None


def sort_reply(reply: Reply, command: str) -> Outcome:
    """Return the outcome for the mail whose `command` (MAIL, RCPT, DATA or "message", the reply after the final dot,
    or CONNECT, EHLO, STARTTLS, AUTH before there is a mail) was refused with `reply`."""
    code, enhanced = reply.code, reply.enhanced
    text = reply.text[:_TEXT_LIMIT] or f"SMTP {code}"
    before_mail = command in ("CONNECT", "EHLO", "STARTTLS", "AUTH")
    if code in _OUR_CREDENTIALS or (before_mail and code >= 500):
        return Deferred(Reason.SENDER_MISCONFIGURED, text, code=code, enhanced=enhanced, sender_fault=True)
    if code == _OUT_OF_ORDER and command != "message":
        reason = Reason.SENDER_MISCONFIGURED if command == "MAIL" else Reason.PROVIDER_UNAVAILABLE
        return Deferred(reason, text, code=code, enhanced=enhanced, sender_fault=command == "MAIL")
    if code < 400:  # a positive reply in the wrong place: the dialogue is out of step
        return Deferred(Reason.PROVIDER_UNAVAILABLE, f"unexpected reply {code} {text}", code=code)
    if code < 500 or enhanced == _FOR_TODAY:
        reason = Reason.PROVIDER_UNAVAILABLE if code == 421 or before_mail else Reason.THROTTLED
        return Deferred(reason, text, code=code, enhanced=enhanced)
    reason = _final(command, code, enhanced)
    fault = reason is Reason.SENDER_MISCONFIGURED
    return Rejected(reason, text, code=code, enhanced=enhanced, sender_fault=fault)


def _final(command: str, code: int, enhanced: str | None) -> Reason:
    if enhanced in _TOO_BIG or (code == 552 and command in ("MAIL", "message") and enhanced is None):
        return Reason.TOO_LARGE
    if enhanced in _OUR_ADDRESS:
        return Reason.SENDER_MISCONFIGURED
    match command:
        case "RCPT" if enhanced in _NO_MAILBOX or (enhanced is None and code in (550, 551)):
            return Reason.MAILBOX_UNAVAILABLE
        case "RCPT" if enhanced in _BAD_ADDRESS or (enhanced is None and code in (501, 553)):
            return Reason.ADDRESS_INVALID
        case "MAIL":  # the envelope sender is ours
            return Reason.SENDER_MISCONFIGURED
        case "message" if enhanced in _NO_MAILBOX:  # LMTP-like relays judge the mailbox after the dot
            return Reason.MAILBOX_UNAVAILABLE
        case _:
            return Reason.PROVIDER_REJECTED
