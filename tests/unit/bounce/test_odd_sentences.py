"""Reports in prose, in forms that few servers use: the recipient, the reason, whether delivery continues."""

import pytest

from services.bounce.domain.facts import judge
from services.bounce.domain.reports import Kind, codes_in, read_mail
from tests.compiled import compiled_rules as rules

KIM, LEA = "kim@x.example", "lea@y.example"
PATH = "b-kim=x.example@bounces.example"


def mail(body: str, *, subject: str = "Undelivered", head: str = "") -> bytes:
    return f"From: MAILER-DAEMON@mx.example\nTo: {PATH}\nSubject: {subject}\n{head}\n{body}".encode()


def said(raw: bytes) -> list[tuple[str | None, str, str]]:
    """Address, action and category of each recipient, each treated as the one we wrote to."""
    report = read_mail(raw)
    return [
        (one.address, one.action, judge(report, rules(), lambda a, w=one.address: a == w).category)
        for one in report.recipients
    ]


REASON_FIRST = (
    f"Unknown user: {KIM}\n\nRCPT TO was answered so:\n553 5.3.0 <{KIM}> nobody\n\n"
    f"User mailbox exceeds allowed size: {LEA}\n"
)
SESSION = (
    f"These addresses got nothing:\n\n> {KIM}\n\n--- Session ---\n <-- 220 mx.x.example\n --> EHLO us.example\n"
    f" <-- 250-VRFY\n <-- 250 SIZE 9000\n --> MAIL From:<{PATH}>\n <-- 250 Ok\n --> RCPT To:<{KIM}>\n"
    " <-- 552 this would be too much for the mailbox, it is full\n --> QUIT\n"
)
SENT_BY = (
    f"A message sent by\n\n  <{PATH}>\n\ncould not be delivered. This address failed:\n\n"
    f"  {KIM}\n    550 no such user\n"
)
X400 = (
    "Your message\n\n  To:      team@x.example\n\ndid not reach:\n\n"
    "c=DE;a= ;p=X;o=HQ;dda:SMTP=kim@x.example; on Fri, 4 Oct 2030\n17:12:28 -0400\n"
    "    The recipient name is not recognized\n"
)
COURIER = (
    "This is a notification of a Courier mail server.\n\nThe original message was received on Thu, 26 Nov 2026\n\n"
    f"Your message cannot be delivered:\n\n<{KIM}>:\n    mx.x.example [192.0.2.1]:\n"
    f">>> RCPT TO:<{KIM}>\n<<< 550 No such user.\n"
)
FORMS = {
    "the reason before the address": (REASON_FIRST, [(KIM, "unknown-user"), (LEA, "mailbox-full")]),
    "a session with all that was agreed to": (SESSION, [(KIM, "mailbox-full")]),
    "our own address above": (SENT_BY, [(KIM, "unknown-user")]),
    "an X.400 address": (X400, [(KIM, "unknown-user")]),
    "a name before the address": (
        f"did not reach:\n\nKim <{KIM}> on Fri, 4 Oct 2030\n    The recipient name is not recognized\n",
        [(KIM, "unknown-user")],
    ),
    "the original message was received": (COURIER, [(KIM, "unknown-user")]),
    "in quotes, within a sentence": (f"What you wrote to '{KIM}', failed: no such user.", [(KIM, "unknown-user")]),
    "our own address within a sentence": (
        f"An e-mail from {PATH}, to -- {KIM} -- could not be delivered: unknown user.",
        [(KIM, "unknown-user")],
    ),
    "in brackets with its type": (
        f"These recipients could not be reached:\n\n\tRecipient: [SMTP:{KIM}]\n\tReason: No such user here\n\n"
        f"\tRecipient: [SMTP:{LEA}]\n\tReason: Mailbox is full\n",
        [(KIM, "unknown-user"), (LEA, "mailbox-full")],
    ),
    "in brackets before a reply in brackets": (
        f"Not delivered:\n\n<{KIM}> (host 'mx' rejected it with code 550 (5.1.1) 'User does not exist')\n"
        f"<{LEA}> (its mailbox is full)\n",
        [(KIM, "unknown-user"), (LEA, "mailbox-full")],
    ),
    "in a list, and again with the reply": (
        f"These failed:\n\n<{KIM}>\n<{LEA}>\n\n<{KIM}>: 550 5.1.1 no such user\n<{LEA}>: 552 5.2.2 mailbox full\n",
        [(KIM, "unknown-user"), (LEA, "mailbox-full")],
    ),
    "in a list of fields": (
        f"{KIM}; Failed; 5.1.1 (no such user)\n{LEA}; Failed; 5.2.2 (mailbox full)\n",
        [(KIM, "unknown-user"), (LEA, "mailbox-full")],
    ),
    "in the lines of our own mail's head": (
        f"Your message\n\n  From: shop@shop.example\n  To: {KIM}\n\ncould not be delivered: no such user.\n",
        [(KIM, "unknown-user")],
    ),
    "several without a domain": (
        "It was undeliverable to the following:\n\n\tkim (User not found)\n\tlea (Mailbox full)\n",
        [("kim@mx.example", "unknown-user"), ("lea@mx.example", "mailbox-full")],
    ),
    "no domain, as their own server writes": (
        "It was undeliverable to the following:\n\n\tkim (User account is expired)\n",
        [("kim@mx.example", "inactive")],
    ),
    "no domain, below our address": (
        f"Your mail to the following recipients could not be delivered because they are not accepting mail from {PATH}:"
        "\n\tkim\n",
        [("kim@mx.example", "recipient-filter")],
    ),
    "words below the mail's copy": (
        f"Hello, this could not be delivered:\n\n{KIM}\nNo such user\n\n"
        "--- Attachment is a copy of the message.\nIts attachment is not accepted",
        [(KIM, "unknown-user")],
    ),
}


