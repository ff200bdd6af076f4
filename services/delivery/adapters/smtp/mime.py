"""Composes a mail: envelope and headers; its body comes from `bodies`.

Built by hand: the standard library's generator takes some 300 µs per mail, this about 8.
"""

from email.utils import format_datetime

import msgspec

from libs.clock import Clock
from libs.contracts.reasons import Reason
from libs.rendering.contents import EmailContent
from libs.verp import ReturnPath
from services.delivery.adapters.smtp import headers
from services.delivery.adapters.smtp.bodies import Bodies
from services.delivery.adapters.smtp.opening import Features
from services.delivery.adapters.vendors import HEADERS
from services.delivery.domain.outbound import Outbound, SmtpAccount
from services.delivery.domain.outcomes import Rejected


class Mail(msgspec.Struct, frozen=True, gc=False):
    """One mail: its envelope commands and its text. The dialogue decides how the text goes over the wire."""

    envelope: bytes  # MAIL FROM:<…> …\r\n RCPT TO:<…>\r\n
    text: bytes  # lines, each with its CRLF


class Composer:
    """Composes for one sender. Not thread-safe."""

    def __init__(self, account: SmtpAccount, verp_key: bytes, clock: Clock) -> None:
        self._account = account
        self._return_path = ReturnPath(verp_key, account.return_path_domain)
        self._clock = clock
        self._bodies = Bodies()
        self._from_address = headers.ascii_domain(account.from_address, "the sender's From address")
        self._from = headers.mailbox(self._from_address, account.from_name)
        self._domain = self._from_address.rpartition("@")[2]
        self._date: tuple[int, str] = (0, "")
        self._vendor_header = HEADERS[account.vendor] if account.vendor else None

    def compose(self, message: Outbound, features: Features) -> Mail | Rejected:
        """Return the mail, or why this server cannot take it."""
        content = message.content
        if not isinstance(content, EmailContent):
            return Rejected(Reason.INTERNAL, "a mail sender was given content that is not a mail")
        try:
            to = headers.ascii_domain(message.address, "the recipient's address")
        except headers.NotAHeader as error:
            return Rejected(Reason.ADDRESS_INVALID, str(error))
        if not to.isascii() and not features.utf8:
            return Rejected(Reason.ADDRESS_INVALID, "the mail server does not accept Unicode addresses (SMTPUTF8)")
        path = self._return_path.make(message.notification_id, message.address_id, message.attempt)
        try:
            head = self._head(message, content, to) + self._trace(path)
        except headers.NotAHeader as error:
            return Rejected(Reason.PAYLOAD_INVALID, str(error))
        text = head.encode() + self._bodies.of(content, features.eight_bit)
        if features.size and len(text) > features.size:
            return Rejected(
                Reason.TOO_LARGE, f"{len(text):,} bytes; the mail server accepts {features.size:,}", enhanced="5.3.4"
            )
        return Mail(_envelope(path, len(text), to, features), text)

    def _trace(self, path: str) -> str:
        """Return the header that makes the vendor's webhooks name this attempt."""
        return self._vendor_header(path.partition("@")[0]) if self._vendor_header else ""

    def _head(self, message: Outbound, content: EmailContent, to: str) -> str:
        sender = headers.mailbox(self._from_address, content.from_name) if content.from_name else self._from
        reply_to = unsubscribe = ""
        if content.reply_to:
            reply_to = f"Reply-To: {headers.named_mailbox(content.reply_to, 'Reply-To')}\r\n"
        if message.unsubscribe_url:
            # RFC 8058: works only in exactly these words, and if DKIM covers both fields
            unsubscribe = (
                f"List-Unsubscribe: {headers.url(message.unsubscribe_url, 'the unsubscribe link')}\r\n"
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            )
        return (
            f"Date: {self._now()}\r\n"
            f"From: {sender}\r\n"
            f"To: {headers.mailbox(to, message.recipient_name)}\r\n"
            f"{reply_to}"
            f"Subject: {headers.text(content.subject, 'the subject')}\r\n"
            # the same for every attempt, so that mailboxes that already have it show one mail
            f"Message-ID: <{message.tag}@{self._domain}>\r\n"
            f"{unsubscribe}"
            "Auto-Submitted: auto-generated\r\n"
            "MIME-Version: 1.0\r\n"
        )

    def _now(self) -> str:
        now = self._clock()
        second = int(now.timestamp())
        if self._date[0] != second:
            self._date = (second, format_datetime(now))
        return self._date[1]


def _envelope(path: str, size: int, to: str, features: Features) -> bytes:
    declared = "" if features.size is None else f" SIZE={size}"
    body = " BODY=8BITMIME" if features.eight_bit else ""
    utf8 = "" if to.isascii() else " SMTPUTF8"
    return f"MAIL FROM:<{path}>{declared}{body}{utf8}\r\nRCPT TO:<{to}>\r\n".encode()
