"""Reports without fields: each server has its own form for the same information."""

import base64
import quopri

import pytest

from services.bounce.domain.facts import about_others, judge
from services.bounce.domain.reports import read_mail
from services.bounce.domain.told import stage_of
from tests.compiled import compiled_rules as rules

KIM, LEA = "kim@x.example", "lea@y.example"
BELOW = "\nReturn-Path: <b@bounces.example>\nReceived: by us\nSubject: sale, your mailbox is full of spam\n"


def mail(body: str, *, sender: str = "Mail Delivery System <MAILER-DAEMON@mx.example>", head: str = "") -> bytes:
    subject = "Subject: Undelivered Mail Returned to Sender\n"
    return f"From: {sender}\nTo: b-x@bounces.example\n{subject}{head}\n{body}".encode()


def facts(raw: bytes) -> dict[str | None, str]:
    """Category by address, each treated as the one we wrote to."""
    report = read_mail(raw)
    return {one.address: judge(report, rules(), lambda a, w=one.address: a == w).category for one in report.recipients}


FORMS = {
    "qmail": (
        "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the "
        f"following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<{KIM}>:\n"
        f"192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 <{KIM}> no such user\nGiving up on 192.0.2.1."
        f"\n\n<{LEA}>:\nMailbox quota exceeded. (#5.2.2)\n\n--- Below this line is a copy of the message.\n{BELOW}"
    ),
    "exim": (
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be "
        "delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n"
        f"  {KIM}\n    host mx.x.example [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<{KIM}>:\n"
        f"    550 5.1.1 <{KIM}>: no such user here\n  {LEA}\n    (generated from team@x.example)\n"
        "    host mx.y.example [192.0.2.2]\n    SMTP error from remote mail server after end of data:\n"
        f"    552 5.2.2 over quota\n\n------ This is a copy of the message, including all the headers. ------\n{BELOW}"
    ),
    "postfix": (
        "This is the mail system at host mx.example.\n\nI'm sorry to have to inform you that your message could not\n"
        f"be delivered to one or more recipients.\n\n<{KIM}>: host mx.x.example[192.0.2.1] said: 550 5.1.1\n"
        f"    <{KIM}>: Recipient address rejected: User unknown (in reply to RCPT TO\n    command)\n\n"
        f"<{LEA}>: host mx.y.example[192.0.2.2] said: 452 4.2.2 Mailbox full (in reply\n    to RCPT TO command)\n"
    ),
    "opensmtpd": (
        "Hi!\n\nThis is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\nAn error has occurred while attempting"
        f" to deliver a message for\nthe following list of recipients:\n\n{KIM}: 550 5.1.1 <{KIM}> User unknown\n"
        f"{LEA}: 552 5.2.2 Mailbox full\n\nBelow is a copy of the original message:\n{BELOW}"
    ),
    "gmx": (
        f'The following address failed:\n\n"{KIM}":\nSMTP error from remote server after RCPT command:\n'
        f'host: mx.x.example\n5.1.1 User unknown\n"{LEA}":\nSMTP error from remote server after RCPT command:\n'
        f"host: mx.y.example\n5.2.2 Mailbox full\n\n--- The header of the original message is following. ---\n{BELOW}"
    ),
    "sendmail": (
        "The original message was received at Thu, 26 Nov 2026 09:00:00 +0000\n\n"
        f"   ----- The following addresses had permanent fatal errors -----\n<{KIM}>\n    (reason: 550 5.1.1 User "
        f"unknown)\n<{LEA}>\n    (reason: 552 5.2.2 mailbox full)\n\n   ----- Transcript of session follows -----\n"
        f"... while talking to mx.y.example.:\n>>> DATA\n<<< 552 5.2.2 mailbox full\n"
    ),
    "listed, then one transcript": (
        f"   ----- The following addresses had delivery problems -----\n<{KIM}>\n<{LEA}>\n\n"
        f"   ----- Transcript of session follows -----\n550 <{KIM}>... User unknown\n552 <{LEA}>... Mailbox full\n"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_recipient_is_judged_by_its_own_text(form: str) -> None:
    assert facts(mail(FORMS[form])) == {KIM: "unknown-user", LEA: "mailbox-full"}
    report = read_mail(mail(FORMS[form]))
    others = about_others(report, rules(), lambda address: address == KIM)
    assert {address: fact.category for address, fact in others.items()} == {LEA: "mailbox-full"}


ALONE = {
    "gmail": (
        f"Delivery to the following recipient failed permanently:\n\n     {KIM}\n\nTechnical details of permanent "
        "failure:\nGoogle tried to deliver your message, but it was rejected by the recipient domain. We recommend "
        "contacting the other email provider. The error that the other server returned was:\n550 5.1.1 User unknown\n\n"
        f"----- Original message -----\n{BELOW}",
        "unknown-user",
    ),
    "gmail now": (
        f"** Address not found **\n\nYour message wasn't delivered to {KIM} because the address couldn't be found, or "
        "is unable to receive mail.\n\nThe response was:\n\n550 5.2.1 The mailbox is disabled\n",
        "inactive",
    ),
    "exchange": (
        "Your message did not reach some or all of the intended recipients.\n\n      Subject:\tSale\n\nThe following "
        f"recipient(s) could not be reached:\n\n      {KIM} on 11/26/2026 9:00 AM\n            The e-mail account does "
        "not exist at the organization this message was sent to.\n",
        "unknown-user",
    ),
    "microsoft 365": (
        f"Delivery has failed to these recipients or groups:\n\n{KIM}<mailto:{KIM}>\nYour message couldn't be "
        "delivered.\n\nDiagnostic information for administrators:\n\nGenerating server: AM0.prod.outlook.com\n\n"
        f"{KIM}\nRemote Server returned '550 5.2.2 mailbox full; STOREDRV'\n\nOriginal message headers:\n{BELOW}",
        "mailbox-full",
    ),
    "domino": (
        f"Your message\n\n  Subject: Sale\n\nwas not delivered to:\n\n  {KIM}\n\nbecause:\n\n  User kim ({KIM}) not "
        "listed in Domino Directory\n",
        "unknown-user",
    ),
    "zoho": (f"This is a permanent error.\n\n{KIM} Invalid Address, ERROR_CODE :550, User Unknown\n", "unknown-user"),
    "yahoo": (
        "Sorry, we were unable to deliver your message to the following address.\n\n"
        f"<{KIM}>:\nRemote host said: 552 5.2.2 over quota [RCPT_TO]\n\n--- Below this line is a copy of it.\n",
        "mailbox-full",
    ),
    "reason first": (
        "Your message:\n   From: us@shop.example\n   Subject: Sale\n\nCould not be delivered because of\n\n550 5.1.1 "
        f"User unknown\n\nThe following recipients were affected:\n    {KIM}\n\nAdditional Information\n=====\n",
        "unknown-user",
    ),
    "dragonfly": (
        f"There was an error delivering your mail to <{KIM}>.\n\nmx.x.example [192.0.2.1] did not like our RCPT TO:\n"
        "550 5.1.1 User unknown\n\nMessage headers follow.\n" + BELOW,
        "unknown-user",
    ),
    "postfix to its postmaster": (
        "Transcript of session follows.\n\n Out: 220 mx ESMTP\n In:  DATA\n Out: 354 End data\n"
        " Out: 451 4.3.0 Error: queue file write error\n In:  QUIT\n Out: 221 2.0.0 Bye\n",
        "system-error",
    ),
    "refused at the end": (f"<{KIM}>:\n>>> DATA\n<<< 550 Unknown user {KIM}\n", "recipient-filter"),
}


@pytest.mark.parametrize("form", ALONE)
def test_the_servers_own_reply_is_found(form: str) -> None:
    body, category = ALONE[form]
    assert judge(read_mail(mail(body)), rules()).category == category


def test_html_only_reports_are_read_without_tags() -> None:
    html = f"<html><style>p {{color: red}}</style><p>Delivery failed to &lt;{KIM}&gt;<br>550 5.1.1 User unknown</p>"
    raw = mail(html, head="Content-Type: text/html; charset=utf-8\n")
    assert judge(read_mail(raw), rules()).category == "unknown-user"


def test_an_address_that_html_may_break_is_one_address() -> None:
    raw = mail("<p>kim@<wbr>x.example: 550 5.1.1 no such user</p>", head="Content-Type: text/html\n")
    assert [one.address for one in read_mail(raw).recipients] == ["kim@x.example"]


@pytest.mark.parametrize("charset", ["iso-2022-jp", "shift_jis", "euc-jp", "utf-8"])
def test_japanese_is_read_in_its_charsets(charset: str) -> None:
    body = base64.encodebytes(f"宛先不明: {KIM}\n".encode(charset)).decode()
    head = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n"
    assert judge(read_mail(mail(body, head=head)), rules()).category == "unknown-user"


def test_quoted_printable_is_decoded() -> None:
    body = quopri.encodestring(f"<{KIM}>: Empfänger unbekannt\n".encode("latin-1")).decode()
    head = "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n"
    assert judge(read_mail(mail(body, head=head)), rules()).category == "unknown-user"


def test_the_returned_mail_is_ignored() -> None:
    for form in ("qmail", "exim", "opensmtpd"):
        assert "sale" not in read_mail(mail(FORMS[form])).text


@pytest.mark.parametrize(
    ("transcript", "stage"),
    [
        (">>> DATA\n<<< 550 Unknown user\n554 5.0.0 Service unavailable", "data"),
        (">>> DATA\n<<< 550 5.1.1 User unknown\n550 5.1.1 <kim@x.example>... User unknown\n<<< 503 Need RCPT", None),
        (">>> RCPT To:<kim@x.example>\n<<< 550 User unknown", None),
    ],
)
def test_a_transcript_yields_the_refusal(transcript: str, stage: str | None) -> None:
    assert stage_of(transcript) == stage


def test_a_transcript_about_several_recipients_is_split() -> None:
    body = (
        "   ----- Transcript of session follows -----\nWhile talking to mx.x.example:\n>>> DATA\n"
        f"<<< 550 One cannot send mail to yourself (shop@shop.example).\n554 <{KIM}>... Remote protocol error\n"
        f"550 y.example (smtp)... 550 Host unknown\n554 <{LEA}>... 550 Host unknown\n"
        "While talking to z.example:\n>>> RCPT To:<max@z.example>\n<<< 550 Requested mailbox not found.\n"
        "550 <max@z.example>... User unknown\n\n   ----- Unsent message follows -----\n"
    )
    assert facts(mail(body + BELOW)) == {KIM: "policy", LEA: "bad-domain", "max@z.example": "unknown-user"}
    assert [one.stage for one in read_mail(mail(body + BELOW)).recipients] == ["data", None, None]


def test_a_local_delivery_agents_error_is_a_system_error() -> None:
    said = f'<{KIM}>:\nprocmail: Couldn\'t create "/var/spool/mail/kim"\nid: kim: No such user\n'
    assert facts(mail(said)) == {KIM: "system-error"}


def test_microsofts_junk_reports_are_complaints() -> None:
    raw = (
        b"From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
        b"Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: message/rfc822\n\n"
        b"X-HmXmrOriginalRecipient: kim@hotmail.com\nReturn-Path: <b-abc@bounces.example>\nSubject: Sale\n\nx\n--q--\n"
    )
    report = read_mail(raw)
    assert judge(report, rules()).category == "complaint"
    assert "b-abc@bounces.example" in report.candidates


@pytest.mark.parametrize(
    "subject", ["Automatische Antwort: Sale", "Absence du bureau", "自動返信: Sale", "Fuera de oficina"]
)
def test_automatic_replies_in_several_languages(subject: str) -> None:
    raw = f"From: kim@x.example\nReturn-Path: <>\nSubject: {subject}\n\nUntil Monday.\n".encode()
    assert judge(read_mail(raw), rules()).category == "auto-reply"


@pytest.mark.parametrize("subject", ["unsubscribe", "Re: Unsubscribe me", "Abmelden", "désinscription", "配信停止"])
def test_an_unsubscribe_request_by_mail_is_recognised(subject: str) -> None:
    raw = f"From: kim@x.example\nSubject: {subject}\n\n".encode()
    assert judge(read_mail(raw), rules()).category == "unsubscribe"


@pytest.mark.parametrize("subject", ["How do I unsubscribe from your rival?", "Remove the fee from my invoice"])
def test_a_mere_mention_of_unsubscribing_is_ignored(subject: str) -> None:
    raw = f"From: kim@x.example\nSubject: {subject}\n\nHello\n".encode()
    assert judge(read_mail(raw), rules()).category == "not-a-bounce"


def test_a_read_receipt_proves_delivery() -> None:
    raw = (
        b"Return-Path: <>\nFrom: kim@x.example\nSubject: Read: Sale\n"
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=q\n\n"
        b"--q\nContent-Type: text/plain\n\nYour message was read.\n"
        b"--q\nContent-Type: message/disposition-notification\n\nDisposition: manual-action/MDN-sent-manually; read\n"
    )
    assert judge(read_mail(raw), rules()).category == "delivered"


def test_a_delay_is_no_bounce_and_gives_its_reason() -> None:
    raw = mail(FORMS["postfix"]).replace(
        b"Subject: Undelivered",
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=q\nSubject: Undelivered",
    )
    head, _, _ = raw.partition(b"\n\n")
    status = (
        b"Final-Recipient: rfc822; lea@y.example\nAction: delayed\nStatus: 4.2.2\nDiagnostic-Code: smtp; 452 full up"
    )
    delayed = (
        head + b"\n\n--q\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n" + status + b"\n--q--\n"
    )
    fact = judge(read_mail(delayed), rules())
    assert (fact.category, fact.delayed, fact.permanent, fact.counts) == ("mailbox-full", True, False, False)


def test_a_warning_in_prose_is_a_delay() -> None:
    body = (
        "This message was created automatically by mail delivery software.\nA message that you sent has not yet been "
        f"delivered to one or more of its\nrecipients after more than 24 hours on the queue on mx.example.\n\n  {KIM}\n"
        "    host mx.x.example [192.0.2.3]: 452 4.2.2 mailbox full\n\nNo action is required on your part.\n"
    )
    fact = judge(read_mail(mail(body)), rules())
    assert (fact.category, fact.delayed, fact.permanent) == ("mailbox-full", True, False)


def test_giving_up_after_a_warning_is_a_failure() -> None:
    body = (
        f"The mail has been delayed before; now delivery failed permanently, giving up.\n\n<{KIM}>: 550 no such user\n"
    )
    assert not judge(read_mail(mail(body)), rules()).delayed


@pytest.mark.parametrize(
    ("body", "category"),
    [
        (f"Your mail to {KIM} could not be delivered: mailbox full.\n", "mailbox-full"),
        (f"<{KIM}>: user unknown here.\n", "unknown-user"),
    ],
)
def test_a_bounce_without_a_bounce_subject_is_read(body: str, category: str) -> None:
    raw = f"From: x <x@x.example>\nSubject: Your mail\n\n{body}".encode()
    assert judge(read_mail(raw), rules()).category == category
    answer = raw.replace(b"Subject:", b"In-Reply-To: <1@shop.example>\nSubject:")
    assert judge(read_mail(answer), rules()).category == "not-a-bounce"


def test_the_first_words_of_a_server_are_no_returned_mail() -> None:
    raw = mail(f"Returned message: not delivered\n\n<{KIM}>: 550 5.1.1 no such user\n")
    assert [one.address for one in read_mail(raw).recipients] == [KIM]
