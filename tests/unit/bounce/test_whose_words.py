"""Whose words a reply contains: a server's behind a gateway's class, a list's or a person's, about our side or
theirs."""

import pytest

from services.bounce.domain.facts import judge, of_text
from services.bounce.domain.reports import read_mail
from services.bounce.domain.wrapped import without_class
from tests.compiled import compiled_rules as rules

KIM = "kim@x.example"


def report(fields: str) -> bytes:
    return (
        "From: MAILER-DAEMON@mx.example\nSubject: Undelivered\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=q\n\n"
        "--q\nContent-Type: text/plain\n\nSorry.\n\n--q\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; kim@x.example\nAction: failed\n{fields}\n\n--q--\n"
    ).encode()


def mail(body: str, *, head: str = "", subject: str = "Your mail") -> bytes:
    return f"From: x <x@x.example>\nSubject: {subject}\n{head}\n{body}\n".encode()


def category(raw: bytes) -> str:
    return judge(read_mail(raw), rules(), lambda address: True).category


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("5.1.0 - Unknown address error 554-'5.7.1 refused by our mail policy' (delivery attempts: 0)", "policy"),
        ("5.1.0 - Unknown address error 550-'No such user here' (delivery attempts: 0)", "unknown-user"),
        ("5.1.0 - Unknown address error('552', ['5.2.3 message size exceeds the limit'])", "too-large"),
        ("5.1.2 - Bad destination host 'DNS Hard Error looking up x.example (MX): NXDomain'", "bad-domain"),
    ],
)
def test_the_servers_words_win_over_the_gateways_class(said: str, meant: str) -> None:
    assert of_text(said, rules()).category == meant
    assert category(report(f"Status: 5.0.0 (permanent failure)\nDiagnostic-Code: smtp; {said}")) == meant


@pytest.mark.parametrize(
    "named_by",
    [
        "host mx.y.example[198.51.100.7] said: {} (in reply to RCPT TO command)",
        "SMTP error from remote mail server after RCPT TO:<kim@y.example>: host mx.y.example [198.51.100.7]: {}",
        "Remote host said: {}",
        "The response from the remote server was:\n{}",
    ],
)
@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("550 User kim@x.example does not exist on this server", "unknown-user"),
        ("550 Unable to deliver to kim@x.example", "unknown-user"),
        ("554 5.7.1 Blocked by SpamAssassin", "spam-content"),
        ("550 5.7.1 kim has blocked you", "recipient-filter"),
        ("550 Domain has been suspended for non-payment", "bad-domain"),
        ("450 4.2.0 new sender: come back after 120 seconds", "greylist"),
        ("550 You are not allowed to post to this mailing list; members only", "recipient-filter"),
    ],
)
def test_a_bare_reply_means_the_same_whoever_passes_it_on(named_by: str, reply: str, meant: str) -> None:
    assert of_text(reply, rules()).category == meant
    assert of_text(named_by.format(reply), rules()).category == meant


def test_the_host_that_refused_still_tells_the_provider() -> None:
    said = (
        "host gmail-smtp-in.l.google.com[192.0.2.26] said: 550 5.7.1 Message refused (in reply to end of DATA command)"
    )
    assert of_text(said, rules()).provider == "gmail"


def test_a_reply_without_a_class_is_unchanged() -> None:
    for said in ("550 5.1.1 it's 'gone' - really", "5.1.0 - Unknown address error", "kim - 550-'x"):
        assert without_class(said) == said


def test_a_reply_in_a_field_of_exchanges_own_is_read() -> None:
    said = "Status: 5.0.0\nX-Supplementary-Info: <mx.x.example #5.2.2 smtp;552 5.2.2 Over\n quota>"
    assert category(report(said)) == "mailbox-full"
    assert category(report(f"{said}\nDiagnostic-Code: smtp; 550 5.1.1 no such user")) == "unknown-user"


def test_words_after_a_status_count_without_better_evidence() -> None:
    assert category(report("Status: 5.4.4 (Illegal host/domain name found)")) == "bad-domain"
    assert category(report("Status: 5.0.0 (unknown user)")) == "unknown-user"
    assert category(report("Status: 5.4.4 (bad name)\nDiagnostic-Code: smtp; 552 mailbox full")) == "mailbox-full"
    nothing = report("Status: 5.0.0 (permanent failure)").replace(b"Sorry.", b"<kim@x.example>: no such user")
    assert category(nothing) == "unknown-user"


@pytest.mark.parametrize(
    "answer",
    [
        "Your message is being held until the list moderator can review it.",
        "Your request has been rejected by the list moderator.",
        "Your message was not sent to the list.",
        "You are not a member of this mailing list.",
    ],
)
def test_a_list_that_refuses_our_mail_is_a_recipient_filter(answer: str) -> None:
    assert category(mail(answer, head="References: <1@shop.example>\n")) == "recipient-filter"
    assert category(mail("I am no member of a club.", head="References: <1@shop.example>\n")) == "not-a-bounce"