def test_a_recipient_that_no_sentence_names_is_found_elsewhere() -> None:
    words = "550 5.1.1 no such user"
    both = mail(words, head=f"X-Failed-Recipients: {KIM}, {LEA}\n")
    assert said(both) == [(KIM, "failed", "unknown-user"), (LEA, "failed", "unknown-user")]
    assert said(mail(words, subject=f"Undeliverable: {KIM}")) == [(KIM, "failed", "unknown-user")]
    parts = (
        f"--q\nContent-Type: text/plain\n\n{words}\n\n--q\nContent-Type: message/rfc822\n\nTo: {KIM}\nSubject: x\n\n"
    )
    kind = "Content-Type: multipart/mixed; boundary=q\n"
    assert said(mail(f"{parts}y\n--q--\n", head=kind)) == [(KIM, "failed", "unknown-user")]


@pytest.mark.parametrize("form", FORMS)
def test_a_recipient_named_in_an_odd_place_is_found(form: str) -> None:
    body, expected = FORMS[form]
    assert said(mail(body)) == [(address, "failed", category) for address, category in expected]


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("Warning", f'Delivery to "{KIM}" has been postponed, its mailbox is full. We will continue to try.'),
        ("Failure notice", f"Could not be delivered:\n\n{KIM}\n\nDelivery attempts will continue for 5 days."),
        ("Delayed", f"THIS IS A WARNING ONLY.\nYour message could not be delivered for 4 hours.\n\n<{KIM}>: no answer"),
        ("Status Notification (Delay)", f"Schwierigkeiten bei {KIM}. Wir versuchen es weitere 46 Stunden."),
        (
            "Delivery (Delay)",
            f"There was trouble with {KIM}. We will retry; you will hear from us if it fails permanently.",
        ),
    ],
)
def test_a_delay_with_further_attempts_is_no_failure(subject: str, body: str) -> None:
    report = read_mail(mail(body, subject=subject))
    assert [(one.address, one.action) for one in report.recipients] == [(KIM, "delayed")]
    assert judge(report, rules()).counts is False


