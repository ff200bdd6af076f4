"""Reports that became files on their way, or a part of a filter's mail; and servers that quote our headers."""

import base64

import pytest

from services.bounce.domain.facts import Fact, judge
from services.bounce.domain.reports import Kind, read_mail
from tests.compiled import compiled_rules

KIM = "kim@x.example"
HEAD = "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.net\nTo: b-1@bounces.example\nSubject: Undelivered Mail\n"
PERSON = (
    "Return-Path: <lea@shop.example>\nFrom: Lea <lea@shop.example>\nTo: b-1@bounces.example\nSubject: Fwd: a mail\n"
)
FIELDS = (
    f"Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; {KIM}\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 User unknown\n"
)
REPORT = (
    f"{HEAD}Content-Type: multipart/report; report-type=delivery-status; boundary=in\n\n"
    f"--in\nContent-Type: text/plain\n\nSorry.\n--in\nContent-Type: message/delivery-status\n\n{FIELDS}\n--in--\n"
)
PROSE = f"{HEAD}\nHi. This is the mail program.\n\n<{KIM}>:\nSorry, no mailbox here by that name. (#5.1.1)\n"
ORDER = f"From: Shop <news@shop.example>\nTo: {KIM}\nSubject: Your order\n\nDear Kim, user unknown, 550 5.1.1\n"


def in_base64(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


def mail(head: str, words: str, part: str) -> bytes:
    return (
        f"{head}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=out\n\n"
        f"--out\nContent-Type: text/plain\n\n{words}\n--out\n{part}\n--out--\n"
    ).encode()


def file(kind: str, text: str, *, encoded: bool = True) -> str:
    encoding = "Content-Transfer-Encoding: base64\n" if encoded else ""
    return f"Content-Type: {kind}\n{encoding}\n{in_base64(text) if encoded else text}"


def read(raw: bytes) -> tuple[str | None, Fact]:
    report = read_mail(raw)
    address = report.recipients[0].address if report.recipients else None
    return address, judge(report, compiled_rules())


@pytest.mark.parametrize(
    "part",
    [
        file('application/octet-stream; name="details.txt"', FIELDS),
        file('application/octet-stream; name="details.txt"', FIELDS, encoded=False),
        file('application/ms-tnef; name="ATT00001.dat"', FIELDS),
        file("application/x-delivery-status", FIELDS, encoded=False),
    ],
)
def test_fields_that_a_gateway_made_a_file_of_are_read(part: str) -> None:
    address, fact = read(mail(HEAD, "Your mail could not be delivered. See the attachment.", part))
    assert (address, fact.category, fact.reply_code) == (KIM, "unknown-user", 550)


def test_a_file_that_is_no_report_says_nothing() -> None:
    picture = file('application/octet-stream; name="x.bin"', "\x89PNG Status: fine, Action: none")
    address, fact = read(mail(HEAD, f"<{KIM}>: mailbox is full", picture))
    assert (address, fact.category) == (KIM, "mailbox-full")


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("inner", [REPORT, PROSE], ids=["report", "prose"])
@pytest.mark.parametrize(
    "kind",
    [
        'application/octet-stream; name="bounce.eml"',
        "application/octet-stream\nContent-Disposition: attachment; filename=bounce.eml",
        'application/octet-stream; name="=?utf-8?B?WnVyw7xjay5lbWw=?="',
    ],
)
def test_a_bounce_forwarded_as_a_file_is_read_as_the_bounce(kind: str, inner: str, encoded: bool) -> None:
    address, fact = read(mail(PERSON, "Please fix our list.", file(kind, inner, encoded=encoded)))
    assert (address, fact.category) == (KIM, "unknown-user")


def test_our_own_mail_sent_back_as_a_file_is_not_read() -> None:
    order = file('application/octet-stream; name="order.eml"', ORDER)
    assert read(mail(HEAD, f"<{KIM}>: mailbox is full", order))[1].category == "mailbox-full"
    assert read_mail(mail(PERSON, "Where is my parcel?", order)).kind is Kind.OTHER


def test_a_bounce_in_a_spam_filters_mail_is_read() -> None:
    """The filter keeps From and Subject, and says that the mail may be spam."""
    words = "Spam detection software has identified this mail as possible spam."
    inside = f"Content-Type: message/rfc822; x-spam-type=original\n\n{PROSE}"
    address, fact = read(mail(f"{HEAD}X-Spam-Flag: YES\n", words, inside))
    assert (address, fact.category) == (KIM, "unknown-user")


def test_a_server_that_returns_a_mail_of_a_mail_server_is_believed_itself() -> None:
    """Most mails have been through a spam filter, which adds a score."""
    returned = f"Content-Type: message/rfc822\n\n{PROSE}"
    address, fact = read(mail(f"{HEAD}X-Spam-Score: 0\n", "<lea@y.example>: mailbox is full", returned))
    assert (address, fact.category) == ("lea@y.example", "mailbox-full")


@pytest.mark.parametrize(
    "line",
    [
        "|------------------------- Message header follows: ----------------------|",
        "====================== Original message ======================",
        "*************** This is a copy of your message ***************",
    ],
)
def test_the_returned_mail_is_cut_off_below_a_line_of_any_width(line: str) -> None:
    body = f"{HEAD}\nFailed addresses follow:\n <{KIM}>\n   452 4.2.2 Quota exceeded\n\n{line}\n{ORDER}"
    fact = read(body.encode())[1]
    assert (fact.category, "Dear Kim" in fact.text) == ("mailbox-full", False)


def test_quoted_headers_of_ours_are_none_of_the_servers_words() -> None:
    body = (
        f"{HEAD}\nThis report relates to a message you sent with the following header fields:\n\n"
        f"  Message-ID: <0193c8a4@shop.example>\n  Content-Type: multipart/mixed;\n\tboundary=mime-error\n"
        f"  From: Shop <news@shop.example>\n  To: Kim <{KIM}>\n\nReason: the mailbox is full\n"
    )
    address, fact = read(body.encode())
    assert (address, fact.category) == (KIM, "mailbox-full")
    assert "mime" not in fact.text


@pytest.mark.parametrize(
    "words",
    [
        f"A mail from news@shop.example to {KIM} could not be delivered: user unknown",
        f"If you need help, write to admin@x.example. The mail to {KIM} failed: user unknown",
        f"From: Shop\nTo: {KIM}\nReply-To: help@shop.example\n\nUser unknown",
        f"The reply from {KIM} was: user unknown",
        f"Message 1p5x-000@mx.x.example for {KIM} bounced: user unknown",
        f'{{"sender": "news@shop.example", "recipient": "{KIM}", "message": "User unknown"}}',
        f"<bounce><from>news@shop.example</from><to>{KIM}</to><reason>User unknown</reason></bounce>",
    ],
)
def test_neither_the_sender_nor_a_helper_nor_an_id_is_the_recipient(words: str) -> None:
    assert read(f"{HEAD}\n{words}\n".encode())[0] == KIM
