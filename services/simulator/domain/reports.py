"""Reports about mails: delivery status notifications (RFC 3464, RFC 6533) and feedback reports (RFC 5965)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.faults import Fault

HOST = "mx.simulator.example"


@dataclass(frozen=True, slots=True)
class Report:
    """A report's content: RFC 3464's action, RFC 3463's status, and the other server's words."""

    action: str
    status: str
    words: str
    subject: str


REPORTS: dict[Fault, Report] = {
    Fault.BOUNCE: Report(
        "failed", "5.1.1", "550 5.1.1 The email account that you tried to reach does not exist", "Undelivered Mail"
    ),
    Fault.BOUNCE_FULL: Report(
        "failed", "5.2.2", "552 5.2.2 The recipient's mailbox is full", "Undelivered Mail Returned to Sender"
    ),
    Fault.BOUNCE_DELAYED: Report(
        "delayed", "4.4.1", "connect: connection timed out", "Delayed Mail (still being retried)"
    ),
    Fault.COMPLAINT: Report("complaint", "", "", "complaint about message"),
}


def report_about(report: Report, mail: Arrival, milliseconds: int) -> bytes:
    """Return the report as a whole mail (CRLF), to the envelope sender of `mail`."""
    now = format_datetime(datetime.fromtimestamp(milliseconds / 1000, UTC))
    boundary = f"=_{mail.number}_{milliseconds}"
    parts = _complaint(mail, now) if report.action == "complaint" else _status(report, mail, now)
    kind = "feedback-report" if report.action == "complaint" else "delivery-status"
    head = [
        f"From: Mail Delivery System <MAILER-DAEMON@{HOST}>",
        f"To: <{mail.sender}>",
        f"Date: {now}",
        f"Message-ID: <{milliseconds}.{mail.number}@{HOST}>",
        f"Subject: {report.subject}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind};\r\n\tboundary="{boundary}"',
    ]
    text = "\r\n".join(head) + "\r\n\r\nThis is a MIME-encapsulated message.\r\n\r\n"
    for part in parts:
        text += f"--{boundary}\r\n{part}\r\n"
    return (text + f"--{boundary}--\r\n").encode("utf-8", "surrogateescape")


def _status(report: Report, mail: Arrival, now: str) -> tuple[str, str, str]:
    plain = mail.address.isascii()
    kind, suffix = ("rfc822", "") if plain else ("utf-8", "global-")
    verb = "could not be delivered" if report.action == "failed" else "has not been delivered yet"
    explanation = (
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {'7bit' if plain else '8bit'}\r\n\r\n"
        f"Your message to <{mail.address}> {verb}.\r\n\r\n    {report.words}\r\n"
    )
    status = (
        f"Content-Type: message/{suffix}delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; {HOST}\r\nArrival-Date: {now}\r\n\r\n"
        f"Final-Recipient: {kind}; {mail.address}\r\nOriginal-Recipient: {kind};{mail.address}\r\n"
        f"Action: {report.action}\r\nStatus: {report.status}\r\n"
        f"Remote-MTA: dns; {HOST}\r\nDiagnostic-Code: smtp; {report.words}\r\n"
    )
    headers = "text/rfc822-headers" if plain else "message/global-headers"
    return explanation, status, f"Content-Type: {headers}\r\n\r\n{_headers(mail)}"


def _complaint(mail: Arrival, now: str) -> tuple[str, str, str]:
    return (
        "Content-Type: text/plain; charset=utf-8\r\n\r\nThis is an email abuse report for a message.\r\n",
        "Content-Type: message/feedback-report\r\n\r\n"
        "Feedback-Type: abuse\r\nUser-Agent: Depesche-Simulator/1.0\r\nVersion: 1\r\n"
        f"Original-Mail-From: <{mail.sender}>\r\nOriginal-Rcpt-To: <{mail.address}>\r\n"
        f"Arrival-Date: {now}\r\nReporting-MTA: dns; {HOST}\r\n",
        f"Content-Type: message/rfc822\r\n\r\n{mail.raw.decode('utf-8', 'surrogateescape')}",
    )


def _headers(mail: Arrival) -> str:
    return mail.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape") + "\r\n"


# maps libs.verp's base32 alphabet to the digits of int(…, 32), which is ten times as fast as base64.b32decode
_DIGITS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz234567ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789abcdefghijklmnopqrstuv0123456789abcdefghijklmnop",
)


_VERSION = "01"


def tag_of_return_path(address: str) -> tuple[str, int] | None:
    """Return message id and attempt of an envelope sender in the form of libs.verp, without verifying the signature,
    which a mail server on the way could not do either. None if it has another form."""
    local = address.partition("@")[0]
    if len(local) != 54 or not local.startswith("b-"):
        return None
    try:
        body = f"{int(local[2:].translate(_DIGITS), 32) >> 4:064x}"
    except ValueError:
        return None
    if body[:2] != _VERSION:
        return None
    notification = f"{body[2:10]}-{body[10:14]}-{body[14:18]}-{body[18:22]}-{body[22:34]}"
    return f"{notification}.{int(body[34:50], 16)}", int(body[50:52], 16)