def test_a_final_failure_wins_over_earlier_attempts() -> None:
    body = f"<{KIM}>: was delayed and will be retried no more. This is a permanent error: no answer"
    assert [one.action for one in read_mail(mail(body, subject="Delayed")).recipients] == ["failed"]


def receipt(words: str, disposition: str) -> bytes:
    kind = "Content-Type: multipart/report; report-type=disposition-notification; boundary=q\n"
    parts = (
        f"--q\nContent-Type: text/plain\n\n{words}\n--q\nContent-Type: message/disposition-notification\n\n"
        f"Final-Recipient: rfc822; {KIM}\nDisposition: {disposition}; deleted\n\n--q--\n"
    )
    return mail(parts, head=kind)


def test_an_automatic_rejection_in_a_receipt_is_a_failure() -> None:
    automatic, by_hand = "automatic-action/MDN-sent-automatically", "manual-action/MDN-sent-manually"
    assert said(receipt("The mail was automatically rejected: not wanted.", automatic)) == [
        (KIM, "failed", "recipient-filter")
    ]
    assert said(receipt("Rejected: quota exceeded.", automatic)) == [(KIM, "failed", "mailbox-full")]
    for read in (receipt("Deleted unread.", automatic), receipt("I rejected your offer.", by_hand)):
        assert read_mail(read).kind is Kind.RECEIPT


@pytest.mark.parametrize("word", ["failure", "error", "Failed (permanently)"])
def test_an_unknown_action_is_a_failure(word: str) -> None:
    body = f"Final-Recipient: rfc822; {KIM}\nAction: {word}\nStatus: 5.1.1\n"
    head = "Content-Type: message/delivery-status\n"
    assert said(mail(body, head=head)) == [(KIM, "failed", "unknown-user")]


@pytest.mark.parametrize(
    "words",
    [
        f"Your message was successfully delivered to:\n\n{KIM}\n",
        f"   ----- These addresses had successful delivery notifications -----\n<{KIM}>  (to mailbox)\n",
        f"The delivery is complete, but no delivery notification was sent by the server:\n\n{KIM}\n",
    ],
)
def test_delivery_confirmations_are_no_bounce(words: str) -> None:
    assert said(mail(words, subject="Delivery report")) == [(KIM, "delivered", "delivered")]
    assert said(mail(words + "\nfatal errors: 550 no such user", subject="Delivery report"))[0][1] == "failed"


@pytest.mark.parametrize(
    ("subject", "words", "kind"),
    [
        ("Delivery failed: your parcel", "We rang and could not deliver your parcel. Choose a day.", Kind.OTHER),
        ("Failure notice of the backup", "Job 550 of 551 failed.", Kind.OTHER),
        ("Delivery failed", f"No such user: {KIM}", Kind.BOUNCE),
        ("Re: Sale", "Thank you! I am out of office until Tuesday.", Kind.AUTO_REPLY),
        ("Re: Sale", "Ich bin derzeit im Urlaub.", Kind.AUTO_REPLY),
        ("Re: Sale", "Why is nobody in your office?", Kind.OTHER),
        *((f"{away}: Sale", "x", Kind.AUTO_REPLY) for away in ("자동 회신", "Αυτόματη απάντηση", "رد تلقائي")),
        *((f"{away}: Sale", "x", Kind.AUTO_REPLY) for away in ("Răspuns automat", "תשובה אוטומטית")),
    ],
)
def test_mail_by_people_and_carriers_is_no_bounce(subject: str, words: str, kind: Kind) -> None:
    raw = mail(words, subject=subject).replace(b"MAILER-DAEMON@mx", b"kim@x")
    assert read_mail(raw).kind is kind
    if kind is Kind.AUTO_REPLY:
        assert read_mail(b"Return-Path: <>\n" + raw).kind is kind


