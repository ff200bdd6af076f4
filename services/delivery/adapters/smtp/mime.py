"""Composes a mail: envelope, headers, and multipart/alternative with a text and an HTML part.

Built by hand: the standard library's generator takes some 300 µs per mail, this about 20. What hangs on the
content alone is made once per content, however many mails share it.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass
from email.utils import format_datetime

from libs.clock import Clock
from libs.contracts.reasons import Reason
from libs.rendering.contents import EmailContent
from libs.verp import ReturnPath
from services.delivery.adapters.smtp import headers
from services.delivery.adapters.smtp.opening import Features
from services.delivery.domain.outbound import Outbound, SmtpAccount
from services.delivery.domain.outcomes import Rejected

_LONGEST_LINE = 998  # RFC 5322 §2.1.1
_BASE64_LINE = 57  # 76 characters encoded
_REMEMBERED = 64


@dataclass(slots=True)
class Mail:
    """One mail as it goes over the wire: commands, and the text with dots stuffed and its end."""

    sender: bytes  # MAIL FROM:<…> …\r\n
    recipient: bytes  # RCPT TO:<…>\r\n
    data: bytes

    @property
    def envelope(self) -> bytes:
        return self.sender + self.recipient + b"DATA\r\n"


class Composer:
    """Composes for one sender. Not for two threads."""

    def __init__(self, account: SmtpAccount, verp_key: bytes, clock: Clock) -> None:
        self._account = account
        self._return_path = ReturnPath(verp_key, account.return_path_domain)
        self._clock = clock
        self._boundary = f"=_{secrets.token_hex(12)}"
        self._from_address = headers.ascii_domain(account.from_address, "the sender's From address")
        self._from = headers.mailbox(self._from_address, account.from_name)
        self._domain = self._from_address.rpartition("@")[2]
        self._date: tuple[int, str] = (0, "")
        # by identity, holding the content so that its id stays its own
        self._bodies: dict[tuple[int, bool], tuple[EmailContent, bytes]] = {}

    def compose(self, message: Outbound, features: Features) -> Mail | Rejected:
        """The mail, or why this server cannot be given it."""
        content = message.content
        if not isinstance(content, EmailContent):
            return Rejected(Reason.INTERNAL, "a mail sender was given something that is no mail")
        try:
            to = headers.ascii_domain(message.address, "the recipient's address")
        except headers.NotAHeader as error:
            return Rejected(Reason.ADDRESS_INVALID, str(error))
        if not to.isascii() and not features.utf8:
            return Rejected(Reason.ADDRESS_INVALID, "the mail server does not take addresses in Unicode (SMTPUTF8)")
        try:
            head = self._head(message, content, to)
        except headers.NotAHeader as error:
            return Rejected(Reason.PAYLOAD_INVALID, str(error))
        data = head.encode() + self._body(content, features.eight_bit)
        if features.size and len(data) > features.size:
            return Rejected(
                Reason.TOO_LARGE, f"{len(data):,} bytes; the mail server takes {features.size:,}", enhanced="5.3.4"
            )
        return Mail(self._sender(message, data, to, features), f"RCPT TO:<{to}>\r\n".encode(), data)

    def _sender(self, message: Outbound, data: bytes, to: str, features: Features) -> bytes:
        path = self._return_path.make(message.notification_id, message.address_id, message.attempt)
        size = "" if features.size is None else f" SIZE={len(data)}"
        body = " BODY=8BITMIME" if features.eight_bit else ""
        utf8 = "" if to.isascii() else " SMTPUTF8"
        return f"MAIL FROM:<{path}>{size}{body}{utf8}\r\n".encode()

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
            # the same for every attempt: mailboxes that know it already show one mail
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

    def _body(self, content: EmailContent, eight_bit: bool) -> bytes:
        key = (id(content), eight_bit)
        known = self._bodies.get(key)
        if known is not None and known[0] is content:
            return known[1]
        body = self._multipart(content, eight_bit)
        if len(self._bodies) >= _REMEMBERED:
            self._bodies.clear()
        self._bodies[key] = (content, body)
        return body

    def _multipart(self, content: EmailContent, eight_bit: bool) -> bytes:
        mark = self._boundary.encode()
        whole = b"".join(
            (
                b'Content-Type: multipart/alternative; boundary="' + mark + b'"\r\n\r\n--',
                mark,
                _part("plain", content.text, eight_bit),
                b"\r\n--",
                mark,
                _part("html", content.html, eight_bit),
                b"\r\n--",
                mark,
                b"--\r\n",
            )
        )
        if b"\r\n." in whole:  # RFC 5321 §4.5.2
            whole = whole.replace(b"\r\n.", b"\r\n..")
        return whole + b".\r\n"


def _part(subtype: str, text: str, eight_bit: bool) -> bytes:
    encoding, raw = encode_text(text, eight_bit)
    kind = f'Content-Type: text/{subtype}; charset="utf-8"'
    return f"\r\n{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + raw


def encode_text(text: str, eight_bit: bool) -> tuple[str, bytes]:
    """The transfer encoding and the bytes, lines ending in CRLF.

    As it is, where the server's abilities and the lines' lengths allow it; quoted-printable where most of it
    is ASCII; base64 where quoted-printable would treble it.
    """
    raw = text.encode("utf-8", "replace")
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    raw = raw.replace(b"\n", b"\r\n")  # on bytes it takes a third of what it takes on the text
    ascii_only = raw.isascii()
    if not _has_long_line(raw) and (ascii_only or eight_bit) and b"\0" not in raw:
        return ("7bit" if ascii_only else "8bit"), raw
    if not ascii_only and (len(raw) - len(text)) * 4 > len(text):
        pieces = (raw[at : at + _BASE64_LINE] for at in range(0, len(raw), _BASE64_LINE))
        return "base64", b"\r\n".join(base64.b64encode(piece) for piece in pieces)
    # without a CRLF in the text it breaks lines by a bare LF, which is no end of a line in SMTP
    lines = binascii.b2a_qp(raw, istext=True).replace(b"\r\n", b"\n")
    return "quoted-printable", lines.replace(b"\n", b"\r\n")


def _has_long_line(raw: bytes) -> bool:
    """Whether a line is longer than a mail's may be; looks at a few ends of lines, not at all of them."""
    start, end = 0, len(raw)
    while end - start > _LONGEST_LINE:
        found = raw.rfind(b"\r\n", start, start + _LONGEST_LINE + 2)
        if found < 0:
            return True
        start = found + 2
    return False