def test_news_about_full_mailboxes_is_no_bounce() -> None:
    news = mail(
        "Could not be delivered? Read what to do when a mailbox is full.", head="List-Unsubscribe: <https://y>\n"
    )
    assert category(news) == "not-a-bounce"
    assert category(news.replace(b"List-Unsubscribe", b"X-Other")) == "mailbox-full"


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("Frånvaro: Sale", "Hej."),
        ("Nieobecność: Sale", "Dzień dobry."),
        ("自動応答: Sale", "x"),
    ],
)
def test_out_of_office_replies_in_more_languages(subject: str, body: str) -> None:
    assert category(mail(body, subject=subject)) == "auto-reply"


def test_a_list_of_approved_senders_is_a_challenge() -> None:
    body = "I only read mail of senders I have approved. To be added, fill out the request."
    assert category(mail(body, head="Auto-Submitted: auto-replied\n")) == "challenge"


def test_an_address_ends_before_a_sentence_without_a_space() -> None:
    assert of_text("550 kim@x.example...User unknown", rules()).rule == "unknown-user-words"


@pytest.mark.parametrize(
    "said",
    [
        "host mx.x.example said: 553 x.example does not exist (in reply to MAIL FROM command)",
        "host mx.x.example said: 550 5.1.1 User unknown (in reply to MAIL FROM command)",
        "553 5.1.2 The sender address <shop@> is not valid",
        "553 sender address must be fully qualified",
        "550 5.1.1 blocked: too many bounces from your IP address",
        "521 5.2.1 We will not accept this message",
        "550 5.7.1 unusual invalid recipients from this host",
    ],
)
def test_replies_about_our_side_suppress_nobody(said: str) -> None:
    assert of_text(said, rules()).category in ("sender-rejected", "reputation-block", "policy")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("554 IB104. Connection refused, 192.0.2.7 is listed on a block list", "reputation-block"),
        ("421 Temporarily rejected. No reverse DNS. IB108", "auth-failure"),
        ("550 This IP has sent too many messages. IB504", "throttled"),
        ("552 Judged to be spam by many. IB212", "spam-content"),
        ("554 bizsmtp IB103", "reputation-block"),
    ],
)
def test_words_stand_above_the_codes_that_a_provider_puts_behind_them(text: str, category: str) -> None:
    assert of_text(text, rules()).category == category


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("host mx.x.example refused to talk to me: 452 hold on", "system-error"),
        ("550 mail refused", "policy"),
    ],
)
def test_postfix_refused_to_talk_is_not_what_the_server_said(text: str, category: str) -> None:
    assert of_text(text, rules()).category == category


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("550 5.7.1 Message blocked due to spam content in the message", "spam-content"),
        ("550 mailbox blocked", "inactive"),
        ("554 Client host mail.shop.example[192.0.2.10] blocked", "reputation-block"),
    ],
)
def test_the_name_of_the_server_that_said_it_is_not_blocked(reply: str, meant: str) -> None:
    host = "host mx.x.example[203.0.113.5]"
    postfix, exim = f"<{KIM}>: {host} said: {reply}", f"  {KIM}\n    {host}\n    {reply}"
    for said in (postfix, postfix.replace(" said:", "\n    said:"), exim):
        raw = f"From: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n{said}\n".encode()
        assert category(raw) == meant
        assert read_mail(raw).recipients[0].host == "mx.x.example"
    assert category(report(f"Status: 5.0.0\nDiagnostic-Code: X-Postfix; {host} said: {reply}")) == meant


# written in the manner of mail scanners, virus scanners on desktops, and lawyers
FOOTERS = [
    "-- \nThis mail has been scanned for viruses and\ndangerous content by a scanner, and is\nbelieved to be clean.",
    "No virus found in this message.\nChecked by a scanner.",
    "No viruses or malware were detected.",
    "Virus-free. www.scanner.example",
    "Sans virus. www.scanner.example",
    "You should check this mail and any attachments for the presence of viruses.",
    "We accept no liability for any damage caused by any virus in this mail.",
    "A mail cannot be guaranteed to be secure or free of viruses: it could arrive late, or contain viruses.",
]


@pytest.mark.parametrize("footer", FOOTERS)
@pytest.mark.parametrize(
    ("said", "meant"), [("550 5.1.1 User unknown", "unknown-user"), ("552 5.2.2 Mailbox full", "mailbox-full")]
)
def test_a_footer_that_speaks_of_viruses_is_not_the_servers_reason(said: str, meant: str, footer: str) -> None:
    """It made a refusal for a virus of a dead mailbox, which then was not barred."""
    head = "From: MAILER-DAEMON@x.example\nSubject: Undelivered\n"
    assert category(f"{head}\nSorry.\n\n<{KIM}>: {said}\n\n{footer}\n".encode()) == meant
    html = f"<p>{KIM}</p><p>{said}</p><p>{footer}</p>".replace("\n", "<br>")
    assert category(f"{head}Content-Type: text/html\n\n{html}\n".encode()) == meant


@pytest.mark.parametrize(
    "said",
    [
        "554 5.7.0 We scan all mail for viruses. A virus was found in yours.",
        "554 5.7.0 Your mail is not virus-free and was rejected",
        "552 5.7.0 Blocked: the attachment may contain a virus",
        "550 5.7.1 malware detected in attachment invoice.exe",
    ],
)
def test_a_virus_that_was_found_stays_one(said: str) -> None:
    assert category(f"From: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n<{KIM}>: {said}\n".encode()) == "virus"