@pytest.mark.parametrize(
    ("fields", "words", "address"),
    [
        ('Original-Recipient: rfc822; "kim lee"@x.example', "Sorry.", '"kim lee"@x.example'),
        ("Final-Recipient: LOCAL;<kim>", f"Ask postmaster@x.example. Failed to deliver to '{KIM}'", KIM),
        ("Final-Recipient: X400; /S=kim/C=DE/", "Sorry.", None),
    ],
)
def test_a_recipient_in_a_nonstandard_field_is_found(fields: str, words: str, address: str | None) -> None:
    parts = (
        f"--q\nContent-Type: text/plain\n\n{words}\n--q\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example\n\n{fields}\nAction: failed\nStatus: 5.1.1\n\n--q--\n"
    )
    head = "Content-Type: multipart/report; report-type=delivery-status; boundary=q\n"
    assert [one.address for one in read_mail(mail(parts, head=head)).recipients] == [address]


@pytest.mark.parametrize(
    ("sentence", "category"),
    [
        ("Nie można odnaleźć podanego adresu e-mail. Sprawdź adres odbiorcy.", "unknown-user"),
        ("E-postadressen kunde inte hittas. Kontrollera mottagarens adress.", "unknown-user"),
        ("Mailadressen blev ikke fundet. Kontrollér den.", "unknown-user"),
        ("E-mailová adresa nebyla nalezena.", "unknown-user"),
        ("Az e-mail-cím nem található.", "unknown-user"),
        ("Sähköpostiosoitetta ei löytynyt.", "unknown-user"),
        ("La casella del destinatario è piena.", "mailbox-full"),
        ("Die Zustellung an diese Adresse ist eingeschränkt.", "recipient-filter"),
        ("Il messaggio supera la dimensione consentita.", "too-large"),
    ],
)
def test_exchange_speaks_the_language_of_who_wrote(sentence: str, category: str) -> None:
    assert said(mail(f"Delivery:\n\n{KIM}\n{sentence}\n")) == [(KIM, "failed", category)]


def test_a_filter_names_us_before_it_names_the_recipient() -> None:
    body = (
        f"Our scanner found\n    banned name: .exe\n\nin mail presumably from you <shop@shop.example>\nto:\n-> {KIM}\n"
    )
    assert said(mail(body)) == [(KIM, "failed", "content-rejected")]


def test_a_help_desk_that_thanks_is_no_bounce() -> None:
    head = "Return-Path: <>\nAuto-Submitted: auto-generated\n"
    thanks = mail("We have your question, its number is 4711.", subject="[#4711] Your question", head=head)
    assert judge(read_mail(thanks.replace(b"MAILER-DAEMON@", b"help@")), rules()).category == "auto-reply"
    refusal = mail("550 5.1.1 nobody here", subject="[#4711] Your question", head=head)
    assert read_mail(refusal.replace(b"MAILER-DAEMON@", b"help@")).kind is Kind.BOUNCE


def test_an_indented_line_that_begins_with_an_address_continues_a_reply() -> None:
    wrapped = f"<{KIM}>: host mx.x.example said: 554\n    <news@shop.example>: Sender address rejected\n"
    assert said(mail(wrapped)) == [(KIM, "failed", "sender-rejected")]
    two = f"  {KIM}\n    <{KIM}>: 550 no such user\n  {LEA}\n    <{LEA}>: 552 mailbox full\n"
    assert said(mail(two)) == [(KIM, "failed", "unknown-user"), (LEA, "failed", "mailbox-full")]


def test_the_refusal_in_a_session_gives_the_codes() -> None:
    assert codes_in("220 mx ESMTP\n250 2.1.0 Ok\n550 5.1.1 User unknown") == (550, "5.1.1")
    assert codes_in("was delivered: 250 2.0.0 queued") == (250, "2.0.0")
    at = "2027-03-01 09:00:01: "
    session = f"{at}>>> RCPT TO:<{KIM}>\n{at}<<< 550 5.1.1 unknown mailbox\n"
    (one,) = read_mail(mail(session)).recipients
    assert (one.address, one.reply_code, one.enhanced) == (KIM, 550, "5.1.1")


def test_a_code_in_brackets_is_a_reply_and_an_error_number_is_none() -> None:
    assert codes_in("the account does not exist (550)") == (550, None)
    assert codes_in("disabled (ERR #220)") == (None, None)
